"""The modules an architecture may name: their arguments, and how each is made from channel counts. A table.

To add a module: write its class in `layers.py`, and a row in `MODULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from slimyolo.errors import ModelError, nearest_name_hint
from slimyolo.models import layers
from slimyolo.models.architecture import LayerSpec

__all__ = ["DETECT", "MODULES", "Argument", "Built", "Incoming", "ModuleRule", "bind_arguments", "rule_of"]

DETECT = "Detect"
_REQUIRED = object()
_MOST_CHANNELS = 65_536


@dataclass(frozen=True)
class Argument:
    """One argument of a row: its name, the kind of value it takes (a key of `_KINDS`), and its default."""

    name: str
    kind: str
    default: Any = _REQUIRED


@dataclass(frozen=True)
class Incoming:
    """What comes into a layer: per source its channels and its stride (input pixels per cell), and the repeats."""

    channels: tuple[int, ...]
    strides: tuple[Fraction, ...]
    repeats: int


@dataclass(frozen=True)
class Built:
    """A made layer, its output channels and its output stride (input pixels per cell)."""

    module: nn.Module
    outputs: int
    stride: Fraction


@dataclass(frozen=True)
class ModuleRule:
    """Arguments of a module and the function that makes it. `many` sources are allowed only where said."""

    arguments: tuple[Argument, ...]
    make: Callable[[Incoming, Mapping[str, Any]], Built]
    many: bool = False

    @property
    def signature(self) -> str:
        """The arguments as a person would write them: `outputs, kernel=1`."""
        return ", ".join(
            item.name if item.default is _REQUIRED else f"{item.name}={item.default}" for item in self.arguments
        )


def rule_of(name: str, row: LayerSpec) -> ModuleRule:
    """The table's row for the module named by `row` of `name`. Raises `ModelError` with the nearest name."""
    rule = MODULES.get(row.module)
    if rule is None:
        raise ModelError(
            f"{name}, {row.where}: unknown module {row.module!r}.{nearest_name_hint(row.module, MODULES)} "
            f"Known modules: {', '.join(MODULES)}."
        )
    return rule


def bind_arguments(name: str, row: LayerSpec) -> dict[str, Any]:
    """The arguments of `row` by name, checked for number and kind, defaults filled in. Raises `ModelError`."""
    rule = rule_of(name, row)
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
        read, expectation = _KINDS[item.kind]
        value = read(_word(given))
        if value is _REQUIRED:
            raise ModelError(f"{name}, {row.where}: {row.module}'s {item.name} should be {expectation}, got {given!r}.")
        values[item.name] = value
    return values


def _word(value: Any) -> Any:
    """YAML keeps `None`, `True` and `False` in quotes as text; they are meant as Python's words."""
    return {"None": None, "True": True, "False": False}.get(value, value) if isinstance(value, str) else value


def _accept(test: Callable[[Any], bool]) -> Callable[[Any], Any]:
    return lambda value: value if test(value) else _REQUIRED


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _odd(value: Any) -> bool:
    return _whole(1, 1024)(value) and value % 2 == 1


_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "channels": (_accept(_whole(1, _MOST_CHANNELS)), f"a whole number from 1 to {_MOST_CHANNELS}"),
    "count": (_accept(_whole(1, 1024)), "a whole number from 1 to 1024"),
    "odd": (_accept(_odd), "an odd whole number"),
    "padding": (_accept(lambda value: value is None or _whole(0, 1024)(value)), "a whole number from 0, or None"),
    "flag": (_accept(lambda value: type(value) is bool), "True or False"),
    "share": (_accept(lambda value: type(value) in (int, float) and 0 < value <= 16), "a number above 0"),
    "odd list": (
        _accept(lambda value: isinstance(value, tuple) and len(value) > 0 and all(map(_odd, value))),
        "a list of odd whole numbers",
    ),
    "border": (
        _accept(lambda value: isinstance(value, tuple) and len(value) == 4 and all(map(_whole(0, 1024), value))),
        "[left, right, top, bottom]",
    ),
    "none": (_accept(lambda value: value is None), "None"),
    "one": (_accept(lambda value: type(value) is int and value == 1), "1 (the channels)"),
    "mode": (_accept(lambda value: value in ("nearest", "bilinear")), "'nearest' or 'bilinear'"),
    "classes": (_accept(lambda value: value == "nc" or _whole(1, 100_000)(value)), "nc"),
    "anchors": (_accept(lambda value: value == "anchors"), "anchors"),
}  # fmt: skip


def _convolution(cls: type[nn.Module], reduction: int = 1) -> Callable[[Incoming, Mapping[str, Any]], Built]:
    """Rows whose repeats stand one after another; each but the first keeps the channels."""

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


def _stage(cls: type[nn.Module]) -> Callable[[Incoming, Mapping[str, Any]], Built]:
    """Rows whose repeats are inside the block."""

    def make(incoming: Incoming, values: Mapping[str, Any]) -> Built:
        rest = {key: value for key, value in values.items() if key != "outputs"}
        module = cls(incoming.channels[0], values["outputs"], repeats=incoming.repeats, **rest)
        return Built(module, values["outputs"], incoming.strides[0])

    return make


def _concat(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    if len(set(incoming.strides)) != 1:
        raise ModelError(
            f"Concat joins maps of one size, but its sources have {', '.join(map(str, incoming.strides))} "
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


def _never(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    raise AssertionError("the builder makes the head itself")


_OUTPUTS = Argument("outputs", "channels")
_KERNEL = Argument("kernel", "count", 1)
_STRIDE = Argument("stride", "count", 1)
_GROUPS = Argument("groups", "count", 1)
_ACTIVATION = Argument("activation", "flag", True)
_SHORTCUT = (Argument("shortcut", "flag", True), _GROUPS, Argument("expansion", "share", 0.5))
_CONV = (_OUTPUTS, _KERNEL, _STRIDE, Argument("padding", "padding", None), _GROUPS, _ACTIVATION)

MODULES: dict[str, ModuleRule] = {
    "Conv": ModuleRule(_CONV, _convolution(layers.Conv)),
    "DWConv": ModuleRule((_OUTPUTS, _KERNEL, _STRIDE, _ACTIVATION), _convolution(layers.DWConv)),
    "Focus": ModuleRule(_CONV, _convolution(layers.Focus, reduction=2)),
    "GhostConv": ModuleRule((_OUTPUTS, _KERNEL, _STRIDE, _GROUPS, _ACTIVATION), _convolution(layers.GhostConv)),
    "GhostBottleneck": ModuleRule(
        (_OUTPUTS, Argument("kernel", "odd", 3), _STRIDE), _convolution(layers.GhostBottleneck)
    ),
    "Bottleneck": ModuleRule((_OUTPUTS, *_SHORTCUT), _convolution(layers.Bottleneck)),
    "C3": ModuleRule((_OUTPUTS, *_SHORTCUT), _stage(layers.C3)),
    "C3Ghost": ModuleRule((_OUTPUTS, *_SHORTCUT), _stage(layers.C3Ghost)),
    "BottleneckCSP": ModuleRule((_OUTPUTS, *_SHORTCUT), _stage(layers.BottleneckCSP)),
    "SPP": ModuleRule((_OUTPUTS, Argument("kernels", "odd list", (5, 9, 13))), _convolution(layers.SPP)),
    "SPPF": ModuleRule((_OUTPUTS, Argument("kernel", "odd", 5)), _convolution(layers.SPPF)),
    "Concat": ModuleRule((Argument("dimension", "one", 1),), _concat, many=True),
    "nn.Upsample": ModuleRule(
        (Argument("size", "none"), Argument("scale", "count"), Argument("mode", "mode", "nearest")), _upsample
    ),
    "nn.MaxPool2d": ModuleRule(
        (Argument("kernel", "count"), Argument("stride", "padding", None), Argument("padding", "padding", None)),
        _max_pool,
    ),
    "nn.ZeroPad2d": ModuleRule((Argument("border", "border"),), _zero_pad),
    DETECT: ModuleRule((Argument("nc", "classes"), Argument("anchors", "anchors")), _never, many=True),
}


def scaled_channels(channels: int, width_multiple: float) -> int:
    """`channels` × `width_multiple`, rounded up to a multiple of 8."""
    return math.ceil(channels * width_multiple / 8) * 8


def scaled_repeats(repeats: int, depth_multiple: float) -> int:
    """`repeats` × `depth_multiple`, rounded half to even, at least 1; a single one stays single."""
    return max(round(repeats * depth_multiple), 1) if repeats > 1 else repeats
