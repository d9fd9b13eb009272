"""The task of ``slimyolo export``."""
