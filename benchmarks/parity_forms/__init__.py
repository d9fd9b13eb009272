"""Comparisons of slimyolo with numbers of another implementation, one module for each form of the parity fixtures."""
