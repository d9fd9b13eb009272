"""A model as the page shows it: name, size, and a function that detects."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slimyolo.inference import ImageArray, PredictedPicture

__all__ = ["ServedModel", "describe_model", "describe_result"]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model. `file_bytes`, `params` and `macs` (at `imgsz`, height and width) are shown beside its detections; None where
    an exported file does not say them.

    `detect` takes a BGR uint8 image ``[h, w, 3]`` and the least confidence.
    """

    name: str
    class_names: tuple[str, ...]
    file_bytes: int
    params: int | None
    macs: int | None
    imgsz: tuple[int, int]
    detect: Callable[[ImageArray, float], PredictedPicture]


def describe_model(model: ServedModel) -> dict[str, Any]:
    """What the page needs to know of a model, JSON-ready. No path: the page has no business with the host's folders."""
    return {
        "name": model.name,
        "classes": list(model.class_names),
        "file_mb": round(model.file_bytes / 1e6, 3),
        "params": model.params,
        "gflops": None if model.macs is None else round(2 * model.macs / 1e9, 4),
        "imgsz": list(model.imgsz),
    }


def describe_result(model: ServedModel, runs: Sequence[PredictedPicture]) -> dict[str, Any]:
    """One model's detections (boxes in source pixels, best first) and the medians of its milliseconds, JSON-ready."""
    detections = runs[-1].detections
    stages = {
        "prepare": [run.times.prepare_ms for run in runs],
        "network": [run.times.network_ms for run in runs],
        "nms": [run.times.nms_ms for run in runs],
    }
    return {
        "model": model.name,
        "ms": {stage: round(statistics.median(times), 2) for stage, times in stages.items()},
        "detections": [
            {
                "box": [round(float(value), 1) for value in box],
                "score": round(float(score), 4),
                "class": int(number),
                "name": model.class_names[int(number)],
            }
            for box, score, number in zip(detections.boxes, detections.scores, detections.classes, strict=True)
        ],
    }
