"""The detector families. `FAMILIES` names them all."""

__all__: list[str] = []
