"""Makes a `Detector` from an architecture and, when it was pruned, its widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from slimyolo.errors import ModelError
from slimyolo.models.activations import DEFAULT_ACTIVATION, replace_activations_
from slimyolo.models.architecture import Architecture
from slimyolo.models.checking import absolute_sources, check_layers, rule_of
from slimyolo.models.detector import Detector
from slimyolo.models.module_table import (
    Built,
    Incoming,
    ModuleRule,
    bind_arguments,
    scaled_channels,
    scaled_repeats,
)
from slimyolo.models.widths import Widths, narrow_

__all__ = ["build_detector"]

MOST_PARAMETERS = 1_000_000_000  # yolov5x has 87 million


def build_detector(
    architecture: Architecture,
    *,
    names: Sequence[str] | None = None,
    widths: Widths | None = None,
    seed: int | None = None,
) -> Detector:
    """A detector of this architecture with random initial values, in train mode, on the CPU.

    `names` gives one name for each class; None means "class0", "class1" … `widths` are the sizes of a pruned detector, see
    `narrow_`. With a `seed` the values are reproducible and torch's global generator is not used; without it they come
    from that generator. Raises `ModelError` that names the row that does not fit.
    """
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_detector(architecture, names=names, widths=widths)
    check_layers(architecture)
    detector = Detector(architecture, _layers(architecture), names or [f"class{i}" for i in range(architecture.nc)])
    if architecture.activation != DEFAULT_ACTIVATION:
        replace_activations_(detector, architecture.activation)
    if widths is not None:
        narrow_(detector, widths)
    return detector


def _layers(architecture: Architecture) -> list[nn.Module]:
    layers: list[nn.Module] = []
    parameters = 0
    outputs: dict[int, Built] = {-1: Built(nn.Identity(), 3, Fraction(1))}
    for index, row in enumerate(architecture.layers):
        sources = [outputs[source] for source in absolute_sources(row.sources, index)]
        incoming = Incoming(
            channels=tuple(source.outputs for source in sources),
            strides=tuple(source.stride for source in sources),
            repeats=scaled_repeats(row.repeats, architecture.depth_multiple),
            scale=architecture.scale,
            pieces=tuple(source.pieces for source in sources),
        )
        if row.module == architecture.family.head_name:
            layers.append(_head(architecture, incoming))
            break
        rule = rule_of(architecture, row, architecture.name)
        values = bind_arguments(architecture.name, row, rule)
        if "outputs" in values:
            values["outputs"] = scaled_channels(
                values["outputs"], architecture.width_multiple, architecture.max_channels
            )
        try:
            _refuse_huge(rule, incoming, values, parameters)
            built = rule.make(incoming, values)
        except (ModelError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{architecture.name}, {row.where}: layer {index} ({row.module}, {incoming.channels[0]} channels in) "
                f"cannot be made: {error}."
            ) from error
        layers.append(built.module)
        parameters += _size(built.module)
        outputs[index] = built
    return layers


def _refuse_huge(rule: ModuleRule, incoming: Incoming, values: Mapping[str, Any], before: int) -> None:
    """Raise `ModelError` when this layer and the `before` parameters of earlier layers exceed `MOST_PARAMETERS`.

    A layer that may be large is first made on the meta device, which takes no memory.
    """
    kernel, outputs = values.get("kernel", 1), values.get("outputs", 1)
    about = max(sum(incoming.channels), outputs) * outputs * incoming.repeats * kernel * kernel
    if about > MOST_PARAMETERS / 64:
        with torch.device("meta"):
            before += _size(rule.make(incoming, values).module)
    if before > MOST_PARAMETERS:
        raise ModelError(f"the network would have {before:,} parameters or more, expected at most {MOST_PARAMETERS:,}")


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _head(architecture: Architecture, incoming: Incoming) -> nn.Module:
    if any(stride.denominator != 1 for stride in incoming.strides):
        raise ModelError(
            f"{architecture.name}: the strides of the levels should be whole numbers, got {incoming.strides}."
        )
    return architecture.family.make_head(architecture, incoming)
