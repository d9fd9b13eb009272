"""Widths as data: reads the sizes of every sized layer of a module, and gives the layers other sizes.

A pruned detector is its architecture plus this table. The architecture, not the table, says how the layers are connected.
The code that makes a table (pruning) must keep its sizes consistent.

The table holds convolutions, batch norms and linear layers, and nothing else. A block must not keep a number of channels in
an attribute; it reads it from its layers. A block with a parameter of its own for each channel is a `FollowsWidths`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError, nearest_name_hint, shown_value

__all__ = ["FollowsWidths", "LayerWidth", "Widths", "narrow_", "widths_from_plain", "widths_of", "widths_to_plain"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LARGEST = 1 << 20  # channels; so a damaged table cannot request all the memory


@dataclass(frozen=True)
class LayerWidth:
    """The sizes of one layer in channels. For a batch norm inputs == outputs, and `bias` says whether it has γ and β."""

    inputs: int
    outputs: int
    groups: int = 1
    bias: bool = False


Widths = Mapping[str, LayerWidth]
"""Module path (as in `named_modules`) → sizes, for every convolution, batch norm and linear layer."""


class FollowsWidths(ABC):
    """A block with parameters of its own, whose sizes follow from the sizes of the layers inside it."""

    @abstractmethod
    def follow_widths_(self) -> None:
        """Fit the block's own parameters to the sizes of its layers. A parameter whose size changes gets initial values."""


def widths_of(module: nn.Module) -> dict[str, LayerWidth]:
    """The widths table of `module`, in the order of its layers."""
    return {name: _width(layer) for name, layer in module.named_modules() if _is_sized(layer)}


def narrow_(module: nn.Module, widths: Widths) -> None:
    """Resize, in place, every layer of `module` whose sizes differ from `widths`; the others stay untouched.

    Resized layers get initial values, so load their tensors afterwards; dtype, device, kernel, stride, padding and eps stay.
    The table must name exactly the sized layers of `module`. Raises `ModelError` that names the module path, before
    anything is changed.
    """
    layers = {name: layer for name, layer in module.named_modules() if _is_sized(layer)}
    for name in widths:
        if name not in layers:
            raise ModelError(
                f"The widths table names a layer {name!r} which this model does not have."
                f"{nearest_name_hint(name, layers)} A table fits only the architecture it was made for."
            )
    for name, layer in layers.items():
        if name not in widths:
            raise ModelError(f"The widths table lacks the layer {name!r} ({type(layer).__name__}) of this model.")
        _check(name, layer, widths[name])
    for name, layer in layers.items():
        if _width(layer) != widths[name]:
            _resize_(layer, widths[name])
    for part in module.modules():
        if isinstance(part, FollowsWidths):
            part.follow_widths_()


def widths_to_plain(widths: Widths) -> dict[str, dict[str, Any]]:
    """The table as JSON-ready data; `widths_from_plain` is its inverse."""
    return {name: asdict(width) for name, width in widths.items()}


def widths_from_plain(plain: Any) -> dict[str, LayerWidth]:
    """A widths table from plain data. Raises `ModelError` that names the wrong entry."""
    if not isinstance(plain, Mapping):
        raise ModelError(f"A widths table should be a mapping of layer names to sizes, got {type(plain).__name__}.")
    table = {}
    for name, entry in plain.items():
        fields = dict(entry) if isinstance(entry, Mapping) else {}
        numbers = [fields.get(key) for key in ("inputs", "outputs", "groups")]
        good = len(fields) == 4 and all(type(number) is int for number in numbers)
        if not good or type(fields.get("bias")) is not bool or not isinstance(name, str):
            raise ModelError(
                f"Widths entry {name!r} should be {{inputs, outputs, groups: whole numbers, bias: true or false}}, "
                f"got {shown_value(entry)}."
            )
        table[name] = LayerWidth(**fields)
    return table


def _is_sized(layer: nn.Module) -> bool:
    return isinstance(layer, (*_CONVOLUTIONS, *_BATCHNORMS, nn.Linear))


def _width(layer: nn.Module) -> LayerWidth:
    if isinstance(layer, _CONVOLUTIONS):
        return LayerWidth(layer.in_channels, layer.out_channels, layer.groups, layer.bias is not None)
    if isinstance(layer, _BATCHNORMS):
        return LayerWidth(layer.num_features, layer.num_features, 1, layer.affine)
    if isinstance(layer, nn.Linear):
        return LayerWidth(layer.in_features, layer.out_features, 1, layer.bias is not None)
    raise TypeError(f"{type(layer).__name__} has no width")


def _check(name: str, layer: nn.Module, width: LayerWidth) -> None:
    problem = ""
    if not (0 < width.inputs <= _LARGEST and 0 < width.outputs <= _LARGEST and width.groups > 0):
        problem = f"sizes must be from 1 to {_LARGEST}"
    elif width.inputs % width.groups or width.outputs % width.groups:
        problem = "inputs and outputs must be multiples of groups"
    elif isinstance(layer, _BATCHNORMS) and (width.inputs != width.outputs or width.groups != 1):
        problem = "a batch norm has as many outputs as inputs, and one group"
    elif isinstance(layer, nn.Linear) and width.groups != 1:
        problem = "a linear layer has one group"
    if problem:
        raise ModelError(
            f"The widths table cannot be used for {name!r} ({type(layer).__name__}): {problem}; got {width}."
        )


def _resize_(layer: nn.Module, width: LayerWidth) -> None:
    """Give `layer` new parameters (and statistics) of these sizes with initial values; dtype, device and gradient flags stay.

    A bias whose size does not change keeps its values: heads start with biases that were chosen.
    """
    target: Any = layer
    bias = None if target.bias is None else target.bias.detach()
    like: Tensor = target.weight if target.weight is not None else target.running_mean

    def fresh(*shape: int) -> nn.Parameter:
        grad = like.requires_grad or not isinstance(like, nn.Parameter)
        return nn.Parameter(torch.empty(shape, dtype=like.dtype, device=like.device), requires_grad=grad)

    if isinstance(layer, _CONVOLUTIONS):
        target.in_channels, target.out_channels, target.groups = width.inputs, width.outputs, width.groups
        rows, columns = (width.inputs, width.outputs) if target.transposed else (width.outputs, width.inputs)
        target.weight = fresh(rows, columns // width.groups, *target.kernel_size)
        target.bias = fresh(width.outputs) if width.bias else None
    elif isinstance(layer, nn.Linear):
        target.in_features, target.out_features = width.inputs, width.outputs
        target.weight = fresh(width.outputs, width.inputs)
        target.bias = fresh(width.outputs) if width.bias else None
    else:
        target.num_features, target.affine = width.outputs, width.bias
        target.weight = fresh(width.outputs) if width.bias else None
        target.bias = fresh(width.outputs) if width.bias else None
        if target.running_mean is not None:
            target.running_mean = target.running_mean.new_zeros(width.outputs)
            target.running_var = target.running_var.new_ones(width.outputs)
    target.reset_parameters()
    same_bias = bias is not None and target.bias is not None and len(bias) == len(target.bias)
    if isinstance(layer, _CONVOLUTIONS) and same_bias:
        target.bias.data = bias
