"""Surroundings: the board they are painted on, indoor and outdoor places, things in them."""
