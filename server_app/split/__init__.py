"""The hosting side of the split: a model's middle layers with one trained adapter per client, served over gRPC."""
