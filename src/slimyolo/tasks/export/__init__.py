"""`slimyolo export`."""
