"""A run as one HTML file, drawn from its folder."""
