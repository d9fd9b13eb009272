"""d13 and d14: suppression and top-k on given rows, matching and average precision on given detections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parity_forms.comparing import Comparison, arrays_of, compared
from slimyolo.detections import DetectionMetrics, MetricsAccumulator, fitness, match_detections, nms, one_to_one
from slimyolo.detections.rules import RuleName
from slimyolo.geometry import Detections, RowLayout, xyxy_to_cxcywh

__all__ = ["compare_metrics", "compare_suppression"]

Arrays = Mapping[str, npt.NDArray[Any]]
_METRICS = 1e-6
_AFTER_TOP_K = {"val": 0.001, "predict": 0.25}  # the confidence thresholds of the settings that a fixture names


def compare_suppression(numbers: Mapping[str, Any], arrays: Arrays) -> Iterator[Comparison]:
    """d13: the rows that NMS keeps, their order and values; the best rows of one-to-one heads."""
    for name, about in numbers["cases"].items():
        rows = torch.from_numpy(arrays[f"{name.split('/')[0]}/pred"]).transpose(1, 2)
        found = nms(
            rows,
            about["conf_thres"],
            about["iou_thres"],
            layout=_layout(rows),
            multi_label=about["multi_label"],
            agnostic=about["agnostic"],
            max_det=about["max_det"],
            classes=about.get("classes"),
        )
        for image, ours in enumerate(found):
            yield compared(f"d13/{name}/{image}", ours, arrays[f"{name}/{image}"], 0.0, relative=False)
    for name in arrays:
        if name.endswith("/pred_xyxy"):
            yield from _top_k(f"d13/{name.removesuffix('/pred_xyxy')}", arrays_of(arrays, name.split("/")[0]))


def _top_k(name: str, own: Arrays) -> Iterator[Comparison]:
    """Compare top-k. The fixture has corners, which become centre and size here, so the last bits may differ."""
    corners = torch.from_numpy(own["pred_xyxy"]).transpose(1, 2)
    rows = torch.cat((xyxy_to_cxcywh(corners[..., :4]), corners[..., 4:]), -1)
    layout = _layout(rows)
    for key, wanted in own.items():
        setting, *rest = key.split("/")
        if key == "pred_xyxy":
            continue
        count, *agnostic = setting.removeprefix("max").split("_")
        conf = _AFTER_TOP_K[rest[0]] if rest else 0.0
        found = one_to_one(rows, conf, layout=layout, max_det=int(count), agnostic=bool(agnostic))
        pairs = [(found[int(rest[1])], wanted)] if rest else list(zip(found, wanted, strict=True))
        for image, (ours, theirs) in enumerate(pairs):
            yield from _rows_alike(f"{name}/{key}" + ("" if rest else f"/{image}"), ours, theirs)


def _rows_alike(name: str, ours: Tensor, theirs: npt.NDArray[Any]) -> Iterator[Comparison]:
    if tuple(ours.shape) != theirs.shape:
        yield Comparison(name, float("inf"), 0.0, f"{tuple(ours.shape)} rows, wanted {theirs.shape}")
        return
    yield compared(f"{name}/score and class", ours[:, 4:], theirs[:, 4:], 0.0, relative=False)
    yield compared(f"{name}/boxes", ours[:, :4], theirs[:, :4], 4 * float(np.finfo(np.float32).eps))


def _layout(rows: Tensor) -> RowLayout:
    return RowLayout(rows.shape[2] - 4, objectness=False)


def compare_metrics(folder: Path, numbers: Mapping[str, Any], arrays: Arrays) -> Iterator[Comparison]:
    """d14: matching, precision, recall and average precision by three rules, of every case whose boxes are at hand.

    The boxes of case ``d4`` lie in ``d4_metrics.npz`` beside the fixture.
    """
    for case, about in numbers.items():
        if not isinstance(about, dict):
            continue
        own = arrays_of(arrays, case)
        images = _images(folder, case, own, int(about.get("n_images", 0)))
        if images is None:
            yield Comparison(f"d14/{case}", float("inf"), 0.0, f"{case}_metrics.npz with its boxes is missing")
            continue
        yield from _flags(f"d14/{case}/correct", images, own.get("correct"), "ultralytics")
        yield from _flags(f"d14/{case}/correct_v62_rule", images, own.get("correct_v62_rule"), "yolov5")
        yield from _numbers(f"d14/{case}", images, about)


_Images = list[tuple[Detections, npt.NDArray[Any]]]


def _images(folder: Path, case: str, own: Arrays, count: int) -> _Images | None:
    truth, found = own.get("gt"), own.get("det")
    if truth is None or found is None:
        path = folder / f"{case}_metrics.npz"
        if not path.is_file():
            return None
        with np.load(path) as file:
            truth, found = file["gt"], file["det"]
    count = count or 1 + int(max(truth[:, 0].max(initial=-1), found[:, 0].max(initial=-1)))
    return [
        (Detections.from_rows(found[found[:, 0] == image, 1:], "source"), truth[truth[:, 0] == image, 1:])
        for image in range(count)
    ]


def _flags(name: str, images: _Images, wanted: npt.NDArray[Any] | None, rule: RuleName) -> Iterator[Comparison]:
    if wanted is not None:
        ours = np.concatenate([match_detections(one.boxes, one.classes, truth, rule=rule) for one, truth in images])
        differ = float((ours != wanted).sum()) if ours.shape == wanted.shape else float("inf")
        yield Comparison(name, differ, 0.0)


def _numbers(name: str, images: _Images, about: Mapping[str, Any]) -> Iterator[Comparison]:
    theirs = _measured(images, "ultralytics")
    overall = {
        "mean_precision": theirs.precision,
        "mean_recall": theirs.recall,
        "map50": theirs.map50,
        "map": theirs.map50_95,
        "fitness": fitness(theirs),
    }
    known = [one for one in theirs.per_class if one.labels]
    by_class = {
        "precision": [one.precision for one in known],
        "recall": [one.recall for one in known],
        "ap50": [one.map50 for one in known],
        "ap": [one.map50_95 for one in known],
    }
    for key, value in overall.items():
        if key in about:
            yield compared(f"{name}/{key}", [value], [about[key]], _METRICS, relative=False)
    for key, values in by_class.items():
        if key in about:
            yield compared(f"{name}/{key}", values, about[key], _METRICS, relative=False)
    if "pycocotools" in about:
        coco = _measured(images, "coco")
        wanted = [about["pycocotools"]["AP50"], about["pycocotools"]["AP"]]
        yield compared(f"{name}/pycocotools", [coco.map50, coco.map50_95], wanted, _METRICS, relative=False)
    if "ablation_map50_map" in about:
        older = _measured(images, "yolov5")
        wanted = about["ablation_map50_map"]["old_matching_old_ap"]
        yield compared(f"{name}/older rules", [older.map50, older.map50_95], wanted, _METRICS, relative=False)


def _measured(images: _Images, rule: RuleName) -> DetectionMetrics:
    classes = 1 + max(int(max(truth[:, 0].max(initial=0), one.classes.max(initial=0))) for one, truth in images)
    accumulator = MetricsAccumulator([f"class {number}" for number in range(classes)], rule=rule)
    for detections, truth in images:
        accumulator.update(detections, truth)
    return accumulator.compute()
