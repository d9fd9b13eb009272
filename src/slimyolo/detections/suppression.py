"""Turns decoded rows into detections: by NMS, or by the top-k of one-to-one heads, as the model says.

Validation, prediction, the export check and the local page all use this module, so drawn boxes and metrics agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from slimyolo.detections.nms import nms
from slimyolo.detections.one_to_one import one_to_one
from slimyolo.geometry import RowLayout, SuppressionKind

__all__ = ["SUPPRESSIONS", "GivesRows", "Thresholds", "find_detections"]


class GivesRows(Protocol):
    """A `Detector` or an exported file, as far as it describes its decoded rows.

    `rows` says what the columns mean, and `suppression` whether the rows need NMS.
    """

    @property
    def rows(self) -> RowLayout: ...
    @property
    def suppression(self) -> SuppressionKind: ...


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Which detections are kept.

    `conf` is the minimum score, and `iou` the IoU above which NMS drops the box with the lower score; both are in 0–1.
    `max_det` is the maximum number of detections of an image. With `multi_label` a row counts for every class above `conf`,
    not only for its best class. With `agnostic` boxes of different classes suppress each other. `classes` limits the result
    to these class numbers (None: all).

    A one-to-one head does not use `iou`, and its rows always count for every class unless `agnostic` is true.
    """

    conf: float
    iou: float
    max_det: int = 300
    multi_label: bool = False
    agnostic: bool = False
    classes: Collection[int] | None = None


def find_detections(model: GivesRows, decoded: Tensor, thresholds: Thresholds) -> list[Tensor]:
    """Detections of every image: float32 ``[n, 6]`` = x1, y1, x2, y2, score, class, best score first.

    `decoded` ``[B, rows, columns]`` are the decoded rows that `model` gave; boxes stay in network pixels. Raises
    `ModelError` for a wrong shape, `ConfigError` for a threshold out of range.
    """
    return SUPPRESSIONS[model.suppression](decoded, model.rows, thresholds)


def _by_nms(decoded: Tensor, layout: RowLayout, thresholds: Thresholds) -> list[Tensor]:
    return nms(
        decoded,
        thresholds.conf,
        thresholds.iou,
        layout=layout,
        multi_label=thresholds.multi_label,
        agnostic=thresholds.agnostic,
        max_det=thresholds.max_det,
        classes=thresholds.classes,
    )


def _by_top_k(decoded: Tensor, layout: RowLayout, thresholds: Thresholds) -> list[Tensor]:
    return one_to_one(
        decoded,
        thresholds.conf,
        layout=layout,
        agnostic=thresholds.agnostic,
        max_det=thresholds.max_det,
        classes=thresholds.classes,
    )


SUPPRESSIONS: Mapping[SuppressionKind, Callable[[Tensor, RowLayout, Thresholds], list[Tensor]]] = {
    "nms": _by_nms,
    "none": _by_top_k,
}
"""The function that turns decoded rows into detections, for each `SuppressionKind`."""
