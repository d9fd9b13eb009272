"""The twelve numbers of the COCO evaluation, of detections against annotations with crowds and areas.

The rule ``coco`` of `detections.rules` gives the first two of them for label files. Here the annotations are the original
ones, so that the numbers are those of pycocotools (2.0) and of the evaluation server for the same files:

* an object of a crowd is nobody's miss, and a detection that lies in a crowd counts neither as correct nor as wrong;
* the area of an object is the one that the annotations state (in COCO that of its outline, not of its box);
* for the numbers of small, medium and large objects, other objects are treated like crowds, and detections of another size
  that match nothing do not count.

One thing differs: pycocotools takes a detection as wrong when the annotation that it matches has the number 0.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.detections.outcomes import IOU_THRESHOLDS
from slimyolo.detections.ties import best_first

__all__ = ["CocoFound", "CocoObjects", "CocoScores", "coco_scores"]

Array = npt.NDArray[Any]

_MOST = 100  # detections of an image and a category
_AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Square pixels of all, small, medium and large objects; both ends belong to the range."""
_LEVELS = np.minimum(np.asarray(IOU_THRESHOLDS), 1 - 1e-10)
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoObjects:
    """Annotated objects: `images` and `categories` (numbers, ``[m]``), `boxes` ``[m, 4]`` as left, top, width, height in
    pixels, `areas` ``[m]`` in square pixels, and `crowds` ``[m]``."""

    images: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowds: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoFound:
    """Detections: `images` and `categories` (numbers, ``[n]``), `boxes` ``[n, 4]`` as left, top, width, height, `scores`."""

    images: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CocoScores:
    """AP and AR of the COCO evaluation, 0–1; NaN where there is no object to find (pycocotools prints -1).

    `ap` is the mean over IoU 0.50 to 0.95. `ar1`, `ar10` and `ar100` count at most so many detections of an image and a
    category. Small objects have an area below 32², large ones above 96² square pixels.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float

    def lines(self) -> tuple[str, ...]:
        """Two lines to print: AP and AR."""
        words = [f"{field.name.replace('_', ' ')} {_shown(getattr(self, field.name))}" for field in fields(self)]
        return "  ".join(words[:6]), "  ".join(words[6:])


def coco_scores(objects: CocoObjects, found: CocoFound) -> CocoScores:
    """The scores of the detections `found`. Images are numbered in the order in which equal scores are ranked."""
    precision, recall = [], []
    truths, hits = _by_category(objects.categories), _by_category(found.categories)
    for category, own in truths.items():
        tables = _category_tables(objects, own, found, hits.get(category, np.zeros(0, np.int64)))
        precision.append(tables[0])
        recall.append(tables[1])
    if not precision:
        return CocoScores(**dict.fromkeys((field.name for field in fields(CocoScores)), float("nan")))
    ap, ar = np.stack(precision), np.stack(recall)  # [category, area, level], [category, area, most, level]
    return CocoScores(
        ap=_mean(ap[:, 0]),
        ap50=_mean(ap[:, 0, 0]),
        ap75=_mean(ap[:, 0, 5]),
        ap_small=_mean(ap[:, 1]),
        ap_medium=_mean(ap[:, 2]),
        ap_large=_mean(ap[:, 3]),
        ar1=_mean(ar[:, 0, 0]),
        ar10=_mean(ar[:, 0, 1]),
        ar100=_mean(ar[:, 0, 2]),
        ar_small=_mean(ar[:, 1, 2]),
        ar_medium=_mean(ar[:, 2, 2]),
        ar_large=_mean(ar[:, 3, 2]),
    )


def _category_tables(objects: CocoObjects, own: Array, found: CocoFound, hits: Array) -> tuple[Array, Array]:
    """AP ``[area, level]`` and recall ``[area, most, level]`` of one category; NaN where it has no object."""
    objects_of, found_of = _groups(objects.images[own]), _groups(found.images[hits])
    rank, scores, correct, ignored = [], [], [], []
    to_find = np.zeros(len(_AREAS))
    for image in sorted(objects_of.keys() | found_of.keys()):
        truth = own[objects_of.get(image, [])]
        some = hits[found_of.get(image, [])]
        some = some[best_first(found.scores[some])][:_MOST]
        skipped = _skipped(objects.areas[truth], objects.crowds[truth])
        to_find += (~skipped).sum(1)
        right, left_out = _match(objects, truth, skipped, found.boxes[some])
        rank.append(np.arange(len(some)))
        scores.append(found.scores[some])
        correct.append(right)
        ignored.append(left_out)
    order = best_first(np.concatenate(scores))
    places = np.concatenate(rank)[order]
    right = np.concatenate(correct, 2)[:, :, order]
    left_out = np.concatenate(ignored, 2)[:, :, order]
    ap = np.full((len(_AREAS), len(_LEVELS)), np.nan)
    ar = np.full((len(_AREAS), 3, len(_LEVELS)), np.nan)
    for area, count in enumerate(to_find):
        if not count:
            continue
        for level in range(len(_LEVELS)):
            counted = ~left_out[area, level]
            hit = right[area, level] & counted
            ap[area, level] = _average_precision(hit[counted], count)
            ar[area, :, level] = [hit[places < most].sum() / count for most in (1, 10, _MOST)]
    return ap, ar


def _skipped(areas: Array, crowds: Array) -> Array:
    """bool ``[area, m]``: whether an object is not to be found in an area range."""
    low, high = np.asarray(_AREAS).T
    return crowds | (areas < low[:, None]) | (areas > high[:, None])  # type: ignore[no-any-return]


def _match(objects: CocoObjects, truth: Array, skipped: Array, boxes: Array) -> tuple[Array, Array]:
    """bool ``[area, level, n]`` twice: whether a detection is matched, and whether it does not count.

    In order of score, each detection takes the free object that it overlaps most, the last of equal ones. Only if none fits,
    it takes one that is not to be found; a crowd can be taken many times.
    """
    shape = (len(_AREAS), len(_LEVELS), len(boxes))
    matched, left_out = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    crowds = objects.crowds[truth]
    overlaps = _overlaps(boxes, objects.boxes[truth], crowds)
    free = np.ones((*shape[:2], len(truth)), np.bool_)
    for number in np.flatnonzero((overlaps >= _LEVELS[0]).any(1)):
        line = overlaps[number]
        fits = (line >= _LEVELS[:, None]) & (free | crowds)
        wanted = fits & ~skipped[:, None]
        chosen = np.where(wanted.any(2, keepdims=True), wanted, fits)
        overlap = np.where(chosen, line, -1.0)
        target = overlap.shape[2] - 1 - overlap[:, :, ::-1].argmax(2)
        taken = chosen.any(2)
        area, level = np.nonzero(taken)
        free[area, level, target[taken]] = False
        matched[:, :, number] = taken
        left_out[:, :, number] = taken & np.take_along_axis(skipped, target, 1)
    low, high = np.asarray(_AREAS).T
    areas = boxes[:, 2] * boxes[:, 3]
    other = (areas < low[:, None]) | (areas > high[:, None])
    return matched, left_out | (~matched & other[:, None])


def _overlaps(boxes: Array, truth: Array, crowds: Array) -> Array:
    """IoU ``[n, m]``; for a crowd, the share of the detection that lies in it."""
    near = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    far = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], truth[None, :, :2] + truth[None, :, 2:])
    sides = np.maximum(far - near, 0)
    both = sides[..., 0] * sides[..., 1]
    own = (boxes[:, 2] * boxes[:, 3])[:, None]
    union = np.where(crowds, own, own + truth[:, 2] * truth[:, 3] - both)
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)  # type: ignore[no-any-return]


def _average_precision(hits: Array, count: float) -> float:
    """The mean of the precision at 101 recalls, each the best at this recall or above, 0 where it is not reached."""
    correct = np.cumsum(hits, dtype=np.float64)
    precision = correct / (np.arange(1, len(hits) + 1) + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(correct / count, _RECALLS, side="left")
    return float(np.where(place < len(best), best[np.minimum(place, len(best) - 1)], 0.0).mean()) if len(best) else 0.0


def _by_category(categories: Array) -> dict[int, Array]:
    return {number: np.asarray(places) for number, places in _groups(categories).items()}


def _groups(values: Array) -> dict[int, list[int]]:
    """Each value → its places, in order."""
    groups: dict[int, list[int]] = {}
    for place, value in enumerate(values.tolist()):
        groups.setdefault(value, []).append(place)
    return groups


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _shown(value: float) -> str:
    return "—" if value != value else f"{value:.3f}"
