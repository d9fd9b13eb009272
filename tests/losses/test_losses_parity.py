"""Parity: the loss, its assignment and its gradients against YOLOv5 v6.2 (fixture d3), anchors against d6."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from slimyolo.families.yolov5.anchors import _fit, best_possible_recall
from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights, scaled_gains
from slimyolo.losses import Supervised

STRIDES = torch.tensor([8.0, 16.0, 32.0])
VARIANTS = ("base", "label_smoothing_0.1", "empty_targets")


@pytest.fixture
def numbers(data_folder: Path) -> dict[str, Any]:
    """The scalars of the fixture."""
    content: dict[str, Any] = json.loads((data_folder / "d3_loss_heads.json").read_text())
    return content


@pytest.fixture
def arrays(data_folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Targets, indices, head rows and gradients of the fixture."""
    with np.load(data_folder / "d3_loss_heads.npz") as file:
        return dict(file)


def heads_of(arrays: dict[str, np.ndarray[Any, Any]]) -> list[Tensor]:
    """Heads that are right wherever the loss looks: objectness everywhere, whole rows at the matches."""
    heads = []
    for level, side in enumerate((40, 20, 10)):
        head = torch.zeros(4, 3, side, side, 85)
        head[..., 4] = torch.tensor(arrays[f"l{level}_obj_logits"])
        position = tuple(torch.tensor(arrays[f"l{level}_{key}"].astype(np.int64)) for key in ("b", "a", "gj", "gi"))
        head[position] = torch.tensor(arrays[f"l{level}_head_at_matches"])
        heads.append(head.requires_grad_())
    return heads


def loss_of(numbers: dict[str, Any], variant: str = "base") -> DetectionLoss:
    """The loss with the settings of a variant."""
    anchors = torch.tensor(numbers["anchors_in_grid_units"]) * STRIDES[:, None, None]
    return DetectionLoss(
        anchors,
        STRIDES,
        80,
        LossWeights(label_smoothing=numbers[variant]["label_smoothing"], **numbers[variant]["gains"]),
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_parts_and_gradients(variant: str, numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
    heads = heads_of(arrays)
    targets = torch.tensor(arrays["targets"]) if variant != "empty_targets" else torch.zeros(0, 6)
    parts = loss_of(numbers, variant)(heads, targets)
    expected = numbers[variant]
    assert parts.total.item() == pytest.approx(expected["total"], rel=1e-6)
    assert {name: value.item() for name, value in parts.items.items()} == pytest.approx(
        {name: expected[name] for name in ("box", "obj", "cls")}, rel=1e-6
    )
    parts.total.backward()
    for head, norm, absolute in zip(heads, expected["head_grad_l2"], expected["head_grad_abs_sum"], strict=True):
        assert head.grad is not None
        assert head.grad.norm().item() == pytest.approx(norm, rel=1e-5)
        assert head.grad.abs().sum().item() == pytest.approx(absolute, rel=1e-5)


def test_gradients_at_matches(numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
    heads = heads_of(arrays)
    loss = loss_of(numbers)
    loss(heads, torch.tensor(arrays["targets"])).total.backward()
    for level, (head, found) in enumerate(zip(heads, loss.assign(heads, torch.tensor(arrays["targets"])), strict=True)):
        assert head.grad is not None
        gradient = head.grad[found.image, found.anchor, found.row, found.column]
        np.testing.assert_allclose(gradient, arrays[f"l{level}_grad_at_matches"], rtol=1e-4, atol=1e-8)


def test_assignment_in_order(numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
    levels = loss_of(numbers).assign(heads_of(arrays), torch.tensor(arrays["targets"]))
    assert [len(found.cell) for found in levels] == numbers["matches_per_level"]
    for level, found in enumerate(levels):
        for key, value in (
            ("b", found.image),
            ("a", found.anchor),
            ("gj", found.row),
            ("gi", found.column),
            ("tcls", found.classes),
            ("tbox", found.boxes),
            ("anchors", found.anchor_sizes),
        ):
            np.testing.assert_array_equal(value, arrays[f"l{level}_{key}"])


def test_gains_are_those_of_the_recipe(numbers: dict[str, Any]) -> None:
    hyp = {"box": 0.05, "obj": 1.0, "cls": 0.5}
    of_fixture = {name: numbers["base"]["gains"][name] for name in ("box", "obj", "cls")}
    assert dict(scaled_gains(hyp, 3, 80, 320)) == pytest.approx(of_fixture)
    assert dict(scaled_gains(hyp, 3, 2, 320)) == pytest.approx({"box": 0.05, "obj": 0.25, "cls": 0.0125})


def test_anchor_fit(data_folder: Path, numbers: dict[str, Any]) -> None:
    fixture = json.loads((data_folder / "d6_schedules.json").read_text())["autoanchor"]
    sizes, anchors = torch.tensor(fixture["wh"]), torch.tensor(numbers["anchors_in_grid_units"])
    for threshold, expected in fixture["metric"].items():
        pixels = anchors * STRIDES[:, None, None]
        assert best_possible_recall(sizes, pixels, float(threshold)) == pytest.approx(expected["bpr"], abs=1e-7)
        fits = (_fit(sizes, pixels) > 1 / float(threshold)).float().sum(1)  # anchors above the threshold, box by box
        assert float(fits.mean()) == pytest.approx(expected["aat"], abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_every_parameter(
    variant: str, numbers: dict[str, Any], shared_folder: Path, yolov5n_weights: Path
) -> None:
    from slimyolo.families import load_checkpoint

    full = json.loads((shared_folder / "fixtures" / "d3_loss.json").read_text())[variant]
    with np.load(shared_folder / "fixtures" / "d3_loss.npz") as file:
        images, targets = torch.tensor(file["images_uint8"]) / 255, torch.tensor(file["targets"])
    detector = load_checkpoint(yolov5n_weights).detector().train()
    for part in detector.modules():  # the fixture was taken with all batch norms in eval mode
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eval()
    detector.requires_grad_(True)
    if variant == "empty_targets":
        targets = targets[:0]
    parts = Supervised(loss_of(numbers, variant))(detector, images, targets)
    assert parts.total.item() == pytest.approx(full["total"], rel=1e-5)
    parts.total.backward()
    gradients = {name: p.grad.norm().item() for name, p in detector.named_parameters() if p.grad is not None}
    assert gradients == pytest.approx(full["param_grad_l2"], rel=1e-3)
