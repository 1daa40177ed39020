"""A causal model asked for a title in words (BIGRec, arXiv 2308.08434)."""
