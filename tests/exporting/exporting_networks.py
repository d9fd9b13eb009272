"""A detector of two levels that exports quickly and detects something, and the settings to export it with."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from slimyolo.exporting import ExportSettings, Suppression, detector_metadata
from slimyolo.families import parse_architecture
from slimyolo.geometry import RowLayout
from slimyolo.models import Detector, build_detector

SMALL = (
    "{nc: 2, depth_multiple: 1.0, width_multiple: 0.5, anchors: [[8, 8, 12, 20], [16, 16, 30, 24]], "
    "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
    "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
    "[[5, 2], 1, Detect, [nc, anchors]]]}"
)
NAMES = ("face", "masqué")
LAYOUT = RowLayout(len(NAMES), objectness=True)
SUPPRESSION = Suppression(conf=0.25, iou=0.45, max_det=40)


def settings_for(detector: Detector, **values: object) -> ExportSettings:
    """Settings with the metadata that ``slimyolo export`` writes for them."""
    settings = replace(ExportSettings(size=(32, 48)), **values)  # type: ignore[arg-type]
    metadata = replace(
        detector_metadata(detector, settings.size, "0"),
        batch=settings.batch,
        dynamic=settings.dynamic,
        half=settings.half,
        nms=settings.nms,
    )
    layout = "rows" if settings.nms is None else "detections"  # as `export_detector` decides for YOLOv5
    return replace(settings, metadata=metadata).giving(layout, settings.nms)


def vary_batchnorms_(detector: nn.Module) -> None:
    """Change scales, offsets and statistics from their initial values, as a training would."""
    generator = torch.Generator().manual_seed(0)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.2, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=generator)


def _speak_up_(detector: Detector) -> None:
    """Raise the outputs for objectness and classes, so that NMS has boxes to remove."""
    with torch.no_grad():
        for convolution in detector.head.m:
            convolution.weight *= 20  # type: ignore[operator]
            bias = convolution.bias.view(detector.head.na, -1)  # type: ignore[union-attr, operator]
            bias[:, 4] = -0.5
            bias[:, 5:] = 1.0


def make_small_detector() -> Detector:
    detector = build_detector(parse_architecture(SMALL, name="small"), names=NAMES, seed=0).eval()
    vary_batchnorms_(detector)
    _speak_up_(detector)
    return detector
