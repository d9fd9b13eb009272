"""The table of the modules that an architecture may name: their arguments, and how each is made from numbers of channels.

To add a module that several families share, write its class in `layers.py` and a row in `BLOCKS`. A family adds its own
modules in its folder: ``blocks={**BLOCKS, "C2f": ModuleRule(...)}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from torch import nn

from slimyolo.errors import ModelError
from slimyolo.models import layers
from slimyolo.models.architecture import LayerSpec
from slimyolo.one_line import one_line_repr

__all__ = [
    "BLOCKS",
    "OUTPUTS",
    "Argument",
    "Built",
    "Incoming",
    "Kind",
    "ModuleRule",
    "bind_arguments",
    "chained",
    "scaled_channels",
    "scaled_repeats",
    "staged",
]

_REQUIRED = object()
_MOST_CHANNELS = 65_536


class Kind(NamedTuple):
    """A kind of argument: `accepts` tells whether a value is of this kind, `expectation` completes "should be …"."""

    accepts: Callable[[Any], bool]
    expectation: str


@dataclass(frozen=True)
class Argument:
    """One argument of a row: its name, the kind of value it takes (a key of `_KINDS`, or a `Kind`), and its default.

    The argument called "outputs" is multiplied by the architecture's width multiple; all others stay as written.
    """

    name: str
    kind: str | Kind
    default: Any = _REQUIRED


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """The inputs of a layer. `channels`, `strides` (input pixels per cell) and `pieces` have one entry for each source.

    An entry of `pieces` holds the channels of each map of a source that returns several maps (`Built.pieces`), and is
    ``()`` for any other source. `repeats` is the row's number after the depth multiple. `scale` is the architecture's
    scale letter or "": in some families the large scales have other blocks.
    """

    channels: tuple[int, ...]
    strides: tuple[Fraction, ...]
    repeats: int
    scale: str = ""
    pieces: tuple[tuple[int, ...], ...] = ()


@one_line_repr
@dataclass(frozen=True)
class Built:
    """A layer that has been made, its output channels and its output stride (input pixels per cell).

    For a layer that returns a tuple of maps, `pieces` holds the channels of each map.
    """

    module: nn.Module
    outputs: int
    stride: Fraction
    pieces: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModuleRule:
    """The arguments of a module, and the function that makes the module from its inputs and these arguments by name.

    When `many` is true, a row may name several sources, and the module is called with the list of their outputs.
    """

    arguments: tuple[Argument, ...]
    make: Callable[[Incoming, Mapping[str, Any]], Built]
    many: bool = False

    @property
    def signature(self) -> str:
        """The arguments as a person would write them: `outputs, kernel=1`."""
        return ", ".join(
            item.name if item.default is _REQUIRED else f"{item.name}={item.default}" for item in self.arguments
        )


def bind_arguments(name: str, row: LayerSpec, rule: ModuleRule) -> dict[str, Any]:
    """The arguments of `row` by name, with defaults filled in. Raises `ModelError` for a wrong number or kind."""
    needed = sum(item.default is _REQUIRED for item in rule.arguments)
    if not needed <= len(row.args) <= len(rule.arguments):
        most = len(rule.arguments)
        expected = str(needed) if needed == most else f"{needed} to {most}"
        raise ModelError(
            f"{name}, {row.where}: {row.module} takes {expected} argument{'' if expected == '1' else 's'} "
            f"({rule.signature}), got {len(row.args)}: {list(row.args)}."
        )
    values = {item.name: item.default for item in rule.arguments}
    for item, given in zip(rule.arguments, row.args, strict=False):
        kind, value = _KINDS[item.kind] if isinstance(item.kind, str) else item.kind, _word(given)
        if not kind.accepts(value):
            raise ModelError(
                f"{name}, {row.where}: {row.module}'s {item.name} should be {kind.expectation}, got {given!r}."
            )
        values[item.name] = value
    return values


def _word(value: Any) -> Any:
    """`value`, but the texts "None", "True" and "False", which YAML does not convert, become Python's values."""
    return {"None": None, "True": True, "False": False}.get(value, value) if isinstance(value, str) else value


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _odd(value: Any) -> bool:
    return _whole(1, 1024)(value) and value % 2 == 1


def _list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and len(value) > 0 and all(map(accepts, value))


_CHANNELS = _whole(1, _MOST_CHANNELS)
_KINDS: Mapping[str, Kind] = {
    "channels": Kind(_CHANNELS, f"a whole number from 1 to {_MOST_CHANNELS}"),
    "channel list": Kind(_list_of(_CHANNELS), f"a list of whole numbers from 1 to {_MOST_CHANNELS}"),
    "index list": Kind(_list_of(_whole(0, 1024)), "a list of whole numbers from 0"),
    "count": Kind(_whole(1, 1024), "a whole number from 1 to 1024"),
    "odd": Kind(_odd, "an odd whole number"),
    "padding": Kind(lambda value: value is None or _whole(0, 1024)(value), "a whole number from 0, or None"),
    "flag": Kind(lambda value: type(value) is bool, "True or False"),
    "share": Kind(lambda value: type(value) in (int, float) and 0 < value <= 16, "a number above 0"),
    "odd list": Kind(_list_of(_odd), "a list of odd whole numbers"),
    "border": Kind(lambda value: _list_of(_whole(0, 1024))(value) and len(value) == 4, "[left, right, top, bottom]"),
    "none": Kind(lambda value: value is None, "None"),
    "one": Kind(lambda value: type(value) is int and value == 1, "1 (the channels)"),
    "mode": Kind(lambda value: value in ("nearest", "bilinear"), "'nearest' or 'bilinear'"),
    "classes": Kind(lambda value: value == "nc" or _whole(1, 100_000)(value), "nc"),
    "anchors": Kind(lambda value: value == "anchors", "anchors"),
}


def chained(cls: type[nn.Module], reduction: int = 1) -> Callable[[Incoming, Mapping[str, Any]], Built]:
    """The `make` of modules that are repeated in a row; only the first one changes the number of channels.

    `reduction` divides both sides of the feature map, in addition to the argument `stride`.
    """

    def make(incoming: Incoming, values: Mapping[str, Any]) -> Built:
        channels, outputs = incoming.channels[0], values["outputs"]
        rest = {key: value for key, value in values.items() if key != "outputs"}
        stride = incoming.strides[0]
        chain: list[nn.Module] = []
        for _ in range(incoming.repeats):
            chain.append(cls(channels, outputs, **rest))
            channels = outputs
            stride *= values.get("stride", 1) * reduction
        return Built(chain[0] if len(chain) == 1 else nn.Sequential(*chain), outputs, stride)

    return make


def staged(cls: type[nn.Module]) -> Callable[[Incoming, Mapping[str, Any]], Built]:
    """The `make` of modules that take the number of repeats as the keyword `repeats`."""

    def make(incoming: Incoming, values: Mapping[str, Any]) -> Built:
        rest = {key: value for key, value in values.items() if key != "outputs"}
        module = cls(incoming.channels[0], values["outputs"], repeats=incoming.repeats, **rest)
        return Built(module, values["outputs"], incoming.strides[0])

    return make


def _concat(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    if len(set(incoming.strides)) != 1:
        raise ModelError(
            f"Concat joins feature maps of one size, but its sources have {', '.join(map(str, incoming.strides))} "
            "input pixels per cell"
        )
    return Built(layers.Concat(), sum(incoming.channels), incoming.strides[0])


def _upsample(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    mode = values["mode"]
    module = nn.Upsample(scale_factor=float(values["scale"]), mode=mode, align_corners=None)
    return Built(module, incoming.channels[0], incoming.strides[0] / values["scale"])


def _max_pool(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    stride = values["stride"] or values["kernel"]
    module = nn.MaxPool2d(values["kernel"], stride, values["padding"] or 0)
    return Built(module, incoming.channels[0], incoming.strides[0] * stride)


def _zero_pad(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    return Built(nn.ZeroPad2d(values["border"]), incoming.channels[0], incoming.strides[0])


OUTPUTS = Argument("outputs", "channels")
"""The first argument of most modules: output channels, before the width multiple."""
_KERNEL = Argument("kernel", "count", 1)
_STRIDE = Argument("stride", "count", 1)
_GROUPS = Argument("groups", "count", 1)
_ACTIVATION = Argument("activation", "flag", True)
_SHORTCUT = (Argument("shortcut", "flag", True), _GROUPS, Argument("expansion", "share", 0.5))
_CONV = (OUTPUTS, _KERNEL, _STRIDE, Argument("padding", "padding", None), _GROUPS, _ACTIVATION)

BLOCKS: Mapping[str, ModuleRule] = {
    "Conv": ModuleRule(_CONV, chained(layers.Conv)),
    "DWConv": ModuleRule((OUTPUTS, _KERNEL, _STRIDE, _ACTIVATION), chained(layers.DWConv)),
    "Focus": ModuleRule(_CONV, chained(layers.Focus, reduction=2)),
    "GhostConv": ModuleRule((OUTPUTS, _KERNEL, _STRIDE, _GROUPS, _ACTIVATION), chained(layers.GhostConv)),
    "GhostBottleneck": ModuleRule((OUTPUTS, Argument("kernel", "odd", 3), _STRIDE), chained(layers.GhostBottleneck)),
    "Bottleneck": ModuleRule((OUTPUTS, *_SHORTCUT), chained(layers.Bottleneck)),
    "C3": ModuleRule((OUTPUTS, *_SHORTCUT), staged(layers.C3)),
    "C3Ghost": ModuleRule((OUTPUTS, *_SHORTCUT), staged(layers.C3Ghost)),
    "BottleneckCSP": ModuleRule((OUTPUTS, *_SHORTCUT), staged(layers.BottleneckCSP)),
    "SPP": ModuleRule((OUTPUTS, Argument("kernels", "odd list", (5, 9, 13))), chained(layers.SPP)),
    "SPPF": ModuleRule((OUTPUTS, Argument("kernel", "odd", 5)), chained(layers.SPPF)),
    "Concat": ModuleRule((Argument("dimension", "one", 1),), _concat, many=True),
    "nn.Upsample": ModuleRule(
        (Argument("size", "none"), Argument("scale", "count"), Argument("mode", "mode", "nearest")), _upsample
    ),
    "nn.MaxPool2d": ModuleRule(
        (Argument("kernel", "count"), Argument("stride", "padding", None), Argument("padding", "padding", None)),
        _max_pool,
    ),
    "nn.ZeroPad2d": ModuleRule((Argument("border", "border"),), _zero_pad),
}


def scaled_channels(channels: int, width_multiple: float, max_channels: int | None = None) -> int:
    """min(`channels`, `max_channels`) · `width_multiple`, rounded up to a multiple of 8."""
    limited = channels if max_channels is None else min(channels, max_channels)
    return math.ceil(limited * width_multiple / 8) * 8


def scaled_repeats(repeats: int, depth_multiple: float) -> int:
    """`repeats` · `depth_multiple`, rounded half to even and at least 1. A row without repetition (1) stays so."""
    return max(round(repeats * depth_multiple), 1) if repeats > 1 else repeats
