"""Compares slimyolo with the numbers of another implementation: one module for each form of the parity fixtures."""
