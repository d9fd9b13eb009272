"""Parameters and MACs of a module, with a list of what could not be counted; and how long runs take, on what machine."""

from __future__ import annotations

from slimyolo.costs.counting import LayerCost, ModelCost, model_cost
from slimyolo.costs.machine import Machine, busy_warnings, describe_machine
from slimyolo.costs.timing import Timing, summarise, time_interleaved

__all__ = [
    "LayerCost",
    "Machine",
    "ModelCost",
    "Timing",
    "busy_warnings",
    "describe_machine",
    "model_cost",
    "summarise",
    "time_interleaved",
]
