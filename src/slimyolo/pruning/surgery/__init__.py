"""Cutting a module as a plan says, and checking that the cut agrees with the masked module."""
