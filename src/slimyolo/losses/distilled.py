"""The objective of distillation: ordinary supervision, and a teacher beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.losses.distillation import channel_wise_divergence, response_terms
from slimyolo.losses.objectives import EpochOfRun, LossParts
from slimyolo.models import Detector

if TYPE_CHECKING:
    from slimyolo.families.yolov5.loss import DetectionLoss

__all__ = ["DISTILLATION_TERMS", "Distilled", "Projectors", "check_teacher", "neck_widths"]

DISTILLATION_TERMS = ("response", "feature")
_TEMPERATURE = 4.0  # of the feature term: Shu et al., §4.2


class Projectors(nn.ModuleList):
    """A 1 × 1 convolution per level from the student's neck width to the teacher's; where these are equal, nothing."""

    def __init__(self, student: Sequence[int], teacher: Sequence[int], seed: int = 0) -> None:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            super().__init__(
                nn.Identity() if own == wanted else nn.Conv2d(own, wanted, 1, bias=False)
                for own, wanted in zip(student, teacher, strict=True)
            )


class Distilled:
    """``supervised(...)`` + B · (response weight · response + feature weight · feature), of one forward pass.

    `student` is the model being trained (the loop may call a wrapper of it), `teacher` a fixed detector of the same
    classes, anchors and strides. `response` and `feature` weigh the terms; 0 leaves one out. The response terms have the
    gains of `loss` and its weights of levels, so that a weight of 1 makes the teacher's word count about as much as the
    labels'. Feature: the mean over levels of `channel_wise_divergence` of what goes into the head, the student's through
    `projectors` (see `Projectors`; they are trained beside the model).

    The terms are means over the images of this process; of several processes' equal shares their mean is that of all.
    """

    def __init__(
        self,
        loss: DetectionLoss,
        student: Detector,
        teacher: Detector,
        projectors: nn.ModuleList,
        *,
        response: float = 1.0,
        feature: float = 0.0,
    ) -> None:
        if response < 0 or feature < 0 or response + feature == 0:
            raise ConfigError(
                f"Weights of distillation must be 0 or more, and one of them above 0; got {response} and {feature}."
            )
        check_teacher(student, teacher, boxes=response > 0)
        self._loss, self._student, self._teacher = loss, student, teacher.eval().requires_grad_(False)
        self._response, self._feature = response, feature
        self.projectors = projectors

    def __call__(
        self, model: nn.Module, images: Tensor, targets: Tensor, progress: EpochOfRun | None = None
    ) -> LossParts:
        """`images` float ``[B, 3, H, W]`` in 0–1; `targets` ``[N, 6]`` = image, class, relative cxcywh."""
        with _Tap(self._student) as own:
            heads = model(images)
        if isinstance(heads, Tensor):
            raise TrainingError(
                "The model returned decoded boxes instead of heads: call model.train() before training."
            )
        with torch.no_grad(), _Tap(self._teacher) as wanted:
            answers = self._teacher.heads(images)
        parts = self._loss(heads, targets, progress)
        total, items = parts.total, dict(parts.items)
        if self._response > 0:
            value = self._response * self._response_term(heads, answers)
            total, items["response"] = total + value * len(images), value.detach()
        if self._feature > 0:
            value = self._feature * self._feature_term(own.features, wanted.features)
            total, items["feature"] = total + value * len(images), value.detach()
        return LossParts(total, items)

    def _response_term(self, heads: Sequence[Tensor], answers: Sequence[Tensor]) -> Tensor:
        value, gains = heads[0].new_zeros((), dtype=torch.float32), self._loss.gains
        for head, answer, weight in zip(heads, answers, self._loss.level_weights, strict=True):
            terms = response_terms(head, answer)
            value = value + gains["box"] * terms.box + gains["cls"] * terms.cls + gains["obj"] * weight * terms.obj
        return value

    def _feature_term(self, own: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        levels = [
            channel_wise_divergence(projector(level), goal, _TEMPERATURE)
            for projector, level, goal in zip(self.projectors, own, wanted, strict=True)
        ]
        return torch.stack(levels).mean()


def check_teacher(student: Detector, teacher: Detector, *, boxes: bool = True) -> None:
    """Raise `ConfigError` unless `teacher` can teach `student`: the same classes and levels; for `boxes`, anchors too."""
    if teacher.nc != student.nc:
        raise ConfigError(
            f"--teacher detects {teacher.nc} classes ({_shown(teacher.names)}), the model to train {student.nc} "
            f"({_shown(student.names)}). Give a teacher that was trained on the same data."
        )
    if tuple(teacher.names) != tuple(student.names):
        raise ConfigError(
            f"--teacher has the classes {_shown(teacher.names)}, the model to train {_shown(student.names)}: their order or "
            f"names differ. Give a teacher that was trained on the same data."
        )
    if teacher.stride.tolist() != student.stride.tolist():
        raise ConfigError(
            f"--teacher has heads at strides {teacher.stride.tolist()}, the model to train at {student.stride.tolist()}: "
            f"they cannot be compared. Give a teacher of the same family, such as the model before the cut."
        )
    if boxes and (teacher.anchors.shape != student.anchors.shape or not _close(teacher.anchors, student.anchors)):
        raise ConfigError(
            "--teacher has other anchors than the model to train, so their boxes cannot be compared position by position. "
            "Use --noautoanchor to keep the model's own anchors, or --distill feature."
        )


def neck_widths(detector: Detector) -> tuple[int, ...]:
    """Channels that go into the head, level by level."""
    return tuple(module.in_channels for module in detector.head.m if isinstance(module, nn.Conv2d))


class _Tap:
    """Keeps what goes into the head of a detector while the context lasts."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.features: Sequence[Tensor] = ()

    def __enter__(self) -> _Tap:
        self._handle = self._detector.head.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.features = list(inputs[0])


def _close(first: Tensor, second: Tensor) -> bool:
    return bool(torch.allclose(first.cpu(), second.cpu(), rtol=1e-3))


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
