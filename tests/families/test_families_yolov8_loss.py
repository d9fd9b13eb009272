"""Parity: the anchor-free loss, its assignment and gradients against ultralytics 8.4.190 (fixture d12); then properties."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from speaking import speaking_detector
from torch import Tensor

from slimyolo.errors import ConfigError, DataError, ModelError
from slimyolo.families import FAMILIES
from slimyolo.families.yolov8 import assignment as assignment_module
from slimyolo.families.yolov8 import loss as loss_module
from slimyolo.families.yolov8.assignment import AssignmentRule, corner_ciou
from slimyolo.families.yolov8.loss import (
    AnchorFreeLoss,
    Gains,
    TwoBranchLoss,
    class_weights_of,
    gains_of,
    make_loss,
    one_to_many_share,
)
from slimyolo.families.yolov8.outputs import expected_distances
from slimyolo.geometry import paired_iou, xyxy_to_cxcywh
from slimyolo.models import LossSettings, TwoBranches
from slimyolo.training import Progress

SMALL = ("v8_nc3_untrained", "v26_nc3_topk7to1", "v8_crowd_topk7to1")
GAINS = Gains(box=7.5, cls=0.5, dfl=1.5)
STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Case:
    """One case of d12: its scalars, and its arrays by name."""

    about: Mapping[str, Any]
    arrays: Mapping[str, Tensor]

    def levels(self, boxes: Tensor, scores: Tensor) -> list[Tensor]:
        """Flat outputs as raw maps per level."""
        flat, start, levels = torch.cat((boxes, scores), 1), 0, []
        for stride in self.about["strides"]:
            ny, nx = self.about["h"] // stride, self.about["w"] // stride
            levels.append(flat[:, :, start : start + ny * nx].unflatten(2, (ny, nx)))
            start += ny * nx
        return levels

    def loss(self, gains: Mapping[str, float]) -> AnchorFreeLoss:
        rule = AssignmentRule(topk=self.about["topk"], kept=self.about["topk2"])
        return AnchorFreeLoss(
            self.about["nc"], self.about["reg_max"], self.about["strides"], gains_of(gains), rule=rule
        )


def cases_in(folder: Path, name: str) -> tuple[dict[str, Case], dict[str, Any]]:
    numbers: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    cases = {}
    with np.load(folder / f"{name}.npz") as file:
        for key, about in numbers.items():
            if isinstance(about, dict) and "topk2" in about:
                arrays = {
                    one.split("/")[1]: torch.from_numpy(file[one]) for one in file.files if one.startswith(f"{key}/")
                }
                cases[key] = Case(about, arrays)
    return cases, numbers


@pytest.fixture(params=["candidates only", "whole tables"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU whole tables are worked on instead of the candidates alone; here both are tried on the CPU."""
    if request.param == "whole tables":
        for module in (assignment_module, loss_module):
            monkeypatch.setattr(module, "may_wait", lambda device: False)


def check(case: Case, gains: Mapping[str, float]) -> None:
    boxes, scores = (case.arrays[name].clone().requires_grad_() for name in ("boxes", "scores"))
    targets = case.arrays["targets"]
    loss, raw = case.loss(gains), case.levels(boxes, scores)

    parts = loss(raw, targets)
    parts.total.backward()
    assigned = loss.assign(raw, targets)

    for name, value in case.about["items"].items():
        assert float(parts.items[name.removesuffix("_loss")]) == pytest.approx(value, rel=1e-5, abs=1e-9)
    assert float(parts.total.detach()) == pytest.approx(case.about["total_sum"], rel=1e-5)
    for values, name in ((boxes, "grad_boxes"), (scores, "grad_scores")):
        wanted = case.arrays[name]
        assert values.grad is not None
        assert float((values.grad - wanted).norm()) <= 1e-4 * float(wanted.norm())
    positive = case.arrays["fg_mask"]
    assert torch.equal(assigned.positive, positive)
    first = torch.tensor([int((targets[:, 0] < image).sum()) for image in range(len(boxes))])
    assert torch.equal((assigned.target - first[:, None])[positive], case.arrays["target_gt_idx"][positive].long())
    torch.testing.assert_close(assigned.quality, case.arrays["target_scores"].sum(-1), rtol=1e-4, atol=1e-5)
    if len(targets):
        torch.testing.assert_close(
            assigned.boxes[assigned.target[positive]], case.arrays["target_bboxes_fg"], rtol=1e-6, atol=1e-4
        )


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", SMALL)
def test_small_cases(data_folder: Path, name: str) -> None:
    cases, numbers = cases_in(data_folder, "d12_loss_small")
    check(cases[name], numbers["gains"])


@pytest.mark.usefixtures("both_ways")
def test_all_cases(shared_folder: Path) -> None:
    cases, numbers = cases_in(shared_folder / "fixtures", "d12_loss")
    assert len(cases) == 14
    for case in cases.values():
        check(case, numbers["gains"])


@pytest.mark.parametrize("epochs", [10, 100])
def test_share_of_the_one_to_many_branch(data_folder: Path, epochs: int) -> None:
    _, numbers = cases_in(data_folder, "d12_loss_small")
    for epoch, (share, rest) in enumerate(numbers[f"e2e_weights_epochs{epochs}"]["after_n_updates"]):
        assert one_to_many_share(epoch, epochs) == pytest.approx(share, abs=1e-12)
        assert 1 - one_to_many_share(epoch, epochs) == pytest.approx(rest, abs=1e-12)
    assert one_to_many_share(0, 1) == pytest.approx(0.8)


# --- properties -------------------------------------------------------------------------------------------------------


def raw_maps(
    nc: int = 2, reg_max: int = 4, batch: int = 2, sides: Sequence[int] = (8, 4, 2), seed: int = 0
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 4 * reg_max + nc, side, side, generator=generator).requires_grad_() for side in sides]


def some_targets() -> Tensor:
    return torch.tensor(
        [
            [0, 1, 0.5, 0.5, 0.4, 0.5],
            [0, 0, 0.3, 0.6, 0.3, 0.2],
            [1, 1, 0.7, 0.2, 0.02, 0.03],
            [1, 0, 0.4, 0.6, 0.7, 0.6],
        ]
    )


def test_order_of_targets_of_different_images_does_not_matter() -> None:
    raw, targets = raw_maps(), some_targets()
    loss = AnchorFreeLoss(2, 4, STRIDES, GAINS)
    mixed = targets[[2, 0, 3, 1]]  # the order within each image is kept
    torch.testing.assert_close(loss(raw, targets).total, loss(raw, mixed).total, rtol=1e-6, atol=0)


def test_a_position_has_one_box_and_a_box_of_the_one_to_one_branch_at_most_one_position() -> None:
    raw, targets = raw_maps(), some_targets()
    assigned = AnchorFreeLoss(2, 4, STRIDES, GAINS, rule=AssignmentRule(topk=7, kept=1)).assign(raw, targets)
    owners = assigned.target[assigned.positive].tolist()
    assert len(owners) == len(set(owners)) > 0
    assert bool((assigned.quality[~assigned.positive] == 0).all())
    assert 0 < float(assigned.quality.max()) <= 1


def test_a_box_smaller_than_the_second_stride_finds_positions_all_the_same() -> None:
    raw = [torch.zeros_like(level) for level in raw_maps()]
    targets = torch.tensor([[0, 0, 0.5, 0.5, 6 / 64, 6 / 64]])  # 29 to 35 px: between all positions
    plain = AnchorFreeLoss(2, 4, STRIDES, GAINS, rule=AssignmentRule(smallest_side=0.0)).assign(raw, targets)
    assert not bool(plain.positive.any())
    assert bool(AnchorFreeLoss(2, 4, STRIDES, GAINS).assign(raw, targets).positive.any())


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("reg_max", [1, 4])
def test_without_targets_only_the_class_term_has_a_gradient(reg_max: int) -> None:
    raw = raw_maps(reg_max=reg_max)
    parts = AnchorFreeLoss(2, reg_max, STRIDES, GAINS)(raw, torch.zeros(0, 6))
    parts.total.backward()
    assert float(parts.items["box"]) == 0
    for level in raw:
        assert level.grad is not None
        assert float(level.grad[:, : 4 * reg_max].abs().max()) == 0
        assert float(level.grad[:, 4 * reg_max :].abs().min()) > 0


@pytest.mark.usefixtures("both_ways")
def test_two_processes_add_up_to_the_global_batch() -> None:
    raw, targets = raw_maps(batch=3), torch.cat((some_targets(), torch.tensor([[2, 0, 0.5, 0.5, 0.8, 0.8]])))
    whole = AnchorFreeLoss(2, 4, STRIDES, GAINS)(raw, targets).total
    ours = [level[:2] for level in raw], targets[:4]
    theirs = [level[2:] for level in raw], targets[4:] * torch.tensor([0, 1, 1, 1, 1, 1])
    seen: list[Tensor] = []

    def remember(values: Tensor) -> Tensor:
        seen.append(values)
        return values

    for part in (ours, theirs):
        AnchorFreeLoss(2, 4, STRIDES, GAINS, total=remember)(*part)
    everywhere = torch.stack(seen).sum(0)
    totals = [
        AnchorFreeLoss(2, 4, STRIDES, GAINS, total=lambda values: everywhere)(*part).total for part in (ours, theirs)
    ]
    torch.testing.assert_close(sum(totals), whole, rtol=1e-6, atol=0)


def test_two_branches_are_weighed_by_the_epoch_and_show_the_one_to_one_items() -> None:
    both, targets = TwoBranches(raw_maps(reg_max=1), raw_maps(reg_max=1, seed=1)), some_targets()
    many = AnchorFreeLoss(2, 1, STRIDES, GAINS)
    one = AnchorFreeLoss(2, 1, STRIDES, GAINS, rule=AssignmentRule(topk=7, kept=1))
    loss = TwoBranchLoss(many, one)
    for epoch, share in ((0, 0.8), (2, 0.45), (4, 0.1)):
        parts = loss(both, targets, Progress(epoch, 5, 0, 3))
        wanted = share * many(both.one2many, targets).total + (1 - share) * one(both.one2one, targets).total
        torch.testing.assert_close(parts.total, wanted, rtol=1e-6, atol=0)
        assert parts.items == one(both.one2one, targets).items
    torch.testing.assert_close(loss(both, targets).total, loss(both, targets, Progress(0, 5, 0, 3)).total)


def test_half_precision_heads_give_a_loss_in_float32() -> None:
    raw, targets = raw_maps(), some_targets()
    loss = AnchorFreeLoss(2, 4, STRIDES, GAINS)
    narrow = loss([level.half() for level in raw], targets)
    assert narrow.total.dtype == torch.float32
    torch.testing.assert_close(narrow.total, loss(raw, targets).total, rtol=1e-2, atol=0)


def test_class_weights_multiply_the_class_term() -> None:
    raw, targets = raw_maps(), some_targets()
    plain = AnchorFreeLoss(2, 4, STRIDES, GAINS)(raw, targets).items
    doubled = AnchorFreeLoss(2, 4, STRIDES, GAINS, class_weights=torch.full((2,), 2.0))(raw, targets).items
    torch.testing.assert_close(doubled["cls"], 2 * plain["cls"])
    torch.testing.assert_close(doubled["box"], plain["box"])


def test_class_weights_are_a_power_of_the_numbers_of_boxes_with_the_mean_one() -> None:
    weights = class_weights_of((100, 25, 0), 0.5)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([0.1, 0.2, 1.0]) / (1.3 / 3))
    assert class_weights_of((100, 25), 0.0) is None
    assert class_weights_of((), 1.0) is None


def test_cls_pw_gives_both_branches_their_class_weights() -> None:
    detector = speaking_detector("yolo26")
    hyp = {**FAMILIES["yolo26"].recipe.hyp, "cls_pw": 1.0}
    loss = make_loss(detector, LossSettings(hyp=hyp, imgsz=64, class_counts=(30, 10)))
    assert isinstance(loss, TwoBranchLoss)
    for branch in (loss.one2many, loss.one2one):
        assert branch._class_weights is not None
        assert branch._class_weights.tolist() == [0.5, 1.5]
    plain = make_loss(detector, LossSettings(hyp=FAMILIES["yolo26"].recipe.hyp, imgsz=64, class_counts=(30, 10)))
    assert isinstance(plain, TwoBranchLoss)
    assert plain.one2one._class_weights is None
    with pytest.raises(ConfigError, match=r"cls_pw is 0: in YOLOv5 it is the weight of positives, a number above 0"):
        FAMILIES["yolov5"].make_loss(detector, LossSettings(hyp={"cls_pw": 0.0}, imgsz=64))


def test_expected_distance_of_one_sure_bin_is_that_bin() -> None:
    boxes = torch.full((1, 4, 8), -50.0)
    boxes[0, torch.arange(4), torch.tensor([0, 3, 5, 7])] = 50.0
    torch.testing.assert_close(expected_distances(boxes.flatten(1), 8), torch.tensor([[0.0, 3.0, 5.0, 7.0]]))


def test_ciou_of_corners_equals_that_of_centres() -> None:
    generator = torch.Generator().manual_seed(3)
    low = torch.rand(50, 2, 2, generator=generator) * 10
    boxes = torch.cat((low, low + 1 + torch.rand(50, 2, 2, generator=generator) * 10), -1)
    first, second = boxes[:, 0], boxes[:, 1]
    wanted = paired_iou(xyxy_to_cxcywh(first), xyxy_to_cxcywh(second), "ciou")
    torch.testing.assert_close(corner_ciou(first, second), wanted, rtol=1e-4, atol=1e-5)


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gains_of({"box": 1.0}), ConfigError, r"lack cls, dfl; add them"),
        (
            lambda: AnchorFreeLoss(0, 4, STRIDES, GAINS),
            ModelError,
            r"at least one class, one bin and one level; got nc=0",
        ),
        (
            lambda: AnchorFreeLoss(2, 4, STRIDES, GAINS, class_weights=torch.ones(3)),
            ConfigError,
            r"a weight for each of 2 classes, got \(3,\)",
        ),
        (
            lambda: AnchorFreeLoss(3, 4, STRIDES, GAINS)(raw_maps(), some_targets()),
            ModelError,
            r"raw output of 3 levels \[B, 19, ny, nx\], got \[\(2, 18, 8, 8\)",
        ),
        (
            lambda: AnchorFreeLoss(2, 4, STRIDES, GAINS)(torch.zeros(1, 2, 3), some_targets()),
            ModelError,
            r"got Tensor. Call the detector in train mode",
        ),
        (lambda: AnchorFreeLoss(2, 4, STRIDES, GAINS)(raw_maps(), torch.zeros(1, 5)), DataError, r"must be \[N, 6\]"),
        (
            lambda: AnchorFreeLoss(2, 4, STRIDES, GAINS)(raw_maps(), some_targets() + 1),
            DataError,
            r"name images 1–2 and classes 1–2, but the batch has 2 images and the model 2 classes",
        ),
        (
            lambda: TwoBranchLoss(*[AnchorFreeLoss(2, 4, STRIDES, GAINS)] * 2)(raw_maps(), some_targets()),  # type: ignore[arg-type]
            ModelError,
            r"needs raw output of two branches, got list",
        ),
    ],
)
def test_messages(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
