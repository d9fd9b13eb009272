"""INT8 after training: computes as many convolutions in 8 bits as the accuracy allows.

Only convolutions are quantised. The last convolutions before the output and the decoding after them always stay in float:
pixel coordinates and probabilities are in one tensor with one 8-bit scale, and with it the objectness would be lost. More
convolutions are put back to float, the most harmful first, until the loss of mAP is within the tolerance.

Weights are symmetric, with one scale per filter (Krishnamoorthi 2018, arXiv:1806.08342), and use 7 of the 8 bits: processors
without VNNI add two products in 16 bits, which would overflow with 8. Activations have one scale per tensor, from
calibration images.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from slimyolo.errors import ExportError
from slimyolo.exporting.int8.harm import convolution_harm
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.storage import atomic_file, temporary_folder

__all__ = ["Accuracy", "Quantisation", "QuantisedFile", "Quantiser", "quantise_within"]

HARM_BATCHES = 8


@dataclass(frozen=True)
class Accuracy:
    """The mAP (0–1) of a file on the validation images."""

    map50: float
    map50_95: float

    def drop_to(self, other: Accuracy) -> float:
        """How much lower `other` is, in the worse of the two metrics. Negative when it is higher in both."""
        return max(self.map50 - other.map50, self.map50_95 - other.map50_95)


@dataclass(frozen=True)
class Quantisation:
    """The settings of a quantisation.

    `images` are calibration batches [B, 3, H, W] float32 RGB 0–1, letterboxed to the size that the file takes. `measure`
    returns the accuracy of a file on labelled images. `tolerance` is the largest drop of mAP50 or mAP50-95 allowed.
    """

    images: Sequence[Tensor]
    measure: Callable[[Path], Accuracy]
    tolerance: float = 0.01


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class QuantisedFile:
    """An INT8 file that was written. `left_in_float` are the module paths of the convolutions that stay in float."""

    path: Path
    bytes: int
    quantised: int
    left_in_float: tuple[str, ...]
    before: Accuracy
    after: Accuracy
    calibration_images: int
    details: Mapping[str, str]
    notes: tuple[str, ...]
    seconds: float


class Quantiser(Protocol):
    """Quantises a calibrated float file of one format.

    `convolutions` are the module paths of all convolutions; `last` are those that are followed only by the decoding.
    """

    convolutions: tuple[str, ...]
    last: tuple[str, ...]
    details: Mapping[str, str]

    def write(self, in_float: Collection[str], path: Path) -> None:
        """Write the file to `path`, with all convolutions in 8 bits except those `in_float`."""


def quantise_within(
    quantiser: Quantiser, detector: Detector, source: Path, target: Path, asked: Quantisation
) -> QuantisedFile:
    """Write `target` with as many convolutions in 8 bits as the tolerance allows.

    The last convolutions always stay in float. Besides them, first none, then the 1, 2, 4, 8 … most harmful ones stay in
    float, until the loss is within the tolerance. If it is still too large with half of the convolutions in float, the best
    file is written, with a note. `source` is the float file of `detector`; the convolutions of `detector` are rounded one by
    one to rank them. A file that was at `target` is replaced; files that belong to it have the same stem.
    """
    started = time.perf_counter()
    before = asked.measure(source)
    free = [name for name in quantiser.convolutions if name not in quantiser.last]
    if not free:
        raise ExportError(f"{source.name} has no convolution that could be quantised besides the last ones.")
    ranked: list[str] = []
    found: list[tuple[float, Accuracy, int, Path]] = []
    with temporary_folder() as folder:
        for count in _counts(len(free)):
            if count and not ranked:
                harm = convolution_harm(detector, _some(asked.images))
                ranked = sorted(free, key=lambda name: -harm.get(name, 0.0))
            draft = Path(folder) / str(count) / f"draft{target.suffix}"
            draft.parent.mkdir()
            quantiser.write((*quantiser.last, *ranked[:count]), draft)
            after = asked.measure(draft)
            found.append((before.drop_to(after), after, count, draft))
            if found[-1][0] <= asked.tolerance:
                break
        drop, after, count, draft = min(found, key=lambda one: (one[0] > asked.tolerance, one[0]))
        target.parent.mkdir(parents=True, exist_ok=True)
        for part in draft.parent.iterdir():
            place = target.with_name(target.stem + part.name.removeprefix("draft"))
            with part.open("rb") as content, atomic_file(place) as file:
                shutil.copyfileobj(content, file)
    left = {*quantiser.last, *ranked[:count]}
    notes: tuple[str, ...] = ()
    if drop > asked.tolerance:
        lost = f"INT8 loses {drop:.3f} of mAP, more than the {asked.tolerance:g} allowed, even with {len(left)} convolutions"
        notes += (f"{lost} in float. More calibration images may help: --calibration-images N.",)
    return QuantisedFile(
        path=target,
        bytes=target.stat().st_size,
        quantised=len(quantiser.convolutions) - len(left),
        left_in_float=tuple(name for name in quantiser.convolutions if name in left),
        before=before,
        after=after,
        calibration_images=sum(len(batch) for batch in asked.images),
        details=quantiser.details,
        notes=notes,
        seconds=time.perf_counter() - started,
    )


def _some(images: Sequence[Tensor]) -> list[Tensor]:
    """A few batches, taken evenly from all."""
    step = max(1, len(images) // HARM_BATCHES)
    return list(images[::step][:HARM_BATCHES])


def _counts(free: int) -> list[int]:
    counts, count = [0], 1
    while count <= free // 2:
        counts.append(count)
        count *= 2
    return counts
