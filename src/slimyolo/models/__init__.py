"""Architectures, their layers, the `Family` value, the `Detector`, and the widths of pruned layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
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

names_on_first_use(
    __name__,
    {
        # Version 0.1 had these two here. They need the families, which this room must not import.
        "slimyolo.families": "parse_architecture read_architecture",
        "slimyolo.models.activations": "DEFAULT_ACTIVATION",
        "slimyolo.models.architecture": "FIRST_FAMILY Anchors Architecture LayerSpec spread_anchors",
        "slimyolo.models.building": "build_detector",
        "slimyolo.models.detector": "Detector batchnorm_names deployed_batchnorms",
        "slimyolo.models.family": (
            "BuiltIn DetectorLoss Families Family Head LossSettings Raw ResponseTerm TrainingBoxes TrainingRecipe "
            "TwoBranches Written map_raw"
        ),
        "slimyolo.models.layers": (
            "C3 SPP SPPF Bottleneck BottleneckCSP C3Ghost Concat Conv DWConv Focus GhostBottleneck GhostConv"
        ),
        "slimyolo.models.memory_order": "image_memory_format",
        "slimyolo.models.module_table": (
            "BLOCKS OUTPUTS Argument Built Incoming Kind ModuleRule chained scaled_channels scaled_repeats staged"
        ),
        "slimyolo.models.widths": "FollowsWidths LayerWidth Widths narrow_ widths_from_plain widths_of widths_to_plain",
    },
)
