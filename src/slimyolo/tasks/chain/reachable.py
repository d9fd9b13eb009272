"""Whether a budget can be reached at all, found before hours of training: by the cut that leaves every layer at its floor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import MacsShare, PruneResult
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.latency.opening import open_price
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.cutter import cut_detector, rules_of

__all__ = ["refuse_unreachable"]

LEAST = 1e-9  # a share of the MACs that no cut reaches: every layer goes to its floor
NAMES: Mapping[str, str] = {"channels": "channels", "params": "parameters", "macs": "MACs"}
SURE_MEASURED, SURE_PREDICTED = 1.1, 1.25  # times above the budget by these factors are no error of the measurement


def refuse_unreachable(detector: Detector, config: CompressConfig | IterateConfig, rounds: int = 1) -> None:
    """Raise `ConfigError` when no cut of `detector` reaches the budget of `config`, whatever training brings.

    After `rounds` cuts a layer may be smaller than after one. A time is compared with the time of the smallest network; where
    a result is near the budget, nothing is raised. The policy "skip-shortcuts" with a share of channels has a rule without
    floors, and is not checked.
    """
    unit, amount = config.budget
    cutting = _cut_config(config)
    if unit == "channels" and cutting.policy != "coupled":
        return
    rules = rules_of(cutting)
    floor = 1.0 if rules.floor is None else rules.floor**rounds
    smallest = cut_detector(detector, MacsShare(LEAST), replace(rules, floor=floor, per="channels"), imgsz=config.imgsz)
    plan, report = smallest.plan, smallest.report
    words = f"with at least {floor:.3g} of each layer (--floor)"
    if unit in ("latency", "latency-share"):
        _refuse_time(detector, config, smallest, words)
        return
    least = {
        "params": report.after.params / report.before.params,
        "macs": report.after.macs / report.before.macs,
        "channels": 1 - plan.removed_channels / max(plan.prunable_channels, 1),
    }[unit]
    wanted = 1 - amount if unit == "channels" else amount
    if least <= wanted * 1.001 + 1e-6:
        return
    option, possible = f"--{unit}", f"at least {math.ceil(1000 * least) / 1000:g}"
    if unit == "channels":
        option, possible = "--percent", f"at most {math.floor(1000 * (1 - least)) / 1000:g}"
    raise ConfigError(
        f"{option} {amount:g} cannot be reached: {words}, {least:.1%} of the {NAMES[unit]} of this network stay. Give "
        f"{possible}, or a lower --floor."
    )


def _cut_config(config: CompressConfig | IterateConfig) -> PruneConfig:
    """The settings of the cut; the names of the folder and of the checkpoint are not used."""
    nowhere = Path("unused")
    if isinstance(config, CompressConfig):
        return config.prune_config(nowhere, nowhere)
    return config.cut_config(nowhere, "unused", nowhere, 0.5)


def _refuse_time(
    detector: Detector, config: CompressConfig | IterateConfig, smallest: PruneResult[Detector], words: str
) -> None:
    unit, amount = config.budget
    price = open_price(detector, (config.imgsz, config.imgsz), config.timing)
    try:
        dense = price.dense_ms
        budget = amount * dense if unit == "latency-share" else amount
        if dense <= budget:
            raise ConfigError(
                f"--latency {config.latency}: the network takes only {dense:.2f} ms without a cut. Give a shorter time, or do "
                "not prune it."
            )
        share = price.measured_share(smallest.plan)
        least = dense * share if share is not None else price(smallest.plan)
    finally:
        price.close()
    if least > budget * (SURE_MEASURED if share is not None else SURE_PREDICTED):
        raise ConfigError(
            f"--latency {config.latency} cannot be reached: {words}, the network still takes {least:.2f} ms of {dense:.2f}. "
            f"Give a longer time, a lower --floor or a smaller --imgsz."
        )
