"""Narrow detectors of the anchor-free families that detect something, and pictures labelled with what they detect."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

import slimyolo.families
from slimyolo.detections import Thresholds, find_detections
from slimyolo.families import parse_architecture
from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Detector, build_detector

__all__ = ["NAMES", "SIZE", "labelled_pictures", "speaking_detector", "tiny_yaml"]

NAMES = ("face", "face_mask")
SIZE = 64
ZEROS = 0.3


def tiny_yaml(family: str) -> str:
    """The layer table of `family` with a sixteenth of the channels and two classes."""
    text = (Path(slimyolo.families.__file__).parent / family / f"{family}.yaml").read_text(encoding="utf-8")
    text = re.sub(r"n: \[[^]]*\]", "n: [0.33, 0.0625, 1024]", text, count=1)
    return re.sub(r"^nc: \d+", f"nc: {len(NAMES)}", text, flags=re.M)


def speaking_detector(family: str, zeros: float = ZEROS) -> Detector:
    """A detector with random batch norms, a share `zeros` of their scales at zero, whose scores differ from row to row."""
    detector = build_detector(parse_architecture(tiny_yaml(family), f"tiny_{family}n"), names=NAMES, seed=0).eval()
    numbers = torch.Generator().manual_seed(1)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            scales = 0.5 + torch.rand(module.num_features, generator=numbers)
            scales[torch.rand(module.num_features, generator=numbers) < zeros] = 0.0
            module.weight.data.copy_(scales)
            module.bias.data.normal_(0, 0.3, generator=numbers)
            module.running_mean.normal_(0, 0.1, generator=numbers)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 1.5, generator=numbers)  # type: ignore[union-attr, operator]
    head = head_of(detector)
    for branch in (head.cv3, head.one2one_cv3):
        for stack in branch or ():
            last = list(stack.children())[-1]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            last.weight.data *= 4
            last.bias.data.fill_(-1.0)
    return detector


def labelled_pictures(folder: Path, detector: Detector, count: int = 6) -> Path:
    """The dataset YAML of `count` square pictures, whose truth is what `detector` finds best in each."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        picture = cv2.resize(random.integers(0, 255, (8, 8, 3), dtype=np.uint8), (SIZE, SIZE))
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images = torch.from_numpy(picture[:, :, ::-1].transpose(2, 0, 1).copy())[None].float() / 255
        with torch.no_grad():
            (found,) = find_detections(detector, detector(images), Thresholds(conf=0.001, iou=0.5, max_det=4))
        low, high = found[:, :2].clamp(1, SIZE - 1), found[:, 2:4].clamp(1, SIZE - 1)
        rows = torch.cat((found[:, 5:], (low + high) / 2 / SIZE, (high - low) / SIZE), 1)[(high - low > 2).all(1)]
        lines = [
            " ".join(f"{value:.6f}" if place else f"{value:.0f}" for place, value in enumerate(row)) for row in rows
        ]
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text(f"path: .\ntrain: images\nval: images\nnames: [{', '.join(NAMES)}]\n")
    return folder / "data.yaml"
