"""The task of ``slimyolo predict``."""
