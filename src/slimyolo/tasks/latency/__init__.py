"""Cutting a network until it takes a given time on a runtime (``--latency``)."""
