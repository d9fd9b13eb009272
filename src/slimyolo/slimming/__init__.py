"""Slimming in your own training loop: three lines around any network, without any knowledge of detectors.

::

    from slimyolo.pruning import MacsShare
    from slimyolo.slimming import Slimming

    slim = Slimming(model, example, MacsShare(0.5), steps=epochs * len(loader))  # before the loop
    slim.step()                                                                  # after each optimizer.step()
    smaller = slim.cut().model                                                   # after the loop

It stands above `sparsity`, which fades channels, and `pruning`, which cuts them; these two do not know each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.slimming.channels import FadingChannels, fading_channels
    from slimyolo.slimming.cost import CostShare
    from slimyolo.slimming.optimizer_state import carry_optimizer_state_
    from slimyolo.slimming.records import SlimmingResult, SlimmingStatus
    from slimyolo.slimming.slimming import Slimming

__all__ = [
    "CostShare",
    "FadingChannels",
    "Slimming",
    "SlimmingResult",
    "SlimmingStatus",
    "carry_optimizer_state_",
    "fading_channels",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.slimming.channels": "FadingChannels fading_channels",
        "slimyolo.slimming.cost": "CostShare",
        "slimyolo.slimming.optimizer_state": "carry_optimizer_state_",
        "slimyolo.slimming.records": "SlimmingResult SlimmingStatus",
        "slimyolo.slimming.slimming": "Slimming",
    },
)
