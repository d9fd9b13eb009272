"""Parity (d13: rows, order and values exactly), property (plain loops) and table of cases: detections without NMS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slimyolo.detections import SUPPRESSIONS, Thresholds, find_detections, nms, one_to_one
from slimyolo.detections.one_to_one import best_pairs
from slimyolo.errors import ConfigError, ModelError
from slimyolo.geometry import RowLayout, SuppressionKind, xyxy_to_cxcywh

NMS_SETTINGS: dict[str, dict[str, Any]] = {
    "val": {"conf": 0.001, "iou": 0.7, "multi_label": True},
    "predict": {"conf": 0.25, "iou": 0.7, "multi_label": False},
    "val_agnostic": {"conf": 0.001, "iou": 0.7, "multi_label": True, "agnostic": True},
    "predict_classes": {"conf": 0.25, "iou": 0.7, "multi_label": False, "classes": [0, 2]},
    "predict_max10": {"conf": 0.05, "iou": 0.45, "multi_label": False, "max_det": 10},
}
TOP_K: dict[str, dict[str, Any]] = {
    "max300": {"most": 300},
    "max50": {"most": 50},
    "max50_agnostic": {"most": 50, "agnostic": True},
}


@pytest.fixture
def d13(data_folder: Path, request: pytest.FixtureRequest) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of d13: those of three classes lie here, the others are read where the whole fixture is."""
    path = data_folder / "d13_nms_topk_part.npz"
    if request.node.callspec.params["nc"] != 3:
        path = request.getfixturevalue("shared_folder") / "fixtures" / "d13_nms_topk.npz"
        if not path.is_file():
            pytest.skip("the fixture d13_nms_topk.npz is not here")
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("nc", [1, 3, 80])
@pytest.mark.parametrize("setting", list(NMS_SETTINGS))
def test_nms_of_rows_without_objectness(nc: int, setting: str, d13: dict[str, np.ndarray[Any, Any]]) -> None:
    if f"nc{nc}/{setting}/0" not in d13:
        pytest.skip(f"d13 has no {setting} for {nc} classes")
    decoded = torch.from_numpy(d13[f"nc{nc}/pred"]).transpose(1, 2)
    found = nms(decoded, layout=RowLayout(nc, objectness=False), **NMS_SETTINGS[setting])
    for image, rows in enumerate(found):
        np.testing.assert_array_equal(rows, d13[f"nc{nc}/{setting}/{image}"])


@pytest.mark.parametrize("nc", [1, 3, 80])
@pytest.mark.parametrize("setting", list(TOP_K))
@pytest.mark.parametrize(("kind", "conf"), [("val", 0.001), ("predict", 0.25)])
def test_best_pairs(nc: int, setting: str, kind: str, conf: float, d13: dict[str, np.ndarray[Any, Any]]) -> None:
    decoded = torch.from_numpy(d13[f"topk_nc{nc}/pred_xyxy"]).transpose(1, 2)
    for image, rows in enumerate(decoded):
        index, scores, labels = best_pairs(rows[:, 4:], conf, **TOP_K[setting])
        table = torch.cat((rows[index, :4], scores[:, None], labels[:, None]), 1)
        np.testing.assert_array_equal(table, d13[f"topk_nc{nc}/{setting}/{kind}/{image}"])


@pytest.mark.parametrize("nc", [1, 3, 80])
def test_whole_rows(nc: int, d13: dict[str, np.ndarray[Any, Any]]) -> None:
    """Through centres and sides, as decoded rows are: boxes differ by their rounding."""
    given_rows = torch.from_numpy(d13[f"topk_nc{nc}/pred_xyxy"]).transpose(1, 2)
    layout = RowLayout(nc, objectness=False)
    decoded: Tensor = layout.rows(xyxy_to_cxcywh(given_rows[..., :4]), given_rows[..., 4:])
    for image, rows in enumerate(one_to_one(decoded, 0.001, layout=layout, max_det=50)):
        expected = d13[f"topk_nc{nc}/max50/val/{image}"]
        np.testing.assert_array_equal(rows[:, 4:], expected[:, 4:])
        np.testing.assert_allclose(rows[:, :4], expected[:, :4], atol=1e-4)


def by_loops(scores: np.ndarray[Any, Any], conf: float, most: int, agnostic: bool) -> list[tuple[int, float, int]]:
    """The steps as they are written, with Python's stable sort: (row, score, class)."""
    most = min(most, len(scores))
    chosen = sorted(range(len(scores)), key=lambda row: -scores[row].max())[:most]
    if agnostic:
        pairs = [(row, float(scores[row].max()), int(scores[row].argmax())) for row in chosen]
    else:
        every = [(row, float(scores[row, label]), label) for row in chosen for label in range(scores.shape[1])]
        pairs = sorted(every, key=lambda pair: -pair[1])[:most]
    return [pair for pair in pairs if pair[1] > np.float32(conf)]


@given(
    rows=st.integers(0, 40),
    nc=st.integers(1, 5),
    most=st.integers(1, 50),
    agnostic=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_steps_by_loops(rows: int, nc: int, most: int, agnostic: bool, seed: int) -> None:
    scores = (np.random.default_rng(seed).uniform(0, 1, (rows, nc)) * 10).round().astype(np.float32) / 10  # scores tie
    index, found, labels = best_pairs(torch.from_numpy(scores), 0.25, most, agnostic=agnostic)
    assert list(zip(index.tolist(), found.tolist(), labels.tolist(), strict=True)) == by_loops(
        scores, 0.25, most, agnostic
    )


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ([8, 8, 4, 4, 0.6], 1),
        ([8, 8, 4, 4, 0.25], 0),  # exactly at the threshold
        ([float("nan"), 8, 4, 4, 0.9], 0),
        ([8, 8, float("inf"), 4, 0.9], 0),
        ([8, 8, 4, 4, float("nan")], 0),
        ([8, 8, -4, 4, 0.9], 1),  # sides may be negative: distances are not clamped
    ],
)
def test_one_row(row: list[float], kept: int) -> None:
    (found,) = one_to_one(torch.tensor([[row]]), 0.25, layout=RowLayout(1, objectness=False))
    assert found.shape == (kept, 6)


def test_overlapping_rows_stay() -> None:
    layout = RowLayout(2, objectness=False)
    decoded = torch.tensor([[[8.0, 8, 4, 4, 0.9, 0.3], [8, 8, 4, 4, 0.8, 0.0]]])
    (found,) = one_to_one(decoded, 0.25, layout=layout)
    assert found[:, 4].tolist() == pytest.approx([0.9, 0.8]), "k is 2: there are two rows"
    (third,) = one_to_one(torch.cat((decoded, torch.zeros(1, 1, 6)), 1), 0.25, layout=layout)
    assert third[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.3]), "the first row counts with both classes"
    assert third[:, 5].tolist() == [0, 0, 1]
    (agnostic,) = one_to_one(decoded, 0.25, layout=layout, agnostic=True)
    assert agnostic[:, 5].tolist() == [0, 0]
    (chosen,) = one_to_one(torch.cat((decoded, torch.zeros(1, 1, 6)), 1), 0.25, layout=layout, classes=[1])
    assert chosen[:, 5].tolist() == [1]


@dataclass(frozen=True)
class Says:
    """A model that says how its rows are read."""

    rows: RowLayout
    suppression: SuppressionKind


@pytest.mark.parametrize(("suppression", "kept"), [("nms", 1), ("none", 2)])
def test_the_model_says_which(suppression: SuppressionKind, kept: int) -> None:
    decoded = torch.tensor([[[8.0, 8, 4, 4, 0.9], [8, 8, 4, 4, 0.8]]])
    model = Says(RowLayout(1, objectness=False), suppression)
    (found,) = find_detections(model, decoded, Thresholds(conf=0.25, iou=0.5))
    assert len(found) == kept
    assert set(SUPPRESSIONS) == {"nms", "none"}


@pytest.mark.parametrize(
    ("shape", "changed", "error", "says"),
    [
        ((1, 5, 6), {}, ModelError, r"Expected decoded rows \[B, rows, 4 \+ 3 classes\], which is \[B, rows, 7\]"),
        ((5, 7), {}, ModelError, "got \\[5, 7\\]"),
        ((1, 5, 7), {"conf": 1.5}, ConfigError, "conf must lie in 0–1, got conf=1.5"),
        ((1, 5, 7), {"max_det": 0}, ConfigError, "max_det must be at least 1, got 0"),
    ],
)
def test_messages(shape: tuple[int, ...], changed: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        one_to_one(torch.zeros(shape), **{"conf": 0.25, "layout": RowLayout(3, objectness=False), **changed})
