"""Quantisation of exported files to 8-bit integers."""
