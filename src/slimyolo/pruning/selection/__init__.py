"""Which channels go: from scores, a target and rules to the channels to remove."""
