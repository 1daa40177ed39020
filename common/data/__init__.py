"""Data: the catalogue, the interactions, how they are read, split in time, and shared out over clients."""
