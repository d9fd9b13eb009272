"""One run of a module, written down as a list of operations. The rooms `costs` and `pruning` read it."""

__all__: list[str] = []
