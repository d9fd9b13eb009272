"""Surroundings: the stage on which they are painted, indoor and outdoor places, and things in them."""
