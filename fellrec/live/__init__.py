"""A page that shows a run while it goes on, from its event log."""
