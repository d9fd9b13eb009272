"""How important each channel is, from weights alone or measured on data."""
