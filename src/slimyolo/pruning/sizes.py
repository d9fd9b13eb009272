"""Integers that modules keep as attributes (`self.c`, `self.width`) and that must shrink with the channels."""

from __future__ import annotations

from torch import nn

__all__ = ["attributes_holding"]

# Attributes of torch's own layers follow from their tensors and are set when those are cut.
_OWN = {"training", "in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels"}


def attributes_holding(module: nn.Module, value: int, *, used: bool) -> list[tuple[str, int | None]]:
    """Attributes of `module` that hold the integer `value`, as (name, item of a list or None).

    With `used`, only those whose name stands in the code of the module's `forward`.
    """
    code = getattr(type(module).forward, "__code__", None)
    names = set(code.co_names) if code is not None else set()
    found: list[tuple[str, int | None]] = []
    for name, held in vars(module).items():
        if name.startswith("_") or name in _OWN or (used and name not in names):
            continue
        if isinstance(held, int) and not isinstance(held, bool) and held == value:
            found.append((name, None))
        elif isinstance(held, (list, tuple)) and held and all(type(item) is int for item in held):
            found.extend((name, i) for i, item in enumerate(held) if item == value)
    return found
