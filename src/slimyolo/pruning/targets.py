"""How much to cut: small frozen values, which are validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from slimyolo.errors import ConfigError

__all__ = [
    "ChannelShare",
    "LatencyBudget",
    "MacsBudget",
    "MacsShare",
    "ParamsBudget",
    "ParamsShare",
    "Target",
    "target_from_plain",
    "target_to_plain",
    "target_words",
]


def _check_share(owner: str, share: object) -> None:
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < float(share) < 1.0:
        raise ConfigError(f"{owner}({share!r}): expected a number above 0 and below 1, for instance {owner}(0.4).")


def _check_count(owner: str, count: object, example: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigError(
            f"{owner}({count!r}): expected a whole number of at least 1, for instance {owner}({example:_})."
        )


@dataclass(frozen=True)
class ChannelShare:
    """Remove this share of the prunable channels, counted in BatchNorm channels, as the reference's `--percent` does.

    A coupled channel counts once for each γ that it owns. The share that is removed is at most `share`. A channel that stays
    as a constant carrier counts as removed, since its information is gone; its cost is part of the predicted cost.
    """

    share: float

    def __post_init__(self) -> None:
        _check_share("ChannelShare", self.share)


@dataclass(frozen=True)
class ParamsShare:
    """Keep at most this share of the parameters (`ParamsShare(0.6)`: the cut model has ≤ 60 % of them)."""

    share: float

    def __post_init__(self) -> None:
        _check_share("ParamsShare", self.share)


@dataclass(frozen=True)
class MacsShare:
    """Keep at most this share of the multiply-accumulates (`MacsShare(0.6)`: the cut model does ≤ 60 % of them)."""

    share: float

    def __post_init__(self) -> None:
        _check_share("MacsShare", self.share)


@dataclass(frozen=True)
class ParamsBudget:
    """Keep at most `params` parameters (`ParamsBudget(900_000)`)."""

    params: int

    def __post_init__(self) -> None:
        _check_count("ParamsBudget", self.params, 900_000)


@dataclass(frozen=True)
class MacsBudget:
    """Keep at most `macs` multiply-accumulates of one image at the traced input size (`MacsBudget(250_000_000)`)."""

    macs: int

    def __post_init__(self) -> None:
        _check_count("MacsBudget", self.macs, 250_000_000)


@dataclass(frozen=True)
class LatencyBudget:
    """The cut model may take at most `milliseconds` for one run, as measured by the price function that is passed."""

    milliseconds: float

    def __post_init__(self) -> None:
        value: object = self.milliseconds
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < float(value) < float("inf"):
            raise ConfigError(
                f"LatencyBudget({value!r}): expected milliseconds above 0, for instance LatencyBudget(8)."
            )


Target = ChannelShare | ParamsShare | MacsShare | ParamsBudget | MacsBudget | LatencyBudget

_SHARES: dict[str, type[ChannelShare] | type[ParamsShare] | type[MacsShare]] = {
    "channels": ChannelShare,
    "params": ParamsShare,
    "macs": MacsShare,
}
_COUNTS: dict[str, type[ParamsBudget] | type[MacsBudget]] = {"params_at_most": ParamsBudget, "macs_at_most": MacsBudget}
_LATENCY = "latency_ms"


def target_words(target: Target) -> str:
    """The target as the end of a sentence, such as ``at most 50 % of the MACs``."""
    if isinstance(target, ChannelShare):
        return f"all but {_percent(target.share)} of the channels"
    if isinstance(target, LatencyBudget):
        return f"at most {target.milliseconds:g} ms"
    if isinstance(target, ParamsBudget):
        return f"at most {target.params:,} parameters"
    if isinstance(target, MacsBudget):
        return f"at most {target.macs:,} MACs"
    whole = "parameters" if isinstance(target, ParamsShare) else "MACs"
    return f"at most {_percent(target.share)} of the {whole}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def target_to_plain(target: Target) -> dict[str, float]:
    """The target as the JSON of a plan holds it, such as `{"channels": 0.4}`."""
    if isinstance(target, LatencyBudget):
        return {_LATENCY: target.milliseconds}
    if isinstance(target, ParamsBudget):
        return {"params_at_most": target.params}
    if isinstance(target, MacsBudget):
        return {"macs_at_most": target.macs}
    for name, kind in _SHARES.items():
        if isinstance(target, kind):
            return {name: target.share}
    raise ConfigError(
        f"target {target!r}: expected ChannelShare, ParamsShare, MacsShare, ParamsBudget, MacsBudget or LatencyBudget, for "
        f"instance ChannelShare(0.4)."
    )


def target_from_plain(plain: dict[str, float]) -> Target:
    """Inverse of `target_to_plain`; raises `ConfigError` for anything else."""
    known = (*_SHARES, *_COUNTS, _LATENCY)
    if len(plain) != 1 or next(iter(plain)) not in known:
        raise ConfigError(f"target {plain!r}: expected one of the keys {', '.join(known)} with a number.")
    ((name, value),) = plain.items()
    if name == _LATENCY:
        return LatencyBudget(float(value))
    return _COUNTS[name](int(value)) if name in _COUNTS else _SHARES[name](float(value))
