"""Chooses the channels to remove, from scores, a target and rules."""
