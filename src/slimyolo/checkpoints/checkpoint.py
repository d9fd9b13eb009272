"""The content of a checkpoint, whatever kind of file it was read from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from slimyolo.errors import CheckpointError, ModelError
from slimyolo.models import Architecture, Detector, Widths, build_detector, widths_of
from slimyolo.ranges import MOST_PIXELS, RANGES
from slimyolo.shown_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Checkpoint", "Origin", "dense_widths"]

Origin = Literal["slimyolo", "ultralytics"]

_MOST_ROWS = 1_000
_LARGEST_SIDE = int(RANGES["imgsz"][1])  # pixels
_MOST_ELEMENTS = 500_000_000  # allocated while a model is built; yolov5x6, the largest known model, has 141 million


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A detector as data: what is needed to build it, its tensors, and what is known about it.

    `tensors` and `ema` (the EMA weights, or None) map state_dict names to CPU tensors; floating-point values are float32.
    `widths` is None for a detector that was never pruned. `training` is the state to resume from, or None. `origin` names
    the program that wrote the file, and `source` is the file.
    """

    architecture: Architecture
    widths: Widths | None
    names: tuple[str, ...]
    tensors: dict[str, Tensor]
    ema: dict[str, Tensor] | None = None
    training: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    origin: Origin = "slimyolo"
    source: str = ""

    def __repr__(self) -> str:
        pruned = "" if self.widths is None else ", pruned"
        return f"Checkpoint({self.source!r}: {self.architecture.name}, {counted(len(self.names), 'class', 'classes')}{pruned})"

    @property
    def anchors(self) -> Tensor:
        """Anchors float32 ``[nl, na, 2]``, (width, height) in network pixels; ``[0]`` in families without anchors."""
        return torch.tensor(self.architecture.anchors, dtype=torch.float32)

    @property
    def imgsz(self) -> tuple[int, int] | None:
        """The (height, width) of the images for which the file was made, as far as it says: in the settings of the command
        that wrote it, or in ultralytics' ``train_args`` or YOLOv5's ``opt``."""
        about = self.provenance
        places = (about, *(about.get(key) for key in ("settings", "train_args", "opt")))
        sizes = (_image_size(place.get("imgsz")) for place in places if isinstance(place, Mapping))
        return next((size for size in sizes if size is not None), None)

    def best_tensors(self, prefer_ema: bool = True) -> dict[str, Tensor]:
        """The EMA weights when the file has them and `prefer_ema` is true, else the tensors of the trained model."""
        return self.ema if prefer_ema and self.ema is not None else self.tensors

    def without_tensors(self) -> Checkpoint:
        """What is known about the detector, without its tensors, whose memory is then free."""
        return replace(self, tensors={}, ema=None, training=None)

    def detector(self, prefer_ema: bool = True) -> Detector:
        """The detector in eval mode, float32, on the CPU. Raises `CheckpointError` when the tensors do not fit it."""
        tensors = self.best_tensors(prefer_ema)
        detector = self._built(tensors)
        _check_tensors(self.source or "The checkpoint", detector.state_dict(), tensors)
        _check_values(self.source or "The checkpoint", detector, tensors)
        detector.load_state_dict(tensors)
        detector.imgsz = self.imgsz
        return detector.eval()

    def _built(self, tensors: Mapping[str, Tensor]) -> Detector:
        source = self.source or "The checkpoint"
        rows = self.architecture.layers
        blocks = sum(max(1, round(row.repeats * self.architecture.depth_multiple)) for row in rows)
        if len(rows) > _MOST_ROWS or blocks > len(tensors) + len(rows):
            raise CheckpointError(
                f"{source} claims an architecture of {blocks:,} blocks but holds only {len(tensors):,} tensors: it is damaged. "
                "Copy or download it again."
            )
        # Without widths the built model has exactly the tensors of the file, so the size of the file is the limit.
        stored = sum(tensor.numel() for tensor in tensors.values())
        # A pruned model is built with all its channels first. Keeping 10 % of each layer leaves about 1 % of the
        # parameters; this limit still accepts 0.1 %.
        limit = 2 * stored + 1_000_000 if self.widths is None else min(_MOST_ELEMENTS, 1000 * stored + 10_000_000)
        try:
            with _allocating_at_most(limit, source):
                return build_detector(self.architecture, names=self.names, widths=self.widths, seed=0)
        except ModelError as error:
            raise CheckpointError(f"{source} does not describe a detector: {error}") from error


def _image_size(value: Any) -> tuple[int, int] | None:
    """640 or [height, width] → (height, width); None for anything that is no size of images."""
    sides = value if isinstance(value, (list, tuple)) else (value, value)
    if len(sides) == 2 and all(type(side) is int and 32 <= side <= _LARGEST_SIDE for side in sides):
        return (sides[0], sides[1]) if sides[0] * sides[1] <= MOST_PIXELS else None
    return None


def dense_widths(architecture: Architecture) -> Widths:
    """The widths of a detector of this architecture that was never pruned."""
    with _allocating_at_most(_MOST_ELEMENTS, architecture.name):
        return widths_of(build_detector(architecture, seed=0))


def _check_tensors(source: str, expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected if name not in got]
    problems += [f"{name} is not of this architecture" for name in got if name not in expected]
    problems += [
        f"{name} is {list(got[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in got and got[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        fused = any(name.endswith(".conv.bias") for name in got) and not any(".bn." in name for name in got)
        hint = (
            "Its batch norms are folded into its convolutions (it was fused): give the checkpoint from before fusing."
            if fused
            else "The architecture and the tensors in the file disagree: it was altered, or written by another program."
        )
        raise CheckpointError(f"{source} does not fit its own architecture: {shown}. {hint}")


def _check_values(source: str, detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Refuse values with which no output means anything: NaN, infinities, variances below zero."""
    variances = {f"{name}.running_var" for name, one in detector.named_modules() if isinstance(one, nn.BatchNorm2d)}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        least, most = map(float, tensor.aminmax())  # NaN when one value is; a fifth of the time of isfinite
        if math.isfinite(least) and math.isfinite(most) and (least >= 0 or name not in variances):
            continue
        wrong = int((~torch.isfinite(tensor)).sum())
        what = "are NaN or infinite"
        if not wrong and name in variances:
            wrong, what = int((tensor < 0).sum()), "are variances below zero"
        if wrong:
            raise CheckpointError(
                f"{source}: {wrong} of the {tensor.numel()} values of {name} {what}, so nothing that this model answers would "
                "mean anything. Its training went wrong, or the file is damaged: take an earlier checkpoint."
            )


@contextmanager
def _allocating_at_most(elements: int, source: str) -> Iterator[None]:
    """Refuse to build a model of more than `elements`, so that a damaged file cannot request all the memory.

    Random initial values are not drawn, because the tensors of a file replace them: what they would fill stays undefined.
    """
    with _AllocationLimit(elements, source):
        yield


_RANDOM_FILLS = (nn.init.kaiming_uniform_, nn.init.uniform_)
"""What convolutions and linear layers draw. Others stay: `trunc_normal_` draws until all values fit."""


class _AllocationLimit(TorchFunctionMode):
    # This is a function mode, because a dispatch mode imports torch's compiler, which takes two seconds.
    def __init__(self, elements: int, source: str) -> None:
        super().__init__()
        self._left = elements
        self._source = source

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.empty:
            sizes = args[0] if args and isinstance(args[0], (tuple, list)) else args
            self._left -= math.prod(int(length) for length in sizes)
            if self._left < 0:
                raise CheckpointError(
                    f"{self._source} describes a model far larger than it can be, so it is not built. Copy or download it again."
                )
        if func in _RANDOM_FILLS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
