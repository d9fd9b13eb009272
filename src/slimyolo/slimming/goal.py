"""What a slimming has to reach, and the rules that it can follow."""

from __future__ import annotations

from slimyolo.errors import ConfigError
from slimyolo.pruning import (
    ChannelGraph,
    ChannelShare,
    CostTable,
    CutRules,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    Target,
)

__all__ = ["UNIT_WORDS", "check_rules", "share_to_remove"]

UNIT_WORDS = {"macs": "MACs", "params": "parameters", "channels": "channels"}


def check_rules(rules: CutRules) -> None:
    """Raise `ConfigError` for rules that have no meaning while a network trains."""
    if rules.importance != "gamma":
        raise ConfigError(
            "importance= has no meaning for Slimming, which measures what each channel does to your loss while it trains. "
            "For a cut by scores, use slimyolo.pruning.prune_module."
        )
    if rules.policy != "coupled":
        raise ConfigError(f"policy={rules.policy!r} has no meaning for Slimming; leave it out.")
    if rules.per == "ms":
        raise ConfigError("per='ms': Slimming measures no times while it trains; use per='macs' or per='params'.")


def share_to_remove(target: Target, graph: ChannelGraph) -> tuple[str, float]:
    """(unit, share of it to remove) of a target."""
    dense = CostTable(graph).cost({})
    if isinstance(target, ChannelShare):
        return "channels", target.share
    if isinstance(target, MacsShare):
        return "macs", 1 - target.share
    if isinstance(target, ParamsShare):
        return "params", 1 - target.share
    if isinstance(target, MacsBudget):
        return "macs", 1 - target.macs / dense.macs
    if isinstance(target, ParamsBudget):
        return "params", 1 - target.params / dense.params
    if isinstance(target, LatencyBudget):
        raise ConfigError(
            "LatencyBudget: Slimming measures no times while it trains. Find out with prune_module which share of the MACs is "
            "fast enough, and give MacsShare."
        )
    raise ConfigError(
        f"target {target!r}: expected MacsShare, ParamsShare, MacsBudget, ParamsBudget or ChannelShare, for instance "
        f"MacsShare(0.5)."
    )
