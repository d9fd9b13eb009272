"""Property: the response term of anchor-free heads is 0 for equal answers, above 0 otherwise, and weighs by the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from slimyolo.families.yolov8.distillation import response_terms

STRIDES = (8.0, 16.0)


def raw_maps(reg_max: int, seed: int, nc: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(2, 4 * reg_max + nc, side, side, generator=generator) for side in (4, 2)]
    if reg_max == 1:  # the channels are distances: boxes are to have an area
        for level in maps:
            level[:, :4] = level[:, :4].abs() + 1
    return maps


def total(student: Sequence[Tensor], teacher: Sequence[Tensor], reg_max: int) -> Tensor:
    terms = response_terms(student, teacher, STRIDES, reg_max)
    return terms.box + terms.cls + terms.sides


@pytest.mark.parametrize("reg_max", [1, 8])
def test_equal_answers_cost_nothing_and_others_something(reg_max: int) -> None:
    teacher = raw_maps(reg_max, 0)
    same = response_terms(teacher, teacher, STRIDES, reg_max)
    for value in (same.box, same.cls, same.sides):
        assert abs(float(value)) < 1e-5
    other = response_terms(raw_maps(reg_max, 1), teacher, STRIDES, reg_max)
    for value in (other.box, other.cls, other.sides):
        assert float(value) > 1e-3


@pytest.mark.parametrize("reg_max", [1, 8])
def test_gradients_go_to_the_student_alone_and_lead_to_the_teacher(reg_max: int) -> None:
    teacher = [level.requires_grad_() for level in raw_maps(reg_max, 0)]
    student = [(level + 0.3).detach().requires_grad_() for level in raw_maps(reg_max, 1)]
    first = float(total(student, teacher, reg_max).detach())
    optimizer = torch.optim.Adam(student, lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        total(student, teacher, reg_max).backward()
        optimizer.step()
    assert float(total(student, teacher, reg_max).detach()) < 0.3 * first
    assert all(level.grad is None for level in teacher)


def test_boxes_of_positions_in_which_the_teacher_sees_nothing_hardly_count() -> None:
    teacher = raw_maps(8, 0)
    for level in teacher:
        level[:, 32:] = -20.0
    terms = response_terms(raw_maps(8, 1), teacher, STRIDES, 8)
    assert float(terms.box) < 1e-6
    assert float(terms.sides) < 1e-6
    assert float(terms.cls) > 1.0  # what the student sees there is wrong
