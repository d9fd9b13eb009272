"""Parity: fixture d11, raw outputs and decoded rows of 18 filled networks; and a table of cases on the head's errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rule_filled import fill_by_rule_, image_by_rule, values_by_rule
from torch import Tensor, nn

from slimyolo.detections import one_to_one
from slimyolo.errors import ModelError
from slimyolo.families import read_architecture
from slimyolo.families.yolov8.head import Detect, head_of
from slimyolo.models import Detector, TwoBranches, build_detector

BASE = ("yolov8n", "yolov5nu", "yolo11n", "yolo12n", "yolo26n", "yolov10n", "yolov9t")
OTHERS = ("yolov8n-p2", "yolov8n-p6", "yolov5n6u", "yolo26n-p2", "yolo26n-p6", "yolov10s")
LARGE = ("yolo11m", "yolo12l", "yolo26m", "yolov10b", "yolov9e")
SMALL = ("yolov8n", "yolo26n")  # what is kept in tests/data


@cache
def facts(folder: Path, stem: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    return json.loads((folder / f"{stem}.json").read_text()), np.load(folder / f"{stem}.npz")


@cache
def filled(name: str, folder: Path, stem: str) -> Detector:
    about, arrays = facts(folder, stem)
    detector = build_detector(read_architecture(name).with_classes(about["nc"]), seed=0).eval()
    fill_by_rule_(detector, {kind: arrays[f"{name}/{kind}"] for kind in ("running_mean", "running_var")})
    return detector


def image_of(about: Mapping[str, Any]) -> Tensor:
    image = image_by_rule(about["seed"], tuple(about["shape"]))
    assert hashlib.sha256(image.numpy().tobytes()).hexdigest()[:16] == about["sha256_16"]
    return image


def largest_difference(got: Tensor, expected: Any) -> float:
    """As a share of the largest absolute value expected."""
    return float((got - torch.from_numpy(expected)).abs().max() / np.abs(expected).max())


def compare(name: str, given: str, folder: Path, stem: str) -> None:
    about, arrays = facts(folder, stem)
    detector = filled(name, folder, stem)
    sides = 4 * head_of(detector).reg_max
    with torch.no_grad():
        raw = detector.heads(image_of(about[f"input_{given}"]))
    assert isinstance(raw, TwoBranches) == about["models"][name]["two_branches"]
    branches = raw._asdict() if isinstance(raw, TwoBranches) else {"one2many": raw}
    for branch, levels in branches.items():
        flat = torch.cat([level.flatten(2) for level in levels], 2)
        for kind, part in (("boxes", flat[:, :sides]), ("scores", flat[:, sides:])):
            expected = f"{name}/{given}/{branch}/{kind}"
            if stem == "d11_heads" or expected in arrays:
                assert largest_difference(part, arrays[expected]) < 1e-4, expected
    rows = detector.decode(branches["one2many"]).transpose(1, 2)
    noise = 5 * about["models"][name]["noise"][given]["decoded_xywh_fp32_vs_fp64"]
    expected_rows = torch.from_numpy(arrays[f"{name}/{given}/decoded"])
    assert (rows[:, :4] - expected_rows[:, :4]).abs().max() < max(noise, 1e-4 * float(expected_rows.max()))
    assert (rows[:, 4:] - expected_rows[:, 4:]).abs().max() < 1e-3
    assert detector.rows.fits(tuple(rows.transpose(1, 2).shape))


@pytest.mark.parametrize("name", SMALL)
def test_two_networks_answer_as_the_fixture_says(name: str, data_folder: Path) -> None:
    compare(name, "a", data_folder, "d11_heads_small")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *((name, "a") for name in BASE),
        *(pytest.param(name, "b", marks=pytest.mark.slow) for name in BASE),
        *((name, "c") for name in OTHERS),
        *(pytest.param(name, "c", marks=pytest.mark.slow) for name in LARGE),
    ],
)
def test_raw_outputs_and_rows_of_the_whole_fixture(name: str, given: str, shared_folder: Path) -> None:
    compare(name, given, shared_folder / "fixtures", "d11_heads")


@pytest.mark.parametrize("name", ["yolo26n", "yolov10n"])
@pytest.mark.parametrize(("most", "agnostic"), [(300, False), (20, False), (20, True)])
def test_best_rows_of_the_one_to_one_branch(name: str, most: int, agnostic: bool, shared_folder: Path) -> None:
    about, arrays = facts(shared_folder / "fixtures", "d11_heads")
    detector = filled(name, shared_folder / "fixtures", "d11_heads")
    with torch.no_grad():
        rows = detector(image_of(about["input_b"]))
    for image, found in enumerate(one_to_one(rows, 0.0, layout=detector.rows, max_det=most, agnostic=agnostic)):
        expected = torch.from_numpy(arrays[f"{name}/b/topk_{most}{'_agnostic' if agnostic else ''}"][image])
        assert torch.allclose(found[:, 4], expected[:, 4], atol=1e-4)
        if name == "yolov10n":
            continue  # its filled weights give many scores of 1.0, whose rows may change places
        same = found[:, 5] == expected[:, 5]
        assert same.float().mean() > 0.98
        assert torch.allclose(found[same, :4], expected[same, :4], atol=0.15)


@pytest.mark.parametrize("name", SMALL)
def test_fused_copies_answer_alike(name: str, data_folder: Path) -> None:
    about, _ = facts(data_folder, "d11_heads_small")
    detector = filled(name, data_folder, "d11_heads_small")
    image = image_of(about["input_a"])
    with torch.no_grad():
        before, after = detector(image), detector.fused()(image)
    assert (before[..., 4:] - after[..., 4:]).abs().max() < 1e-4
    assert (before[..., :4] - after[..., :4]).abs().max() < 0.02


def test_a_fused_copy_has_the_answering_branch_alone_under_its_own_names(data_folder: Path) -> None:
    detector = filled("yolo26n", data_folder, "d11_heads_small")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fused, whole = detector.fused(), detector.fused(whole=True)
    paths = {name for name, part in fused.named_modules() if isinstance(part, nn.Conv2d)}
    assert any("one2one_cv2" in path for path in paths)
    assert not any(path.startswith(("model.23.cv2", "model.23.cv3")) for path in paths)
    with torch.no_grad():
        one, both = fused.heads(image), whole.heads(image)
        assert torch.equal(fused(image), whole(image))
    assert isinstance(both, TwoBranches)
    assert all(torch.equal(first, second) for first, second in zip(one, both.one2one, strict=True))


def test_the_rule_gives_the_values_of_its_examples(data_folder: Path) -> None:
    about, _ = facts(data_folder, "d11_heads_small")
    for key in ("model.0.conv.weight", "model.0.bn.weight", "model.0.bn.bias", "model.21.cv2.0.2.bias"):
        shape = (16, 3, 3, 3) if key.endswith("conv.weight") else (64,)
        assert values_by_rule(key, shape).flatten()[:4].tolist() == pytest.approx(about["fill_examples"][key])


def test_features_of_the_one_to_one_branch_are_detached() -> None:
    head = Detect(3, (16, 16), (8, 16), reg_max=1, two_branches=True)
    features = [torch.rand(1, 16, 4, 4, requires_grad=True), torch.rand(1, 16, 2, 2, requires_grad=True)]
    raw = head(features)
    sum(level.sum() for level in raw.one2one).backward()
    assert all(level.grad is None for level in features)
    sum(level.sum() for level in head(features).one2many).backward()
    assert all(level.grad is not None for level in features)


def test_start_values_say_a_few_cells_and_rare_objects() -> None:
    head = Detect(80, (64, 128, 256), (8, 16, 32), two_branches=True)
    for name, stride in (("0", 8), ("1", 16), ("2", 32)):
        for prefix in ("", "one2one_"):
            boxes = head.get_parameter(f"{prefix}cv2.{name}.2.bias")
            classes = head.get_parameter(f"{prefix}cv3.{name}.2.bias")
            assert torch.all(boxes == 2.0)
            assert float(classes.detach().exp().sum()) == pytest.approx(5 / (640 / stride) ** 2, rel=1e-5)
    assert head.get_parameter("dfl.conv.weight").flatten().tolist() == list(range(16))
    assert not head.get_parameter("dfl.conv.weight").requires_grad


def test_distances_become_boxes() -> None:
    """One level of 1 × 2 cells of 8 px; distances 1, 2, 3, 4 in the second cell, 0 in the first."""
    head = Detect(1, (16,), (8,), reg_max=1)
    raw = torch.zeros(1, 5, 1, 2)
    raw[0, :4, 0, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = [[4, 4, 0, 0, 0.5], [1.5 * 8 + 8, 0.5 * 8 + 8, 32, 48, 0.5]]
    assert head.decode([raw])[0].tolist() == expected


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(1, 5, 2, 2)], r"has 2 levels, got 1 outputs"),
        ([(1, 5, 2, 2), (1, 6, 1, 1)], r"Level 1 of the head should be \[B, 5, ny, nx\], got \[1, 6, 1, 1\]"),
        ([(1, 5, 2), (1, 5, 1, 1)], r"Level 0 of the head should be \[B, 5, ny, nx\], got \[1, 5, 2\]"),
    ],
)
def test_other_shapes_are_refused(shapes: list[tuple[int, ...]], words: str) -> None:
    head = Detect(1, (16, 16), (8, 16), reg_max=1)
    with pytest.raises(ModelError, match=words):
        head.decode([torch.zeros(shape) for shape in shapes])
