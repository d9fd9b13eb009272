"""Architectures, layers, the detector and its widths."""

from __future__ import annotations

from slimyolo.models.activations import DEFAULT_ACTIVATION
from slimyolo.models.architecture import Anchors, Architecture, LayerSpec, spread_anchors
from slimyolo.models.building import build_detector
from slimyolo.models.detector import Detector, batchnorm_names, reference_excluded_batchnorms
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
from slimyolo.models.reading import family_names, parse_architecture, read_architecture
from slimyolo.models.widths import LayerWidth, Widths, narrow_, widths_from_plain, widths_of, widths_to_plain

__all__ = [
    "C3",
    "DEFAULT_ACTIVATION",
    "SPP",
    "SPPF",
    "Anchors",
    "Architecture",
    "Bottleneck",
    "BottleneckCSP",
    "C3Ghost",
    "Concat",
    "Conv",
    "DWConv",
    "Detector",
    "Focus",
    "GhostBottleneck",
    "GhostConv",
    "LayerSpec",
    "LayerWidth",
    "Widths",
    "batchnorm_names",
    "build_detector",
    "family_names",
    "narrow_",
    "parse_architecture",
    "read_architecture",
    "reference_excluded_batchnorms",
    "spread_anchors",
    "widths_from_plain",
    "widths_of",
    "widths_to_plain",
]
