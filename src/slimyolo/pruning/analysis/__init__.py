"""Finds the channel graph of a module: trace, coupling, constants, fallbacks."""
