"""Makes the parts of a training run before its first batch."""
