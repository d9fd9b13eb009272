"""d10 and d11: compares the layers of the built-in architectures, and the outputs of their heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from parity_forms.comparing import (
    Comparison,
    arrays_of,
    built,
    compared,
    filled_,
    image_as_told,
    same,
    split_branches,
)
from slimyolo.costs import model_cost
from slimyolo.detections import one_to_one
from slimyolo.families.yolov8.outputs import flat_levels
from slimyolo.models import Detector

__all__ = ["compare_architectures", "compare_heads", "heads_against"]

Arrays = Mapping[str, npt.NDArray[Any]]
_RAW = 1e-4
_NOISE = 5.0  # decoded rows may differ by this many times the rounding error of float32


def compare_architectures(table: Mapping[str, Any]) -> Iterator[Comparison]:
    """Compare d10: keys and shapes in order, parameters, buffers, convolutions, strides, multiply-accumulates."""
    for key, about in table.items():
        if "|" not in key:
            continue
        name, nc = key.split("|")
        detector = built(name, int(nc))
        state = [[entry, list(value.shape)] for entry, value in detector.state_dict().items()]
        wanted = _state(about, table.get(f"{name}|80"))
        yield _first_difference(f"d10/{key}/state", state, wanted)
        found = {
            "params": sum(value.numel() for value in detector.parameters()),
            "buffers": _buffers(detector),
            "n_conv2d": sum(isinstance(module, nn.Conv2d) for module in detector.modules()),
            "n_batchnorm": sum(isinstance(module, nn.BatchNorm2d) for module in detector.modules()),
            "bn_channels": sum(m.num_features for m in detector.modules() if isinstance(m, nn.BatchNorm2d)),
            "stride": [int(value) for value in detector.stride.tolist()],
        }
        for item, value in found.items():
            if item in about:
                yield same(f"d10/{key}/{item}", value, about[item])
        if "macs_conv_640" in about:
            cost = model_cost(detector, 640, forward=detector.heads)
            macs = about["macs_conv_640"] + about.get("macs_attention_matmul_640", 0)
            yield same(f"d10/{key}/macs", cost.macs, macs)


def _state(about: Mapping[str, Any], general: Mapping[str, Any] | None) -> list[list[Any]]:
    """The keys and shapes of an entry. It may state only how it differs from the entry for 80 classes."""
    if "state" in about:
        return [list(row) for row in about["state"]]
    changed = {row[0]: row[1] for row in about.get("state_differs_from_nc80", ())}
    return [[key, changed.get(key, shape)] for key, shape in (general or {}).get("state", ())]


def _buffers(detector: Detector) -> int:
    """The count of numbers in those buffers that are part of the state; other buffers may differ."""
    parameters = {key for key, _ in detector.named_parameters()}
    return sum(value.numel() for key, value in detector.state_dict().items() if key not in parameters)


def _first_difference(name: str, found: list[list[Any]], wanted: list[list[Any]]) -> Comparison:
    wrong = [(ours, theirs) for ours, theirs in zip(found, wanted, strict=False) if ours != theirs]
    count = len(wrong) + abs(len(found) - len(wanted))
    note = f"{len(found)} entries, wanted {len(wanted)}; first difference: {wrong[:1]}" if count else ""
    return Comparison(name, float(count), 0.0, note)


def compare_heads(numbers: Mapping[str, Any], arrays: Arrays) -> Iterator[Comparison]:
    """Compare d11: raw outputs of each branch, decoded rows and the best rows, for every image, with weights by rule."""
    pictures = {}
    for key, about in numbers.items():
        if key.startswith("input_"):
            letter = key.removeprefix("input_")
            pictures[letter], checks = image_as_told(f"d11/{key}", about)
            yield from checks
    for name, about in numbers["models"].items():
        own = arrays_of(arrays, name)
        detector = built(name, numbers["nc"])
        filled_(detector, int(numbers["seed"]), own)
        for letter, picture in pictures.items():
            wanted = arrays_of(own, letter)
            if wanted:
                noise = about.get("noise", {}).get(letter, {})
                yield from heads_against(f"d11/{name}/{letter}", detector, picture, wanted, noise)


def heads_against(
    name: str, detector: Detector, picture: Tensor, wanted: Arrays, noise: Mapping[str, float] | None = None
) -> Iterator[Comparison]:
    """Compare the raw outputs, decoded rows and best rows of `detector` for `picture` with the `wanted` arrays.

    `noise` holds the rounding errors of float32. Without it, decoded rows may differ by 1e-4 of their largest value.
    """
    detector.eval()
    with torch.no_grad():
        raw = detector.heads(picture)
    branches = split_branches(raw)
    for branch, levels in branches.items():
        flat = flat_levels(levels).transpose(1, 2)
        boxes = flat.shape[1] - detector.nc
        for kind, values in (("boxes", flat[:, :boxes]), ("scores", flat[:, boxes:])):
            for key in (f"{branch}/{kind}", *([kind] if branch == "one2many" else [])):
                if key in wanted:
                    yield compared(f"{name}/{key}", _thinned(values, wanted[key]), wanted[key], _RAW)
    if "decoded" in wanted:
        rows = detector.head.decode(branches["one2many"]).transpose(1, 2)
        yield from _decoded(f"{name}/decoded", rows, wanted["decoded"], noise or {})
    for key, value in wanted.items():
        if key.startswith("topk_"):
            yield _best_rows(f"{name}/{key}", detector, branches["one2one"], key, value, noise or {})


def _thinned(values: Tensor, wanted: npt.NDArray[Any]) -> Tensor:
    """Every n-th position of `values`, where a fixture keeps only these for a large image."""
    step = -(-values.shape[2] // wanted.shape[2])
    return values[:, :, ::step]


def _decoded(name: str, rows: Tensor, wanted: npt.NDArray[Any], noise: Mapping[str, float]) -> Iterator[Comparison]:
    pixels = max(noise.get("decoded_xywh_fp32_vs_fp64", 0.0), noise.get("decoded_fused_vs_unfused", 0.0)) * _NOISE
    scores = noise.get("scores_fp32_vs_fp64", 0.0) * _NOISE
    for kind, part, tolerance in (("boxes", slice(0, 4), pixels), ("scores", slice(4, None), scores)):
        found, goal = rows[:, part], wanted[:, part]
        allowed = max(tolerance, _RAW * float(np.abs(goal).max()))
        yield compared(f"{name}/{kind}", found, goal, allowed, relative=False)


def _best_rows(
    name: str, detector: Detector, one2one: list[Tensor], key: str, wanted: npt.NDArray[Any], noise: Mapping[str, float]
) -> Comparison:
    """Compare top-k rows; the difference is in units of the tolerance.

    Scores are compared place by place, and each row with the nearest row of the other result. Nearly equal scores may be in
    another order, and rows with nearly the score of the last row may be missing.
    """
    _, count, *rest = key.split("_")
    found = one_to_one(
        detector.head.decode(one2one), 0.0, layout=detector.rows, max_det=int(count), agnostic=rest == ["agnostic"]
    )
    pixels = max(noise.get("decoded_xywh_fp32_vs_fp64", 0.0) * _NOISE, _RAW * float(np.abs(wanted[..., :4]).max()))
    scores = max(noise.get("scores_fp32_vs_fp64", 0.0) * _NOISE, _RAW * float(wanted[..., 4].max()))
    worst = 0.0
    for ours, theirs in zip(found, torch.from_numpy(wanted), strict=True):
        if ours.shape != theirs.shape:
            return Comparison(name, float("inf"), 1.0, f"{len(ours)} rows, wanted {len(theirs)}")
        if len(ours) > 1 and float(ours[:, 4].diff().max()) > 0:
            return Comparison(name, float("inf"), 1.0, "the scores are not in descending order")
        worst = max(worst, float((ours[:, 4] - theirs[:, 4]).abs().max()) / scores if len(ours) else 0.0)
        apart = (ours[:, None] - theirs[None]).abs()
        apart = torch.cat((apart[..., :4] / pixels, apart[..., 4:5] / scores, apart[..., 5:] * 1e9), -1).amax(-1)
        for rows, nearest in ((theirs, apart.amin(0)), (ours, apart.amin(1))):
            nearest = nearest[rows[:, 4] > theirs[:, 4].min() + 2 * scores]
            worst = max(worst, float(nearest.max()) if len(nearest) else 0.0)
    return Comparison(name, worst, 1.0, "in units of the tolerance")
