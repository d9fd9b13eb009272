"""A dataset on disk: its YAML, lists of files, labels, splits and checks."""
