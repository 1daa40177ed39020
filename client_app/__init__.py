"""The client: keeps its data and its private tensors, trains, measures, and lets out what the outbox allows."""
