"""Latency on another device: what is sent to it, what it answers, and the price that follows from its answer."""
