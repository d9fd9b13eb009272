"""``val --coco ANNOTATIONS.json``: detections with the numbers of the original COCO file, and their scores against it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimyolo.data import DatasetSpec, SplitData
from slimyolo.data.convert.coco_annotations import CocoAnnotations, boxes_for_file, read_coco_annotations
from slimyolo.data.convert.convert import RECORD_FILE
from slimyolo.detections.coco_scores import CocoFound, CocoObjects, CocoScores, coco_scores
from slimyolo.errors import ConfigError, StorageError
from slimyolo.geometry import Detections
from slimyolo.shown_text import counted
from slimyolo.storage import read_json
from slimyolo.tasks.measure.coco_rows import coco_rows

__all__ = ["FoundInImage", "OriginalNumbers", "original_numbers"]

log = logging.getLogger("slimyolo")

FoundInImage = tuple[Path, tuple[int, int], Detections]
"""A picture, its (height, width), and its detections in source pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OriginalNumbers:
    """The COCO file of a split: the place of each picture in it, and the category number of each class."""

    annotations: CocoAnnotations
    places: dict[Path, int]
    categories: tuple[int, ...]

    def rows(self, found: Sequence[FoundInImage]) -> list[dict[str, Any]]:
        """The detections as COCO wants them. Those of pictures that the file does not have are left out."""
        rows: list[dict[str, Any]] = []
        other: list[Path] = []
        for picture, size, detections in found:
            place = self.places.get(picture)
            if place is None:
                continue
            image = self.annotations.images[place]
            boxes = boxes_for_file(detections.boxes, picture, size, image.size)
            if boxes is None:
                other.append(picture)
                continue
            rows += coco_rows(image.id, boxes, detections, self.categories)
        if other:
            log.warning(
                "pictures of another size than %s states: %d. Their detections are left out. The first: %s",
                self.annotations.file,
                len(other),
                other[0],
            )
        return rows

    def scores(self, rows: Sequence[dict[str, Any]]) -> CocoScores:
        """The scores of these rows, as pycocotools computes them, on the images of the split."""
        known = self.annotations
        place_of = {known.images[place].id: place for place in self.places.values()}
        own = np.isin(known.box_images, sorted(place_of.values()))
        return coco_scores(
            CocoObjects(
                images=known.box_images[own],
                categories=known.box_categories[own],
                boxes=known.boxes[own],
                areas=known.areas[own],
                crowds=known.crowds[own],
            ),
            CocoFound(
                images=np.asarray([place_of[row["image_id"]] for row in rows], np.int64),
                categories=np.asarray([row["category_id"] for row in rows], np.int64),
                boxes=np.asarray([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
                scores=np.asarray([row["score"] for row in rows], np.float64),
            ),
        )


def original_numbers(file: Path, dataset: DatasetSpec, split: SplitData) -> OriginalNumbers:
    """Find the pictures and classes of `split` in the COCO `file`.

    Pictures that `slimyolo data convert` has renamed are found by their old names. Raises `ConfigError` when no picture is in
    the file, when a class is not, or when names fit several images; `DataError` when the file is damaged.
    """
    annotations = read_coco_annotations(file)
    categories = annotations.numbers_of(dataset.names)
    pictures = [sample.image for sample in split.samples]
    places = annotations.places_of(pictures, _old_names(dataset))
    found = {picture: place for picture, place in zip(pictures, places, strict=True) if place is not None}
    if not found:
        raise ConfigError(
            f"--coco: no picture of the {split.name} split is an image of {file}. A picture: {pictures[0].name}; an image of "
            f"the file: {annotations.images[0].names[0] if annotations.images else 'none'}."
        )
    absent = [picture for picture in pictures if picture not in found]
    if absent:
        log.warning(
            "pictures that are not in %s: %d of %d. Their detections are not written. The first: %s",
            file,
            len(absent),
            len(pictures),
            absent[0],
        )
    more = len(annotations.images) - len(found)
    if more:
        log.warning(
            "%s names %s. An evaluation server counts their objects as not found.", file, counted(more, "more image")
        )
    if annotations.has_number_0:
        log.warning(
            "%s numbers an annotation 0. pycocotools takes this object as never found, so its numbers differ a little. Number "
            "the annotations from 1 for equal ones.",
            file,
        )
    return OriginalNumbers(annotations=annotations, places=found, categories=categories)


def _old_names(dataset: DatasetSpec) -> dict[str, str]:
    """The path of each picture that was renamed by a conversion → its path before."""
    try:
        record = read_json(dataset.root / RECORD_FILE)
    except StorageError:
        return {}
    renamed = record.get("renamed") if isinstance(record, dict) else None
    if not isinstance(renamed, dict):
        return {}
    return {str(dataset.root / new): old for new, old in renamed.items() if isinstance(old, str)}
