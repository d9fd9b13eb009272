"""The cost that removing a channel saves: the number by which a cost-aware cut divides its score."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slimyolo.errors import ConfigError
from slimyolo.pruning.plan.costs import CostTable
from slimyolo.pruning.rules import check_per

__all__ = ["Saving", "saving_per"]

Saving = Callable[[Mapping[int, int], int, int], float]
"""A function (channels removed in each group, group id, more slots) → the cost that removing these more slots saves."""


def saving_per(unit: str, table: CostTable, milliseconds: Mapping[int, float] | None = None) -> Saving | None:
    """The saving in `unit`; None for "channels", where scores are compared as they are.

    "macs" and "params" are computed again when neighbouring groups shrink. "ms" is `milliseconds` for each channel of a group,
    measured on the dense network. Raises `ConfigError` for another unit, and for "ms" without measurements.
    """
    check_per(unit)
    if unit == "channels":
        return None
    if unit == "macs":
        return lambda gone, group, more: table.saving(gone, group, more)[1]
    if unit == "params":
        return lambda gone, group, more: float(table.saving(gone, group, more)[0])
    if milliseconds is None:
        raise ConfigError("per='ms' needs price=: a function that returns the milliseconds of a plan.")
    known = milliseconds
    return lambda gone, group, more: known[group] * more
