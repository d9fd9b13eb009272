"""Property and table of cases: what the loss promises beyond the numbers of the fixture."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from slimyolo.errors import ConfigError, DataError, ModelError, TrainingError
from slimyolo.families.yolov5.assignment import assign_targets
from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights, _rows_at, scaled_gains
from slimyolo.geometry import paired_iou
from slimyolo.losses import LossParts, Supervised, binary_cross_entropy, focal_weight, smoothed_targets

ANCHORS = torch.tensor(
    [
        [[10.0, 13], [16, 30], [33, 23]],
        [[30, 61], [62, 45], [59, 119]],
        [[116, 90], [156, 198], [373, 326]],
    ]
)
STRIDES = (8.0, 16.0, 32.0)
SIDES = (8, 4, 2)  # a 64 px image


def make_loss(nc: int = 3, **settings: float) -> DetectionLoss:
    """A loss with equal gains."""
    return DetectionLoss(ANCHORS, STRIDES, nc, LossWeights(box=1.0, obj=1.0, cls=1.0, **settings))


def make_heads(nc: int = 3, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random heads of a 64 px image."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, 3, side, side, 5 + nc, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for side in SIDES
    ]


def targets_of(*rows: tuple[float, ...]) -> Tensor:
    """Rows of image, class, cx, cy, w, h."""
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


@st.composite
def target_sets(draw: st.DrawFn) -> Tensor:
    """Up to eight boxes, centres on and between the lines of the grid, up to the borders."""
    count = draw(st.integers(0, 8))
    eighths = st.integers(0, 16).map(lambda k: k / 16)
    centre = st.one_of(eighths, st.floats(0, 1, width=32))
    side = st.floats(1 / 128, 1, width=32)
    rows = [
        (draw(st.integers(0, 1)), draw(st.integers(0, 2)), draw(centre), draw(centre), draw(side), draw(side))
        for _ in range(count)
    ]
    return targets_of(*rows)


def plain_assignment(targets: Tensor, level: int) -> list[tuple[int, ...]]:
    """(image, anchor, row, column, class) by loops, from the words of the recipe."""
    side, found = SIDES[level], []
    anchors = ANCHORS[level] / STRIDES[level]
    for shift in ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1)):  # centre, left, up, right, down
        for anchor in range(3):
            for image, label, *box in targets.tolist():
                cx, cy, w, h = (torch.tensor(v) * side for v in box)
                ratios = torch.stack((w, h)) / anchors[anchor]
                if torch.max(ratios, 1 / ratios).max() >= 4:
                    continue
                if shift[0] < 0 and not (cx % 1 < 0.5 and cx > 1):
                    continue
                if shift[1] < 0 and not (cy % 1 < 0.5 and cy > 1):
                    continue
                if shift[0] > 0 and not ((side - cx) % 1 < 0.5 and side - cx > 1):
                    continue
                if shift[1] > 0 and not ((side - cy) % 1 < 0.5 and side - cy > 1):
                    continue
                # half a cell towards the neighbour, so that a centre on a line is in the cell that the shift names
                column, row = int(cx + shift[0] * 0.5), int(cy + shift[1] * 0.5)
                found.append((int(image), anchor, min(row, side - 1), min(column, side - 1), int(label)))
    return found


@given(targets=target_sets())
@settings(max_examples=60, deadline=None)
def test_assignment_equals_loops(targets: Tensor) -> None:
    levels = assign_targets(targets, ANCHORS / torch.tensor(STRIDES)[:, None, None], [(s, s) for s in SIDES])
    for level, padded in enumerate(levels):
        assert len(padded.cell) == 15 * len(targets)
        found = padded.compact()
        rows = zip(found.image, found.anchor, found.row, found.column, found.classes, strict=True)
        assert [tuple(int(v) for v in row) for row in rows] == plain_assignment(targets, level)
        shape = (2, 3, SIDES[level], SIDES[level])
        flat = np.ravel_multi_index([v.numpy() for v in (found.image, found.anchor, found.row, found.column)], shape)
        np.testing.assert_array_equal(found.cell, flat)
        assert ((found.boxes[:, :2] >= -0.5) & (found.boxes[:, :2] <= 1.5)).all()  # what 2σ - 0.5 can reach


def plain_loss(heads: list[Tensor], targets: Tensor, nc: int) -> float:
    """The loss by loops over matches, in float64."""
    total = 0.0
    for level, (head, weight) in enumerate(zip(heads, (4.0, 1.0, 0.4), strict=True)):
        logits = head.detach().double()
        wanted = torch.zeros(logits.shape[:4], dtype=torch.float64)
        # in float32, as the loss does: in float64 a box may fit an anchor whose limit it exceeds by a rounding
        found = assign_targets(targets, ANCHORS / torch.tensor(STRIDES)[:, None, None], [(s, s) for s in SIDES])
        matches = found[level].compact()
        box = cls = 0.0
        for n in range(len(matches.cell)):
            position = (matches.image[n], matches.anchor[n], matches.row[n], matches.column[n])
            row = logits[position]
            chance = row[:4].sigmoid()
            predicted = torch.cat((chance[:2] * 2 - 0.5, (chance[2:] * 2) ** 2 * matches.anchor_sizes[n].double()))
            overlap = paired_iou(predicted, matches.boxes[n].double(), "ciou").item()
            box += 1 - overlap
            wanted[position] = max(overlap, 0)
            hot = torch.eye(nc, dtype=torch.float64)[matches.classes[n]]
            cls += torch.nn.functional.binary_cross_entropy(row[5:].sigmoid(), hot).item()
        count = max(len(matches.cell), 1)
        objectness = torch.nn.functional.binary_cross_entropy(logits[..., 4].sigmoid(), wanted).item()
        total += box / count + (cls / count if nc > 1 else 0) + weight * objectness
    return total * heads[0].shape[0]


@given(targets=target_sets(), seed=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_loss_equals_loops(targets: Tensor, seed: int) -> None:
    heads = make_heads(seed=seed, dtype=torch.float64)
    assert make_loss()(heads, targets).total.item() == pytest.approx(plain_loss(heads, targets, 3), rel=1e-5)


@given(targets=target_sets())
@settings(max_examples=30, deadline=None)
def test_padded_candidates_change_nothing(targets: Tensor) -> None:
    """The form for GPUs, where invalid candidates are carried along, equals the compact one with its gradients."""
    results = []
    for compact in (True, False):
        loss, heads = make_loss(), make_heads()
        levels = assign_targets(targets, ANCHORS / torch.tensor(STRIDES)[:, None, None], [(s, s) for s in SIDES])
        loss._assign = lambda *_: [m.compact() if compact else m for m in levels]  # type: ignore[method-assign] # noqa: B023
        parts = loss(heads, targets)
        parts.total.backward()
        results.append((parts.total.detach(), *(head.grad for head in heads)))
    for compacted, padded in zip(*results, strict=True):
        torch.testing.assert_close(compacted, padded, rtol=1e-5, atol=1e-7)


def test_gradient_is_that_of_finite_differences() -> None:
    heads = make_heads(nc=2, dtype=torch.float64)
    targets = targets_of((0, 1, 0.4, 0.6, 0.3, 0.4))
    loss = make_loss(nc=2)
    loss(heads, targets).total.backward()
    match = loss.assign(heads, targets)[1]
    spot = (match.image[0], match.anchor[0], match.row[0], match.column[0])
    for column in (5, 6):  # objectness and boxes hold constants (the target IoU, α), classes do not
        gradient = heads[1].grad
        assert gradient is not None
        sides = []
        for step in (1e-6, -1e-6):
            moved = [head.detach().clone() for head in heads]
            moved[1][(*spot, column)] += step
            sides.append(loss(moved, targets).total.item())
        assert gradient[(*spot, column)].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4)


def test_no_targets_leave_objectness_alone() -> None:
    heads = make_heads()
    parts = make_loss()(heads, torch.zeros(0, 6))
    assert parts.items["box"] == parts.items["cls"] == 0
    parts.total.backward()
    for head in heads:
        assert head.grad is not None
        assert (head.grad[..., 4] > 0).all()
        assert not head.grad[..., :4].any()
        assert not head.grad[..., 5:].any()


def test_targets_of_one_image_only() -> None:
    heads = make_heads(batch=3)
    found = make_loss().assign(heads, targets_of((1, 0, 0.5, 0.5, 0.5, 0.5)))
    assert sum(len(level.cell) for level in found) > 0
    assert all((level.image == 1).all() for level in found)


@pytest.mark.parametrize(
    ("centre", "cells"),
    [
        ((0.0, 0.0), {(0, 0)}),  # the upper left corner has no left or upper neighbour
        ((1.0, 1.0), {(7, 7)}),  # the lower right corner belongs to the last cell
        ((1.0, 0.0), {(0, 7)}),  # (row, column)
        ((0.5, 0.5), {(4, 4), (3, 4), (4, 3)}),  # on a crossing of lines: left and up, whose half it starts
        ((4.75 / 8, 4.25 / 8), {(4, 4), (3, 4), (4, 5)}),
        ((0.25 / 8, 7.75 / 8), {(7, 0)}),  # at the border the half without a neighbour gets none
    ],
)
def test_cells_at_borders(centre: tuple[float, float], cells: set[tuple[int, int]]) -> None:
    found = make_loss().assign(make_heads(), targets_of((0, 0, *centre, 0.16, 0.2)))[0]
    assert {(int(r), int(c)) for r, c in zip(found.row, found.column, strict=True)} == cells


def test_last_match_owns_a_shared_position() -> None:
    rows = ((0, 0, 0.5, 0.5, 0.2, 0.3), (0, 1, 0.5, 0.5, 0.3, 0.2))
    heads = [head.detach() for head in make_heads()]
    first, second = (make_loss()(heads, targets_of(*order)).items["obj"] for order in (rows, rows[::-1]))
    assert first != second
    assert make_loss()(heads, targets_of(*rows)).items["obj"] == first


def test_same_input_same_gradients_with_threads() -> None:
    """Indexing a head adds the gradients of shared positions in an order of chance (seen in half of the runs)."""
    generator = torch.Generator().manual_seed(0)
    cell = torch.randint(16 * 3 * 8 * 8, (20000,), generator=generator)
    weight = torch.randn(20000, 85, generator=generator)
    threads, gradients = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        for _ in range(4):
            head = torch.zeros(16, 3, 8, 8, 85, requires_grad=True)
            (_rows_at(head, cell) * weight).sum().backward()
            gradients.append(head.grad)
    finally:
        torch.set_num_threads(threads)
    assert gradients[0] is not None
    assert all(again is not None and torch.equal(gradients[0], again) for again in gradients[1:])


def test_box_without_size_matches_nothing() -> None:
    parts = make_loss()(make_heads(), targets_of((0, 0, 0.5, 0.5, 0, 0.2)))
    assert parts.items["box"] == 0
    assert torch.isfinite(parts.total)


def test_one_class_has_no_class_loss() -> None:
    parts = make_loss(nc=1)(make_heads(nc=1), targets_of((0, 0, 0.5, 0.5, 0.5, 0.5)))
    assert parts.items["cls"] == 0
    assert parts.items["box"] > 0


def test_total_is_items_times_batch() -> None:
    parts = make_loss()(make_heads(batch=2), targets_of((0, 2, 0.5, 0.5, 0.5, 0.5)))
    assert parts.total.item() == pytest.approx(2 * sum(value.item() for value in parts.items.values()), rel=1e-6)
    assert parts.total.requires_grad
    assert not any(value.requires_grad for value in parts.items.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_heads(dtype: torch.dtype) -> None:
    targets = targets_of((0, 2, 0.5, 0.5, 0.5, 0.5))
    rounded = [head.detach().to(dtype).float() for head in make_heads()]
    heads = make_heads(dtype=dtype)
    parts = make_loss()(heads, targets)
    assert parts.total.dtype == torch.float32
    assert parts.total.item() == pytest.approx(make_loss()(rounded, targets).total.item(), rel=1e-6)
    parts.total.backward()
    assert all(head.grad is not None and torch.isfinite(head.grad).all() for head in heads)


def test_focal_lowers_easy_positions() -> None:
    logits = torch.tensor([-6.0, 0.0, 6.0])
    weight = focal_weight(logits, torch.zeros(3), 1.5)
    # closed formula, eq. 5 of the paper, α = 0.25
    expected = [0.75 * (1 / (1 + math.exp(-x))) ** 1.5 for x in (-6, 0, 6)]
    assert weight.tolist() == pytest.approx(expected, rel=1e-5)
    assert make_loss(fl_gamma=1.5)(make_heads(), targets_of((0, 0, 0.5, 0.5, 0.5, 0.5))).total.item() > 0


def test_focal_of_certain_positions_has_a_gradient() -> None:
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    binary_cross_entropy(logits, torch.tensor([1.0, 0.0]), focal=0.5).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_positive_weight_counts_positives() -> None:
    logits, targets = torch.zeros(2), torch.tensor([1.0, 0.0])
    once = binary_cross_entropy(logits, targets)
    thrice = binary_cross_entropy(logits, targets, positive_weight=3.0)
    assert (thrice / once).tolist() == pytest.approx([3, 1])


def test_smoothing() -> None:
    assert smoothed_targets(0.0) == (1.0, 0.0)
    assert smoothed_targets(0.1) == pytest.approx((0.95, 0.05))


def test_levels_of_a_p6_model() -> None:
    anchors = torch.cat((ANCHORS, ANCHORS[2:] * 2))
    loss = DetectionLoss(anchors, (8, 16, 32, 64), 2, LossWeights(box=1, obj=1, cls=1))
    heads = [torch.zeros(1, 3, side, side, 7) for side in (8, 4, 2, 1)]
    # all logits 0: BCE = ln 2 everywhere, times the sum of the level weights
    assert loss(heads, torch.zeros(0, 6)).total.item() == pytest.approx(math.log(2) * (4 + 1 + 0.25 + 0.06), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: make_loss()(make_heads(nc=2), torch.zeros(0, 6)), ModelError, "train mode"),
        (lambda: make_loss()(make_heads()[:2], torch.zeros(0, 6)), ModelError, "3 levels"),
        (lambda: make_loss()(make_heads(), torch.zeros(0, 5)), DataError, r"\[N, 6\]"),
        (lambda: make_loss()(make_heads(), targets_of((0, 3, 0.5, 0.5, 0.1, 0.1))), DataError, "data check"),
        (lambda: make_loss()(make_heads(), targets_of((2, 0, 0.5, 0.5, 0.1, 0.1))), DataError, "2 images"),
        (lambda: make_loss()(make_heads(), targets_of((0, -1, 0.5, 0.5, 0.1, 0.1))), DataError, "classes -1"),
        (lambda: make_loss(label_smoothing=1.5), ConfigError, "label_smoothing"),
        (lambda: make_loss(nc=0), ModelError, "one class"),
        (
            lambda: DetectionLoss(ANCHORS, (8.0,), 2, LossWeights(box=1, obj=1, cls=1)),
            ModelError,
            "one stride per level",
        ),
        (
            lambda: DetectionLoss(ANCHORS[:1].expand(6, 3, 2), (8.0,) * 6, 2, LossWeights(box=1, obj=1, cls=1)),
            ModelError,
            "up to 5 levels",
        ),
        (lambda: scaled_gains({"box": 0.05, "obj": 1.0}, 3, 2, 320), ConfigError, "lack cls"),
    ],
)
def test_messages(call: object, error: type[Exception], says: str) -> None:
    assert callable(call)
    with pytest.raises(error, match=says):
        call()


def test_supervised_wants_heads() -> None:
    with pytest.raises(TrainingError, match=r"model\.train\(\)"):
        Supervised(make_loss())(nn.Identity(), torch.zeros(1, 3, 8, 8), torch.zeros(0, 6))


def test_supervised_passes_heads_on() -> None:
    class Heads(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return make_heads(batch=len(images))

    parts = Supervised(make_loss())(Heads(), torch.zeros(2, 3, 64, 64), torch.zeros(0, 6))
    assert isinstance(parts, LossParts)
    assert parts.total.item() == make_loss()(make_heads(), torch.zeros(0, 6)).total.item()


def test_losses_of_two_processes_add_up_to_that_of_the_whole_batch() -> None:
    """Also when one has more images and more boxes than the other, and none at all on some level."""
    generator = torch.Generator().manual_seed(3)
    anchors = torch.tensor([[[10.0, 13], [16, 30]], [[30, 61], [62, 45]]])
    heads = [torch.randn(3, 2, side, side, 7, generator=generator, requires_grad=True) for side in (8, 4)]
    boxes = torch.rand(9, 4, generator=generator) * torch.tensor([0.6, 0.6, 0.3, 0.3]) + 0.1
    images = torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 2, 2])
    targets = torch.cat((images[:, None], (torch.arange(9.0) % 2)[:, None], boxes), 1)

    def loss(total: Callable[[Tensor], Tensor]) -> DetectionLoss:
        return DetectionLoss(anchors, (8, 16), 2, LossWeights(box=0.05, obj=1.0, cls=0.5), total=total)

    whole = loss(lambda values: values)(heads, targets)
    (expected,) = torch.autograd.grad(whole.total, heads[:1])
    parts = [([head[:2] for head in heads], targets[:7]), ([head[2:] for head in heads], targets[7:].clone())]
    parts[1][1][:, 0] -= 2
    counted: list[Tensor] = []
    for part in parts:
        loss(lambda values: counted.append(values) or values)(*part)
    both = sum(counted[1:], counted[0])
    losses = [loss(lambda values: both)(*part).total for part in parts]
    assert (losses[0] + losses[1]).item() == pytest.approx(whole.total.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(losses[0] + losses[1], heads[:1])
    assert torch.allclose(gradient, expected, atol=1e-6)
