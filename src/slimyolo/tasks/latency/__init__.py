"""A latency as the budget of a cut."""
