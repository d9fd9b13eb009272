"""`slimyolo predict`."""
