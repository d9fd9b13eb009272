"""`slimyolo val` and `bench`."""
