"""The pictures of a comparison: small JPEGs of the images that changed, and the boxes of both models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimyolo.data import Sample, SplitData, decode_image
from slimyolo.detections import ImageChange
from slimyolo.geometry import Detections, cxcywh_to_xyxy
from slimyolo.inference.picture_grid import jpeg_bytes
from slimyolo.storage import write_bytes, write_text
from slimyolo.tasks.common.comparison.compared_models import SHOWN_SCORE, ComparedModel

__all__ = ["PICTURES_FILE", "write_pictures"]

PICTURES_FILE = "pictures.json"
LONGEST_SIDE = 480


def write_pictures(
    folder: Path, split: SplitData, models: tuple[ComparedModel, ComparedModel], changes: Sequence[ImageChange]
) -> None:
    """Write ``pictures/N.jpg`` and ``pictures.json`` for the images of `changes`. Coordinates are relative to the image.

    Nothing is written when the detections of a model are not known, because its outcomes were read from a run folder.
    """
    if any(model.shown is None for model in models):
        return
    samples = {Path(split.root, change.image).resolve(): change for change in changes}
    of_change = {id(change): sample for sample in split.samples if (change := samples.get(sample.image.resolve()))}
    images = []
    for number, change in enumerate(changes):
        sample = of_change.get(id(change))
        if sample is not None:
            file = f"pictures/{number}.jpg"
            write_bytes(folder / file, jpeg_bytes(decode_image(sample.image), longest_side=LONGEST_SIDE))
            images.append({"file": file, **_boxes(sample, models, change.image)})
    about = {"names": split.names, "shown_score": SHOWN_SCORE, "images": images}
    write_text(folder / PICTURES_FILE, json.dumps(about, ensure_ascii=False) + "\n")


def _boxes(sample: Sample, models: tuple[ComparedModel, ComparedModel], name: str) -> dict[str, Any]:
    height, width = sample.size
    factor = min(LONGEST_SIDE / max(height, width), 1)
    truth = cxcywh_to_xyxy(sample.boxes[:, 1:])
    found = [(model.shown or {}).get(sample.image) for model in models]
    first, second = ([] if one is None else _rows(one, width, height) for one in found)
    return {
        "name": name,
        "width": max(round(width * factor), 1),
        "height": max(round(height * factor), 1),
        "truth": [[int(row[0]), *_rounded(box)] for row, box in zip(sample.boxes, truth, strict=True)],
        "first": first,
        "second": second,
    }


def _rows(found: Detections, width: int, height: int) -> list[list[float]]:
    relative = found.boxes / np.asarray((width, height) * 2, np.float32)
    return [
        [int(number), round(float(score), 3), *_rounded(box)]
        for number, score, box in zip(found.classes, found.scores, relative, strict=True)
    ]


def _rounded(box: Any) -> list[float]:
    return [round(float(value), 5) for value in box]
