"""The budget of a cut, as options give it."""

from __future__ import annotations

from typing import Literal

from slimyolo.errors import ConfigError

__all__ = ["BudgetUnit", "budget_of"]

BudgetUnit = Literal["channels", "params", "macs"]


def budget_of(percent: float | None, params: float | None, macs: float | None) -> tuple[BudgetUnit, float]:
    """The one budget given, as (unit, share): channels to remove, parameters or MACs to keep; else 0.4 of the channels."""
    budgets: tuple[tuple[BudgetUnit, float | None], ...] = (("channels", percent), ("params", params), ("macs", macs))
    given = [(unit, share) for unit, share in budgets if share is not None]
    if len(given) > 1:
        raise ConfigError("Give one of --percent, --params and --macs, not several: they are budgets of the same cut.")
    return given[0] if given else ("channels", 0.4)
