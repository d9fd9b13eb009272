"""The tasks of ``slimyolo compress`` and ``slimyolo iterate``: several stages in one run."""
