"""Converts datasets of other tools into the YOLO layout."""
