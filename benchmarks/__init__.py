"""Measured ratios beside their targets: ``python -m benchmarks.NAME`` prints one JSON object."""
