"""Runs the network of a detector in another runtime: a graph of the network, kept for the next time, and what runs it."""
