"""The budget of a cut, as options give it."""

from __future__ import annotations

from typing import Literal

from slimyolo.errors import ConfigError

__all__ = ["BudgetUnit", "budget_of"]

BudgetUnit = Literal["channels", "params", "macs", "latency", "latency-share", "max-drop"]


def budget_of(
    percent: float | None,
    params: float | None,
    macs: float | None,
    latency: float | str | None = None,
    max_drop: float | None = None,
) -> tuple[BudgetUnit, float]:
    """The one budget given, as (unit, amount); without one, 0.4 of the channels.

    Channels to remove; parameters or MACs to keep, as a share (float) or a count (int); milliseconds, or a share of those
    now; mAP50-95 to lose.
    """
    share = float(latency[:-1]) / 100 if isinstance(latency, str) else None
    budgets: tuple[tuple[BudgetUnit, float | None], ...] = (
        ("channels", percent), ("params", params), ("macs", macs), ("latency-share", share),
        ("latency", None if isinstance(latency, str) else latency), ("max-drop", max_drop),
    )  # fmt: skip
    given = [(unit, amount) for unit, amount in budgets if amount is not None]
    if len(given) > 1:
        names = " and ".join(
            "--percent" if unit == "channels" else f"--{unit.removesuffix('-share')}" for unit, _ in given
        )
        raise ConfigError(
            f"Give one of --percent, --params, --macs, --latency and --max-drop, not several: they are budgets of the same "
            f"cut. Got {names}."
        )
    return given[0] if given else ("channels", 0.4)
