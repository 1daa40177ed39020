"""Users and items as vectors of a language model (RecFormer, arXiv 2305.13731)."""
