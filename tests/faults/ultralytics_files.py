"""Honest checkpoints in the form of ultralytics: YOLOv8, YOLO11 and YOLO26 with a sixteenth of the channels.

The class names, keys and attributes are those of the project's notes on the format; the numbers are drawn from a seed.
`checkpoint(family)` gives a tree for `inert_writer.file_of`, to be spoilt by `hostile_ultralytics` before it is written.
"""

from __future__ import annotations

import math
import random
import struct
from typing import Any

from inert_writer import Call, Stored, Thing

FAMILIES = ("yolov8", "yolo11", "yolo26")
BLOCK, CONV, HEAD = "ultralytics.nn.modules.block", "ultralytics.nn.modules.conv", "ultralytics.nn.modules.head"
NN = "torch.nn.modules"
_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)

_NO_HOOKS = Call("collections.OrderedDict")  # one for all: a file has thousands, and they take most of its time

Row = list[Any]


def _rows8() -> tuple[list[Row], list[Row]]:
    backbone: list[Row] = [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C2f", [128, True]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, "C2f", [256, True]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 6, "C2f", [512, True]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, "C2f", [1024, True]],
        [-1, 1, "SPPF", [1024, 5]],
    ]
    blocks = [["C2f", [512]], ["C2f", [256]], ["C2f", [512]], ["C2f", [1024]]]
    return backbone, _neck(blocks, 3, 9)


def _rows11(*, end2end: bool) -> tuple[list[Row], list[Row]]:
    backbone: list[Row] = [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 2, "C3k2", [256, False, 0.25]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 2, "C3k2", [512, False, 0.25]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 2, "C3k2", [512, True]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 2, "C3k2", [1024, True]],
        [-1, 1, "SPPF", [1024, 5, 3, True] if end2end else [1024, 5]],
        [-1, 2, "C2PSA", [1024]],
    ]
    last = [1024, True, 0.5, True] if end2end else [1024, True]
    blocks = [["C3k2", [512, end2end]], ["C3k2", [256, end2end]], ["C3k2", [512, end2end]], ["C3k2", last]]
    neck = _neck(blocks, 2, 10)
    if end2end:
        neck[-2][1] = 1
    return backbone, neck


def _neck(blocks: list[list[Any]], repeats: int, deepest: int) -> list[Row]:
    first = deepest + 3  # the row of the first block of the neck
    up: Row = [-1, 1, "nn.Upsample", ["None", 2, "nearest"]]
    rows: list[Row] = []
    for number, source in enumerate((6, 4)):
        rows += [list(up), [[-1, source], 1, "Concat", [1]], [-1, repeats, *blocks[number]]]
    for number, (source, width) in enumerate(((first, 256), (deepest, 512)), 2):
        rows += [[-1, 1, "Conv", [width, 3, 2]], [[-1, source], 1, "Concat", [1]], [-1, repeats, *blocks[number]]]
    return [*rows, [[first + 3, first + 6, first + 9], 1, "Detect", ["nc"]]]


def checkpoint(
    family: str, *, nc: int = 2, task: str = "detect", training: bool = False, seed: int = 0
) -> dict[str, Any]:
    """The tree of a finished (or, with `training`, an unfinished) training of a small network of `family`."""
    maker = _Maker(nc, random.Random(seed))
    model = maker.model(family)
    args = {
        "task": task,
        "mode": "train",
        "model": f"{family}.yaml",
        "epochs": 3,
        "imgsz": 96,
        "lr0": 0.01,
        "amp": True,
    }
    model.state["args"] = Thing("ultralytics.utils.IterableSimpleNamespace", dict(args)) if training else dict(args)
    return {
        "date": "2026-10-01T12:00:00",
        "version": "8.4.190",
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        "epoch": 1 if training else -1,
        "best_fitness": 0.25 if training else None,
        "model": None if training else model,
        "ema": model if training else None,
        "updates": 12 if training else None,
        "optimizer": None,
        "train_args": args,
        "train_metrics": {"metrics/mAP50(B)": 0.5},
        "train_results": {"epoch": [1, 2, 3]},
    }


class _Maker:
    """Makes modules; every one keeps its channels in the shapes of its tensors."""

    def __init__(self, nc: int, numbers: random.Random) -> None:
        self.nc, self.depthwise = nc, False
        self._pool = struct.pack("<512e", *(numbers.uniform(0.01, 0.05) for _ in range(512)))

    def model(self, family: str) -> Thing:
        end2end = family == "yolo26"
        backbone, head = _rows8() if family == "yolov8" else _rows11(end2end=end2end)
        self.depthwise = family != "yolov8"
        depth = 0.33 if family == "yolov8" else 0.5
        widths, made = [], []
        width = 3
        for number, (source, repeats, kind, arguments) in enumerate([*backbone, *head]):
            sources = source if isinstance(source, list) else [source]
            inputs = [widths[one] if one >= 0 else (width if one == -1 else widths[number + one]) for one in sources]
            count = max(round(repeats * depth), 1) if repeats > 1 else repeats
            layer, width = self._row(kind, arguments, inputs, count, 1 if end2end else 16)
            layer.state |= {"np": 0, "i": number, "f": source, "type": layer.name}
            widths.append(width)
            made.append(layer)
        yaml: dict[str, Any] = {"nc": self.nc, "scales": {"n": [depth, 0.0625, 1024]}, "scale": ""}
        yaml |= {"end2end": True, "reg_max": 1} if end2end else {}
        yaml |= {"backbone": backbone, "head": head, "ch": 3, "channels": 3, "yaml_file": f"{family}.yaml"}
        saved = sorted({one for layer in made for one in _sources(layer) if one != -1})
        return _module(
            "ultralytics.nn.tasks.DetectionModel",
            {"model": _sequence(made)},
            yaml=yaml,
            save=saved,
            names={number: f"class{number}" for number in range(self.nc)},
            inplace=True,
            stride=_floats((8.0, 16.0, 32.0)),
            nc=self.nc,
            criterion=None,
        )

    def _row(self, kind: str, arguments: list[Any], inputs: list[int], count: int, reg_max: int) -> tuple[Thing, int]:
        if kind == "Concat":
            return _module(f"{CONV}.Concat", d=1), sum(inputs)
        if kind == "nn.Upsample":
            more = {"align_corners": None, "recompute_scale_factor": None}
            layer = _module(
                f"{NN}.upsampling.Upsample", name="Upsample", size=None, scale_factor=2.0, mode="nearest", **more
            )
            return layer, inputs[0]
        if kind == "Detect":
            return self._head(inputs, reg_max), 0
        width = math.ceil(arguments[0] * 0.0625 / 8) * 8
        given = inputs[0]
        made = {
            "Conv": lambda: self.conv(given, width, *arguments[1:]),
            "C2f": lambda: self._split(given, width, count, "C2f", arguments[1:2] == [True], 0.5),
            "C3k2": lambda: self._c3k2(given, width, count, *arguments[1:]),
            "SPPF": lambda: self._sppf(given, width, add=len(arguments) > 2),
            "C2PSA": lambda: self._c2psa(width, count),
        }[kind]()
        return made, width

    def conv(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: bool = True,
        name: str = "Conv",
    ) -> Thing:
        parts = {
            "conv": self.conv2d(inputs, outputs, kernel, stride, groups=groups),
            "bn": self._batchnorm(outputs),
            "act": _module(f"{NN}.activation.SiLU", inplace=True) if act else _module(f"{NN}.linear.Identity"),
        }
        return _module(f"{CONV}.{name}", parts)

    def conv2d(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, bias: bool = False
    ) -> Thing:
        layer = _module(
            f"{NN}.conv.Conv2d",
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=(kernel, kernel),
            stride=(stride, stride),
            padding=(kernel // 2, kernel // 2),
            dilation=(1, 1),
            transposed=False,
            output_padding=(0, 0),
            groups=groups,
            padding_mode="zeros",
            _reversed_padding_repeated_twice=(kernel // 2,) * 4,
        )
        layer.state["_parameters"] = {
            "weight": self._tensor((outputs, inputs // groups, kernel, kernel)),
            "bias": self._tensor((outputs,)) if bias else None,
        }
        return layer

    def _batchnorm(self, width: int) -> Thing:
        layer = _module(
            f"{NN}.batchnorm.BatchNorm2d",
            num_features=width,
            eps=1e-3,
            momentum=0.03,
            affine=True,
            track_running_stats=True,
        )
        layer.state["_parameters"] = {"weight": self._tensor((width,)), "bias": self._tensor((width,))}
        layer.state["_buffers"] = {
            "running_mean": self._tensor((width,)),
            "running_var": self._tensor((width,)),
            "num_batches_tracked": Stored(kind="LongStorage", shape=(), content=struct.pack("<q", 3)),
        }
        return layer

    def _tensor(self, shape: tuple[int, ...]) -> Stored:
        count = math.prod(shape)
        content = (self._pool * (2 * count // len(self._pool) + 1))[: 2 * count]
        return Stored(shape=shape, content=content)

    def _bottleneck(self, width: int, shortcut: bool, share: float, kernels: tuple[int, int] = (3, 3)) -> Thing:
        inner = int(width * share)
        parts = {"cv1": self.conv(width, inner, kernels[0]), "cv2": self.conv(inner, width, kernels[1])}
        return _module(f"{BLOCK}.Bottleneck", parts, add=shortcut)

    def _split(self, inputs: int, outputs: int, count: int, name: str, shortcut: bool, share: float) -> Thing:
        half = int(outputs * share)
        return self._joined(inputs, outputs, half, name, [self._bottleneck(half, shortcut, 1.0) for _ in range(count)])

    def _joined(self, inputs: int, outputs: int, half: int, name: str, inner: list[Thing]) -> Thing:
        parts = {
            "cv1": self.conv(inputs, 2 * half),
            "cv2": self.conv((2 + len(inner)) * half, outputs),
            "m": _module(f"{NN}.container.ModuleList", {str(n): one for n, one in enumerate(inner)}),
        }
        return _module(f"{BLOCK}.{name}", parts, c=half)

    def _c3k2(
        self, inputs: int, outputs: int, count: int, c3k: bool = False, share: float = 0.5, attn: bool = False
    ) -> Thing:
        half = int(outputs * share)

        def inner() -> Thing:
            if attn:
                return _sequence([self._bottleneck(half, True, 0.5), self._psa_block(half)])
            return self._c3k(half) if c3k else self._bottleneck(half, True, 0.5)

        return self._joined(inputs, outputs, half, "C3k2", [inner() for _ in range(count)])

    def _c3k(self, width: int) -> Thing:
        half = int(width / 2)
        parts = {
            "cv1": self.conv(width, half),
            "cv2": self.conv(width, half),
            "cv3": self.conv(2 * half, width),
            "m": _sequence([self._bottleneck(half, True, 1.0) for _ in range(2)]),
        }
        return _module(f"{BLOCK}.C3k", parts)

    def _psa_block(self, width: int) -> Thing:
        heads = max(width // 64, 1)
        depth = width // heads
        key = int(depth / 2)
        attention = _module(
            f"{BLOCK}.Attention",
            {
                "qkv": self.conv(width, width + 2 * key * heads, act=False),
                "proj": self.conv(width, width, act=False),
                "pe": self.conv(width, width, 3, groups=width, act=False),
            },
            num_heads=heads,
            head_dim=depth,
            key_dim=key,
            scale=key**-0.5,
        )
        ffn = _sequence([self.conv(width, 2 * width), self.conv(2 * width, width, act=False)])
        return _module(f"{BLOCK}.PSABlock", {"attn": attention, "ffn": ffn}, add=True)

    def _c2psa(self, width: int, count: int) -> Thing:
        half = width // 2
        parts = {
            "cv1": self.conv(width, 2 * half),
            "cv2": self.conv(2 * half, width),
            "m": _sequence([self._psa_block(half) for _ in range(count)]),
        }
        return _module(f"{BLOCK}.C2PSA", parts, c=half)

    def _sppf(self, inputs: int, outputs: int, *, add: bool) -> Thing:
        half = inputs // 2
        pool = _module(
            f"{NN}.pooling.MaxPool2d",
            kernel_size=5,
            stride=1,
            padding=2,
            dilation=1,
            return_indices=False,
            ceil_mode=False,
        )
        parts = {"cv1": self.conv(inputs, half, act=not add), "cv2": self.conv(4 * half, outputs), "m": pool}
        return _module(f"{BLOCK}.SPPF", parts, n=3, add=add)

    def _head(self, inputs: list[int], reg_max: int) -> Thing:
        box, score = max(16, inputs[0] // 4, 4 * reg_max), max(inputs[0], min(self.nc, 100))
        branches = {
            "cv2": [self._box(one, box, reg_max) for one in inputs],
            "cv3": [self._score(one, score) for one in inputs],
        }
        parts = {name: _module(f"{NN}.container.ModuleList", _numbered(layers)) for name, layers in branches.items()}
        if reg_max > 1:
            fixed = self.conv2d(reg_max, 1)
            fixed.state["_parameters"]["weight"] = Stored(
                shape=(1, reg_max, 1, 1), content=struct.pack(f"<{reg_max}e", *range(reg_max))
            )
            parts["dfl"] = _module(f"{BLOCK}.DFL", {"conv": fixed}, c1=reg_max)
        else:
            parts["dfl"] = _module(f"{NN}.linear.Identity")
            parts["one2one_cv2"] = _list([self._box(one, box, reg_max) for one in inputs])
            parts["one2one_cv3"] = _list([self._score(one, score) for one in inputs])
        return _module(
            f"{HEAD}.Detect",
            parts,
            nc=self.nc,
            nl=len(inputs),
            reg_max=reg_max,
            no=self.nc + 4 * reg_max,
            stride=_floats((8.0, 16.0, 32.0)),
            inplace=True,
            max_det=300,
        )

    def _box(self, inputs: int, width: int, reg_max: int) -> Thing:
        last = self.conv2d(width, 4 * reg_max, bias=True)
        return _sequence([self.conv(inputs, width, 3), self.conv(width, width, 3), last])

    def _score(self, inputs: int, width: int) -> Thing:
        last = self.conv2d(width, self.nc, bias=True)
        if not self.depthwise:
            return _sequence([self.conv(inputs, width, 3), self.conv(width, width, 3), last])
        first = _sequence([self.conv(inputs, inputs, 3, groups=inputs, name="DWConv"), self.conv(inputs, width)])
        second = _sequence([self.conv(width, width, 3, groups=width, name="DWConv"), self.conv(width, width)])
        return _sequence([first, second, last])


def _module(class_name: str, modules: dict[str, Thing] | None = None, /, **attributes: Any) -> Thing:
    """A torch module as its pickle holds it."""
    state: dict[str, Any] = {"training": False, "_parameters": {}, "_buffers": {}}
    state["_non_persistent_buffers_set"] = Call("__builtin__.set", ([],))
    state |= dict.fromkeys(_HOOKS, _NO_HOOKS)
    return Thing(class_name, state | {"_is_full_backward_hook": None, "_modules": dict(modules or {})} | attributes)


def _numbered(layers: list[Thing]) -> dict[str, Thing]:
    return {str(number): layer for number, layer in enumerate(layers)}


def _sequence(layers: list[Thing]) -> Thing:
    return _module(f"{NN}.container.Sequential", _numbered(layers))


def _list(layers: list[Thing]) -> Thing:
    return _module(f"{NN}.container.ModuleList", _numbered(layers))


def _floats(values: tuple[float, ...]) -> Stored:
    return Stored(kind="FloatStorage", shape=(len(values),), content=struct.pack(f"<{len(values)}f", *values))


def _sources(layer: Thing) -> list[int]:
    source = layer.state["f"]
    return list(source) if isinstance(source, list) else [source]
