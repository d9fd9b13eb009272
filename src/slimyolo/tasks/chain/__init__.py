"""`slimyolo compress` and `iterate`: several stages in one run."""
