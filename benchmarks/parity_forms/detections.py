"""d13 and d14: suppression and top-k on given rows, matching and average precision on given detections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parity_forms.comparing import Comparison, arrays_of, compared
from slimyolo.detections import nms, one_to_one
from slimyolo.geometry import RowLayout, xyxy_to_cxcywh

__all__ = ["compare_suppression"]

Arrays = Mapping[str, npt.NDArray[Any]]
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
    """Boxes come as corners there; they go through centre and size here, so the last bits may differ."""
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
