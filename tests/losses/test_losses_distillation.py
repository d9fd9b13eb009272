"""Closed formulas and properties of distillation; table of teachers that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.families import read_architecture
from slimyolo.families.yolov5.anchors import set_anchors_
from slimyolo.families.yolov5.distillation import response_terms
from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights
from slimyolo.losses import Distilled, Projectors, Supervised, channel_wise_divergence, neck_widths
from slimyolo.models import Detector, build_detector

SHAPE = (2, 3, 4, 4, 7)


def make(classes: int = 2, seed: int = 0, names: tuple[str, ...] = ("a", "b"), cfg: str = "yolov5n") -> Detector:
    return build_detector(read_architecture(cfg).with_classes(classes), names=names, seed=seed)


def loss_of(detector: Detector) -> DetectionLoss:
    return DetectionLoss(detector.anchors, detector.stride, detector.nc, LossWeights(box=0.05, obj=1.0, cls=0.5))


def test_nothing_is_to_learn_from_oneself() -> None:
    heads = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = response_terms(heads, heads.detach())
    total = terms.box + terms.obj + terms.cls + channel_wise_divergence(heads.flatten(3), heads.detach().flatten(3))
    (gradient,) = torch.autograd.grad(total, heads)
    assert float(total.detach()) == pytest.approx(0, abs=1e-6)
    assert float(gradient.abs().max()) < 1e-6


def test_response_of_one_position_by_hand() -> None:
    student, teacher = torch.zeros(1, 1, 1, 1, 7), torch.zeros(1, 1, 1, 1, 7)
    teacher[..., 4], teacher[..., 0], teacher[..., 5] = 2.0, 1.0, 3.0
    terms = response_terms(student, teacher)
    belief, likely = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-3))

    def from_half(p: float) -> float:
        return p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)

    assert float(terms.obj) == pytest.approx(from_half(belief), rel=1e-5)
    assert float(terms.cls) == pytest.approx(from_half(likely) / 2, rel=1e-5)  # mean over two classes
    assert float(terms.box) == pytest.approx((2 / (1 + math.exp(-1)) - 1) ** 2, rel=1e-5)


def test_boxes_count_as_much_as_the_teacher_believes_in_them() -> None:
    student, teacher = torch.zeros(1, 1, 1, 2, 6), torch.zeros(1, 1, 1, 2, 6)
    teacher[..., 0] = 1.0
    teacher[0, 0, 0, 0, 4], teacher[0, 0, 0, 1, 4] = 20.0, -20.0
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(response_terms(student, teacher).box, student)
    assert abs(float(gradient[0, 0, 0, 0, 0])) > 0.1
    assert abs(float(gradient[0, 0, 0, 1, 0])) < 1e-8
    assert float(response_terms(student.detach(), teacher).cls) == 0  # one class


def test_channels_are_compared_by_where_they_answer() -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    value = channel_wise_divergence(student, teacher, 2.0)
    shifted = channel_wise_divergence(student + torch.randn(2, 3, 1, 1, generator=generator), teacher - 7, 2.0)
    assert float(shifted) == pytest.approx(float(value), rel=1e-4)  # what a channel adds everywhere says nothing
    ours, wanted = (torch.softmax(one.flatten(2) / 2, 2) for one in (student, teacher))
    assert float(value) == pytest.approx(float(4 / 6 * (wanted * (wanted / ours).log()).sum()), rel=1e-4)


def test_gradients_go_to_the_student_and_the_projectors_alone() -> None:
    student, teacher = make(seed=1), make(seed=2)
    student.head.m[1] = nn.Conv2d(48, 21, 1)  # as if the middle level had been pruned
    student.model[20].cv3 = nn.Sequential(student.model[20].cv3, nn.Conv2d(128, 48, 1))
    student.model[21] = nn.Conv2d(48, 128, 3, 2, 1)
    projectors = Projectors(neck_widths(student), neck_widths(teacher))
    assert [type(one) for one in projectors] == [nn.Identity, nn.Conv2d, nn.Identity]
    objective = Distilled(loss_of(student), student, teacher, projectors, response=1.0, feature=0.5)
    student.train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0.0, 1, 0.5, 0.5, 0.3, 0.3], [1, 0, 0.4, 0.6, 0.2, 0.4]])
    parts = objective(student, images, targets)
    parts.total.backward()
    assert list(parts.items) == ["box", "obj", "cls", "response", "feature"]
    plain = Supervised(loss_of(student))(student, images, targets)
    beside = sum(float(parts.items[name]) for name in ("response", "feature")) * len(images)
    assert float(parts.total.detach()) == pytest.approx(
        float(plain.total.detach()) + beside, rel=0.05
    )  # batch norm has moved on a little
    assert all(parameter.grad is not None for parameter in (*student.parameters(), *projectors.parameters()))
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert not student.model[-1]._forward_pre_hooks  # nothing stays behind


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        (
            lambda: make(3, names=("a", "b", "c")),
            r"--teacher detects 3 classes \(a, b, c\), but the model to train has 2 \(a, b\)",
        ),
        (lambda: make(names=("b", "a")), r"classes b, a, but the model to train has a, b: their order or names differ"),
        (lambda: make(cfg="yolov5n6"), r"has the strides \[8.0, 16.0, 32.0, 64.0\]"),
        (lambda: with_anchors(make()), r"other anchors .*--noautoanchor .*--distill feature"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(teacher: Callable[[], Detector], says: str) -> None:
    student = make()
    with pytest.raises(ConfigError, match=says):
        Distilled(loss_of(student), student, teacher(), nn.ModuleList())


def test_other_anchors_do_not_matter_to_features() -> None:
    student, teacher = make(), with_anchors(make())
    Distilled(loss_of(student), student, teacher, Projectors((), ()), response=0.0, feature=1.0)
    with pytest.raises(ConfigError, match=r"at least one above 0; got 0\.0 and 0\.0"):
        Distilled(loss_of(student), student, teacher, nn.ModuleList(), response=0.0, feature=0.0)


def with_anchors(detector: Detector) -> Detector:
    set_anchors_(detector, detector.anchors * 1.5)
    return detector
