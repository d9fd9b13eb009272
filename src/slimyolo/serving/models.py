"""A model as the page shows it: its name, its size and a function that detects."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slimyolo.inference import ImageArray, PredictedPicture

__all__ = ["ServedModel", "describe_model", "describe_result"]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model of the page.

    `runtime` is the program that runs it, such as ``onnxruntime``; milliseconds of two runtimes are not only the models'.
    `imgsz` is (height, width) of the input in pixels; `macs` are counted at that size. `params` and `macs` are None when
    an exported file does not state them. `detect` takes a BGR uint8 image ``[h, w, 3]`` and the minimum confidence.
    """

    name: str
    runtime: str
    class_names: tuple[str, ...]
    file_bytes: int
    params: int | None
    macs: int | None
    imgsz: tuple[int, int]
    detect: Callable[[ImageArray, float], PredictedPicture]


def describe_model(model: ServedModel) -> dict[str, Any]:
    """What the page shows about a model, as plain values for JSON. Paths are left out: the page must not reveal them."""
    return {
        "name": model.name,
        "runtime": model.runtime,
        "classes": list(model.class_names),
        "file_mb": round(model.file_bytes / 1e6, 3),
        "params": model.params,
        "gflops": None if model.macs is None else round(2 * model.macs / 1e9, 4),
        "imgsz": list(model.imgsz),
    }


def describe_result(model: ServedModel, runs: Sequence[PredictedPicture]) -> dict[str, Any]:
    """The detections of one model and the medians of its milliseconds over `runs`, as plain values for JSON.

    Boxes are (x1, y1, x2, y2) in pixels of the uploaded picture, sorted by descending score.
    """
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
