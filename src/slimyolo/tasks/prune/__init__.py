"""`slimyolo prune`, `plan` and `sensitivity`."""
