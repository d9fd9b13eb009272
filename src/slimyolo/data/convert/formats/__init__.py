"""Readers of annotation formats: one module for each format; `table` holds one row for each."""
