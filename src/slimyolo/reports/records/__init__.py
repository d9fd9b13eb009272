"""Reads what runs left in their folders, as plain values."""
