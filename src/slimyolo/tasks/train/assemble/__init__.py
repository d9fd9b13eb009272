"""What a training run is put together from, before its first batch."""
