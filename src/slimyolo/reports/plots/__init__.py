"""Pictures that are drawn with matplotlib, for run folders."""
