"""Generated from ``proto/`` by ``proto/generate.py``; not to be edited."""
