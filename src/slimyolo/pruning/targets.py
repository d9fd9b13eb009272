"""How much to cut: small frozen values, validated when made."""

from __future__ import annotations

from dataclasses import dataclass

from slimyolo.errors import ConfigError

__all__ = [
    "ChannelShare",
    "LatencyBudget",
    "MacsShare",
    "ParamsShare",
    "Target",
    "target_from_plain",
    "target_to_plain",
]


def _check_share(owner: str, share: object) -> None:
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < float(share) < 1.0:
        raise ConfigError(f"{owner}({share!r}): expected a number above 0 and below 1, for instance {owner}(0.4).")


@dataclass(frozen=True)
class ChannelShare:
    """Remove this share of the prunable channels, counted in BatchNorm channels: the reference's `--percent`.

    A coupled channel counts once for each γ it owns. The removed share reaches `share` from below. Channels that live
    on as constant carriers count as removed (their information is gone); their cost is in the predicted cost.
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
class LatencyBudget:
    """The cut model may take at most `milliseconds` for one run, as the passed price function measures it."""

    milliseconds: float

    def __post_init__(self) -> None:
        value: object = self.milliseconds
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < float(value) < float("inf"):
            raise ConfigError(
                f"LatencyBudget({value!r}): expected milliseconds above 0, for instance LatencyBudget(8)."
            )


Target = ChannelShare | ParamsShare | MacsShare | LatencyBudget

_TYPES: dict[str, type[ChannelShare] | type[ParamsShare] | type[MacsShare] | type[LatencyBudget]] = {
    "channels": ChannelShare,
    "params": ParamsShare,
    "macs": MacsShare,
    "latency_ms": LatencyBudget,
}


def target_to_plain(target: Target) -> dict[str, float]:
    """`{"channels": 0.4}` and the like: what a plan's JSON holds."""
    for name, kind in _TYPES.items():
        if isinstance(target, kind):
            return {name: target.milliseconds if isinstance(target, LatencyBudget) else target.share}
    raise ConfigError(
        f"target {target!r}: expected ChannelShare, ParamsShare, MacsShare or LatencyBudget, for instance ChannelShare(0.4)."
    )


def target_from_plain(plain: dict[str, float]) -> Target:
    """Inverse of `target_to_plain`; raises `ConfigError` for anything else."""
    if len(plain) != 1 or next(iter(plain)) not in _TYPES:
        raise ConfigError(f"target {plain!r}: expected one of the keys {', '.join(_TYPES)} with a number.")
    ((name, value),) = plain.items()
    return _TYPES[name](float(value))
