"""Architectures, their layers, the `Family` value, the `Detector`, and the widths of pruned layers."""

from __future__ import annotations

import importlib

from slimyolo.models.activations import DEFAULT_ACTIVATION
from slimyolo.models.architecture import FIRST_FAMILY, Anchors, Architecture, LayerSpec, spread_anchors
from slimyolo.models.building import build_detector
from slimyolo.models.detector import Detector, batchnorm_names, deployed_batchnorms
from slimyolo.models.family import (
    BuiltIn,
    DetectorLoss,
    Families,
    Family,
    Head,
    LossSettings,
    Raw,
    ResponseTerm,
    TrainingBoxes,
    TrainingRecipe,
    TwoBranches,
    Written,
    map_raw,
)
from slimyolo.models.layers import (
    C3,
    SPP,
    SPPF,
    Bottleneck,
    BottleneckCSP,
    C3Ghost,
    Concat,
    Conv,
    DWConv,
    Focus,
    GhostBottleneck,
    GhostConv,
)
from slimyolo.models.memory_order import image_memory_format
from slimyolo.models.module_table import (
    BLOCKS,
    OUTPUTS,
    Argument,
    Built,
    Incoming,
    Kind,
    ModuleRule,
    chained,
    scaled_channels,
    scaled_repeats,
    staged,
)
from slimyolo.models.widths import (
    FollowsWidths,
    LayerWidth,
    Widths,
    narrow_,
    widths_from_plain,
    widths_of,
    widths_to_plain,
)

__all__ = [
    "BLOCKS",
    "C3",
    "DEFAULT_ACTIVATION",
    "FIRST_FAMILY",
    "OUTPUTS",
    "SPP",
    "SPPF",
    "Anchors",
    "Architecture",
    "Argument",
    "Bottleneck",
    "BottleneckCSP",
    "Built",
    "BuiltIn",
    "C3Ghost",
    "Concat",
    "Conv",
    "DWConv",
    "Detector",
    "DetectorLoss",
    "Families",
    "Family",
    "Focus",
    "FollowsWidths",
    "GhostBottleneck",
    "GhostConv",
    "Head",
    "Incoming",
    "Kind",
    "LayerSpec",
    "LayerWidth",
    "LossSettings",
    "ModuleRule",
    "Raw",
    "ResponseTerm",
    "TrainingBoxes",
    "TrainingRecipe",
    "TwoBranches",
    "Widths",
    "Written",
    "batchnorm_names",
    "build_detector",
    "chained",
    "deployed_batchnorms",
    "image_memory_format",
    "map_raw",
    "narrow_",
    "scaled_channels",
    "scaled_repeats",
    "spread_anchors",
    "staged",
    "widths_from_plain",
    "widths_of",
    "widths_to_plain",
]

_MOVED = {"parse_architecture": "slimyolo.families", "read_architecture": "slimyolo.families"}
"""Names that version 0.1 had here → where they are now. They need the families, which this room must not import."""


def __getattr__(name: str) -> object:
    """Programs that were written for version 0.1 import these names from here, and go on working."""
    if name in _MOVED:
        moved: object = getattr(importlib.import_module(_MOVED[name]), name)
        return moved
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
