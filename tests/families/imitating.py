"""Files as the ultralytics package writes them, made from our own detectors.

While a file is written, the modules of a detector get that package's class names (classes that exist only inside the block)
and the attributes that its objects have; so a pruned detector gives the file of a network that another program pruned.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from slimyolo.families.yolo11.blocks import PositionAttention
from slimyolo.families.yolo12.blocks import AreaAttention
from slimyolo.models import SPPF, Concat, Detector

__all__ = ["TASK", "imitate"]

TASK = "ultralytics.nn.tasks.DetectionModel"
_HOMES = {
    "Conv": "conv.Conv",
    "Concat": "conv.Concat",
    "RepConv": "conv.RepConv",
    "PositionAttention": "block.Attention",
    "AreaAttention": "block.AAttn",
    "AreaBlock": "block.ABlock",
    "LargeKernel": "block.RepVGGDW",
    "_Bins": "block.DFL",
    "Detect": "head.Detect",
}


@contextmanager
def _foreign_classes() -> Iterator[Callable[[str], type[nn.Module]]]:
    modules: dict[str, ModuleType] = {}

    def make(dotted: str) -> type[nn.Module]:
        home, _, name = dotted.rpartition(".")
        for part in ("ultralytics", home):
            modules.setdefault(part, ModuleType(part))
        if not hasattr(modules[home], name):
            setattr(modules[home], name, type(name, (nn.Module,), {"__module__": home, "__qualname__": name}))
        sys.modules.update(modules)
        found: type[nn.Module] = getattr(modules[home], name)
        return found

    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "ultralytics"}
    try:
        yield make
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def imitate(
    path: Path,
    detector: Detector,
    *,
    task: str = TASK,
    training: bool = False,
    flat_names: bool = False,
    yaml: Mapping[str, Any] | None = None,
    change: Callable[[nn.Module], None] = lambda model: None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write `detector` as a finished file, or with `training` as one from the middle, in float16.

    `flat_names`: the class names of the first releases. `yaml` replaces keys of the model's ``yaml`` (None drops one).
    `change` is given the model before it is written; `extra` adds keys to the file.
    """
    ours = copy.deepcopy(detector)
    plain = ours.architecture.to_plain()
    rows = [[row[0][0] if len(row[0]) == 1 else row[0], *row[1:]] for row in plain["layers"]]
    for index, layer in enumerate(ours.model):
        layer.i, layer.f, layer.type = index, rows[index][0], type(layer).__name__  # type: ignore[assignment]
    _add_attributes_(ours)
    written = {
        "nc": ours.nc,
        "scales": {
            plain.get("scale") or "n": [plain["depth_multiple"], plain["width_multiple"], plain.get("max_channels")]
        },
        "scale": plain.get("scale", ""),
        "backbone": rows[:10],
        "head": rows[10:],
        "yaml_file": f"{plain['name']}.yaml",
        **ours.family.yaml_keys,
        **(yaml or {}),
    }
    with _foreign_classes() as make:
        model = make(task)()
        model.model = nn.Sequential(*ours.model)
        model.yaml = {key: value for key, value in written.items() if value is not None}  # type: ignore[assignment]
        model.names = dict(enumerate(ours.names))  # type: ignore[assignment]
        model.stride = ours.stride.clone()
        model.nc, model.inplace, model.save = ours.nc, True, [4, 6]  # type: ignore[assignment]
        change(model)
        for module in list(model.modules()):
            name = type(module).__name__
            if type(module).__module__.startswith("slimyolo."):
                home = _HOMES.get(name, f"block.{name}")
                home = "head.v10Detect" if name == "Detect" and ours.family.name == "yolov10" else home
                home = home.rpartition(".")[2] if flat_names else home
                module.__class__ = make(f"ultralytics.nn.modules.{home}")
        model.half()
        content = {
            "epoch": 1 if training else -1,
            "model": None if training else model,
            "ema": model if training else None,
            "version": "8.4.190",
            "train_args": {"model": "yolo.pt", "imgsz": 96},
            "optimizer": None,
            **(extra or {}),
        }
        torch.save(content, path)


def _add_attributes_(detector: Detector) -> None:
    for module in detector.modules():
        own: dict[str, Any] = {}
        if isinstance(module, PositionAttention):
            own = {"num_heads": module.heads, "key_dim": 8, "head_dim": 16}
        elif isinstance(module, AreaAttention):
            own = {"num_heads": module.heads, "area": module.areas}
        elif isinstance(module, SPPF):
            own = {"n": module.pools}
        elif isinstance(module, Concat):
            own = {"d": 1}
        vars(module).update(own)
