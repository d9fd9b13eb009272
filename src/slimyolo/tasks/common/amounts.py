"""Amounts as users write them: shares or counts (``0.5``, ``50%``, ``0.9M``), milliseconds, and shares by pattern."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from slimyolo.tasks.common.options import parse_share

__all__ = ["Amount", "Latency", "PatternShares", "pattern_shares"]

_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_LEAST_COUNT = 1000  # what is below may be a share in per cent, and is no budget of any detector


def parse_amount(value: Any) -> Any:
    """A share above 0 and below 1 (0.5, "50%") → float; a count ("0.9M", "250M", 900000) → int."""
    if value is None or isinstance(value, bool):
        return parse_share(value)
    text = str(value).strip().replace("_", "")
    matched = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([kKMG]?)", text)
    try:
        count = float(matched[1]) * _FACTORS[matched[2].upper()] if matched else 0.0
    except ValueError:
        count = 0.0
    if count < 1:
        return parse_share(value)
    if count < _LEAST_COUNT:
        hint = f" Did you mean {text}% or {text}M?" if matched and not matched[2] and 2 <= count < 100 else ""
        raise ValueError(
            f"got {value!r}, expected a share such as 0.5 or 50%, or a number such as 900000 or 0.9M.{hint}"
        )
    return round(count)


def parse_latency(value: Any) -> Any:
    """8, "8" or "8ms" → 8.0; "0.02s" → 20.0; "50%" or 0.5, a share of what the network takes uncut → "50%"."""
    if value is None:
        return None
    text = str(value).strip().lower()
    matched = re.fullmatch(r"([0-9.]+)\s*(ms|s|%|)", text)
    try:
        amount = float(matched[1]) * (1000 if matched[2] == "s" else 1) if matched else 0.0
    except ValueError:
        amount = 0.0
    unit = matched[2] if matched else ""
    share = amount / 100 if unit == "%" else amount
    if isinstance(value, bool) or not amount > 0 or (unit == "%" and share >= 1):
        raise ValueError(
            f"got {value!r}, expected milliseconds above 0, such as 8ms, or a share of what it takes now, such as 50%."
        )
    return f"{100 * share:g}%" if unit == "%" or (unit == "" and amount < 1) else amount


def parse_pattern_shares(value: Any) -> Any:
    """``PATTERN=SHARE`` …, checked, as they were written."""
    items = [value] if isinstance(value, str) else list(value or ())
    for item in items:
        pattern, equals, share = str(item).rpartition("=")
        if not pattern or not equals:
            raise ValueError(f"got {item!r}, expected PATTERN=SHARE, such as 'model.9.*=0.5'.")
        parse_share(share)
    return tuple(str(item) for item in items)


def pattern_shares(items: tuple[str, ...]) -> dict[str, float]:
    """``("model.9.*=0.5",)`` → ``{"model.9.*": 0.5}``."""
    pairs = [item.rpartition("=") for item in items]
    return {pattern: float(parse_share(share)) for pattern, _, share in pairs}


Amount = Annotated[float | int, BeforeValidator(parse_amount)]
Latency = Annotated[float | str, BeforeValidator(parse_latency)]
PatternShares = Annotated[tuple[str, ...], BeforeValidator(parse_pattern_shares)]
