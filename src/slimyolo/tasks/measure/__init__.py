"""The tasks of ``slimyolo val`` and ``slimyolo bench``."""
