"""Counts the parameters and MACs of a module and lists what could not be counted; times runs and describes the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.costs.counting import LayerCost, ModelCost, model_cost
    from slimyolo.costs.latency_model import ConvolutionShape, LatencyModel, fit_latency
    from slimyolo.costs.machine import Machine, busy_warnings, describe_machine, processor_flags, processor_name
    from slimyolo.costs.neighbours import (
        NeighbourWatch,
        ProcessorTime,
        busy_neighbours,
        neighbour_warning,
        read_processor_time,
    )
    from slimyolo.costs.timing import Timing, summarise, time_interleaved

__all__ = [
    "ConvolutionShape",
    "LatencyModel",
    "LayerCost",
    "Machine",
    "ModelCost",
    "NeighbourWatch",
    "ProcessorTime",
    "Timing",
    "busy_neighbours",
    "busy_warnings",
    "describe_machine",
    "fit_latency",
    "model_cost",
    "neighbour_warning",
    "processor_flags",
    "processor_name",
    "read_processor_time",
    "summarise",
    "time_interleaved",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.costs.counting": "LayerCost ModelCost model_cost",
        "slimyolo.costs.latency_model": "ConvolutionShape LatencyModel fit_latency",
        "slimyolo.costs.machine": "Machine busy_warnings describe_machine processor_flags processor_name",
        "slimyolo.costs.neighbours": "NeighbourWatch ProcessorTime busy_neighbours neighbour_warning read_processor_time",
        "slimyolo.costs.timing": "Timing summarise time_interleaved",
    },
)
