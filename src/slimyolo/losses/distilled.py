"""The objective of distillation: the ordinary loss against the labels, plus terms that compare with a teacher."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.losses.distillation import channel_wise_divergence
from slimyolo.losses.objectives import EpochOfRun, LossParts
from slimyolo.models import Detector, DetectorLoss
from slimyolo.shown_text import counted

__all__ = ["DISTILLATION_TERMS", "Distilled", "Projectors", "check_teacher", "neck_widths"]

DISTILLATION_TERMS = ("response", "feature")
_TEMPERATURE = 4.0  # of the feature term: Shu et al., §4.2


class Projectors(nn.ModuleList):
    """For each level, a 1 × 1 convolution from the student's neck width to the teacher's, or an identity when these are equal."""

    def __init__(self, student: Sequence[int], teacher: Sequence[int], seed: int = 0) -> None:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            super().__init__(
                nn.Identity() if own == wanted else nn.Conv2d(own, wanted, 1, bias=False)
                for own, wanted in zip(student, teacher, strict=True)
            )


class Distilled:
    """``supervised(...)`` + B · (response weight · response + feature weight · feature), from one forward pass.

    `student` is the model being trained (the loop may call a wrapper of it); `teacher` is a fixed detector of the same
    family, classes and strides. `response` and `feature` are the weights of the two terms; a term with weight 0 is not
    computed. The response term comes from the family (`Family.make_response`). The feature term is the mean over levels of
    `channel_wise_divergence` between the inputs of the two heads; those of the student pass through `projectors` first (see
    `Projectors`), which are trained together with the model.

    The terms are means over the images of this process. All processes have equally many images, so the mean of their terms
    is the mean over all images.
    """

    def __init__(
        self,
        loss: DetectorLoss,
        student: Detector,
        teacher: Detector,
        projectors: nn.ModuleList,
        *,
        response: float = 1.0,
        feature: float = 0.0,
    ) -> None:
        if response < 0 or feature < 0 or response + feature == 0:
            raise ConfigError(
                f"The weights of distillation must be 0 or more, and at least one above 0; got {response} and {feature}."
            )
        check_teacher(student, teacher)
        self._response_term = student.family.make_response(student, teacher, loss) if response > 0 else None
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
                "The model returned decoded rows instead of its raw output: call model.train() before training."
            )
        with torch.no_grad(), _Tap(self._teacher) as wanted:
            answers = self._teacher.heads(images)
        parts = self._loss(heads, targets, progress)
        total, items = parts.total, dict(parts.items)
        if self._response_term is not None:
            value = self._response * self._response_term(heads, answers)
            total, items["response"] = total + value * len(images), value.detach()
        if self._feature > 0:
            value = self._feature * self._feature_term(own.features, wanted.features)
            total, items["feature"] = total + value * len(images), value.detach()
        return LossParts(total, items)

    def _feature_term(self, own: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        levels = [
            channel_wise_divergence(projector(level), goal, _TEMPERATURE)
            for projector, level, goal in zip(self.projectors, own, wanted, strict=True)
        ]
        return torch.stack(levels).mean()


def check_teacher(student: Detector, teacher: Detector) -> None:
    """Raise `ConfigError` unless `teacher` can teach `student`: the same family, classes and strides."""
    if teacher.family != student.family:
        raise ConfigError(
            f"--teacher is a {teacher.family.title} detector, but the model to train is {student.family.title}: their "
            "outputs cannot be compared. Give a teacher of the same family, such as the model before pruning."
        )
    if teacher.nc != student.nc:
        raise ConfigError(
            f"--teacher detects {counted(teacher.nc, 'class', 'classes')} ({_shown(teacher.names)}), but the model to "
            f"train has {student.nc} "
            f"({_shown(student.names)}). Give a teacher that was trained on the same data."
        )
    if tuple(teacher.names) != tuple(student.names):
        raise ConfigError(
            f"--teacher has the classes {_shown(teacher.names)}, but the model to train has {_shown(student.names)}: their "
            "order or names differ. Give a teacher that was trained on the same data."
        )
    if teacher.stride.tolist() != student.stride.tolist():
        raise ConfigError(
            f"--teacher has the strides {teacher.stride.tolist()}, but the model to train has {student.stride.tolist()}: "
            "their outputs cannot be compared. Give a teacher of the same family, such as the model before pruning."
        )


def neck_widths(detector: Detector) -> tuple[int, ...]:
    """The number of channels that go into the head at each level, found by running one small image."""
    probe = copy.deepcopy(detector).eval()
    like, side = next(probe.parameters()), probe.head.largest_stride
    with torch.no_grad():
        levels = probe.features(torch.zeros(1, 3, side, side, dtype=like.dtype, device=like.device))
    return tuple(level.shape[1] for level in levels)


class _Tap:
    """A context that keeps the inputs of a detector's head as `features`."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.features: Sequence[Tensor] = ()

    def __enter__(self) -> _Tap:
        self._handle = self._detector.model[-1].register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.features = list(inputs[0])


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
