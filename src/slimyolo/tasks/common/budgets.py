"""The budget of a cut as users write it (``0.5``, ``50%``, ``0.9M``, ``8ms``). Of several budgets only one may be given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import parsed_by
from slimyolo.tasks.common.device_host import DeviceHost
from slimyolo.tasks.common.option_types import parse_share

__all__ = ["Amount", "BudgetUnit", "Latency", "TimingSource", "budget_of", "latency_amounts", "missed_budget_words"]

BudgetUnit = Literal["channels", "params", "macs", "latency", "latency-share", "max-drop"]

_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_NOT_REACHED = "could not be reached"  # words of the note of a cut, `pruning.selection.select`
_LEAST_COUNT = 1000  # a smaller number is too small for any detector; the user may have meant per cent


@dataclass(frozen=True)
class TimingSource:
    """Where the time of ``--latency`` comes from: a `runtime` that is timed here, or the `times` of another device.

    With a `host` the runtime is timed on that board.
    """

    runtime: str | None
    threads: int
    times: tuple[Path, ...]
    host: DeviceHost | None = None

    @property
    def given(self) -> bool:
        """Whether the user named a source."""
        return self.runtime is not None or bool(self.times)

    def refuse_without_latency(self, too: str = "") -> None:
        """Raise `ConfigError` when a source is named, for a command without ``--latency``."""
        if self.host is not None:
            raise ConfigError(f"--device-host times --latency{too}: add --latency, or leave --device-host out.")
        if self.runtime is not None:
            raise ConfigError(f"--runtime says where --latency{too} is timed: add --latency, or leave --runtime out.")
        if self.times:
            raise ConfigError(f"--times holds the times for --latency{too}: add --latency, or leave --times out.")

    def refuse_host_alone(self) -> None:
        """Raise `ConfigError` for a board without a runtime that it has."""
        if self.host is not None and not self.times and self.runtime in (None, "torch"):
            raise ConfigError(
                "--device-host: say on which runtime the board serves the network: add --runtime onnxruntime."
            )

    def refuse_contradictions(self, latency: str | None) -> None:
        """Raise `ConfigError` for a source without ``--latency``, and for ``--latency`` without a source."""
        if latency is None:
            self.refuse_without_latency()
        elif not self.given:
            raise ConfigError(
                f"--latency {latency} is a time on a runtime: add --runtime onnxruntime to time it here, or --times times.json "
                "for another device (slimyolo latency pack)."
            )


def budget_of(
    percent: float | None,
    params: float | None,
    macs: float | None,
    latency: str | None = None,
    max_drop: float | None = None,
) -> tuple[BudgetUnit, float]:
    """The budget that was given, as (unit, amount). When none was given it is 0.4 of the channels.

    | unit | amount |
    |---|---|
    | ``channels`` | share of the channels to remove |
    | ``params``, ``macs`` | what to keep, as a share (float) or a count (int) |
    | ``latency`` | milliseconds |
    | ``latency-share`` | share of the time that the uncut network takes |
    | ``max-drop`` | largest loss of mAP50-95 |

    Raises `ConfigError` when several were given.
    """
    share, milliseconds = latency_amounts(latency)
    budgets: tuple[tuple[BudgetUnit, float | None], ...] = (
        ("channels", percent),
        ("params", params),
        ("macs", macs),
        ("latency-share", share),
        ("latency", milliseconds),
        ("max-drop", max_drop),
    )
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
    """8, "8" or "8ms" → "8ms"; "0.02s" → "20ms"; "50%" or 0.5, a share of the time of the uncut network → "50%"."""
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
            f"got {value!r}, expected milliseconds above 0, such as 8ms, or a share of the time it takes now, such as 50%."
        )
    return f"{100 * share:g}%" if unit == "%" or (unit == "" and amount < 1) else f"{amount:.12g}ms"


def latency_amounts(latency: str | None) -> tuple[float | None, float | None]:
    """(share of the time now, milliseconds) of a text that `parse_latency` returned. One of them is None, or both."""
    if latency is None:
        return None, None
    if latency.endswith("%"):
        return float(latency.removesuffix("%")) / 100, None
    return None, float(latency.removesuffix("ms"))


def missed_budget_words(note: str) -> str:
    """The warning for a `note` of a cut, when the note says that a budget was not reached; else empty."""
    return f"{note} Lower --floor, or ask for less." if _NOT_REACHED in note else ""


Amount = Annotated[float | int, parsed_by(parse_amount)]
Latency = Annotated[str, parsed_by(parse_latency)]
