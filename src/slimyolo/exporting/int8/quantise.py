"""INT8 after training: which convolutions can be computed in 8 bits before the detections suffer?

Only convolutions are quantised. The last ones before the output, and the decoding behind them, always stay in floats:
pixel coordinates and probabilities in one tensor share one 8-bit scale, which leaves nothing of objectness. Further
convolutions go back to floats, the most harmful first, until the metric is within tolerance.

Weights: symmetric, one scale per filter (Krishnamoorthi 2018, arXiv:1806.08342), in 7 of the 8 bits: processors without VNNI
add two products in 16 bits, which overflow with 8. Activations: one scale per tensor, from calibration images.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from slimyolo.errors import ExportError
from slimyolo.exporting.int8.harm import convolution_harm
from slimyolo.models import Detector
from slimyolo.storage import atomic_file

__all__ = ["Accuracy", "Quantisation", "QuantisedFile", "Quantiser", "quantise_within"]

HARM_BATCHES = 8


@dataclass(frozen=True)
class Accuracy:
    """mAP of a file on the images that decide, 0–1."""

    map50: float
    map50_95: float

    def drop_to(self, other: Accuracy) -> float:
        """By how much `other` is lower, in the worse of the two metrics (negative: it is higher in both)."""
        return max(self.map50 - other.map50, self.map50_95 - other.map50_95)


@dataclass(frozen=True)
class Quantisation:
    """What quantising needs to be told.

    `images`: calibration batches [B, 3, H, W] float32 RGB 0–1, letterboxed as the file takes them; `measure` gives the
    accuracy of a file on images with truth; `tolerance` is the largest drop of mAP50 or mAP50-95 that is allowed.
    """

    images: Sequence[Tensor]
    measure: Callable[[Path], Accuracy]
    tolerance: float = 0.01


@dataclass(frozen=True, kw_only=True)
class QuantisedFile:
    """An INT8 file. `left_in_float` are the module paths of convolutions that compute in floats."""

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
    """A float file of one format, calibrated. `convolutions` are module paths, `last` those that only decoding follows."""

    convolutions: tuple[str, ...]
    last: tuple[str, ...]
    details: Mapping[str, str]

    def write(self, in_float: Collection[str], path: Path) -> None:
        """The file with all convolutions but `in_float` in 8 bits, at `path`."""


def quantise_within(
    quantiser: Quantiser, detector: Detector, source: Path, target: Path, asked: Quantisation
) -> QuantisedFile:
    """Write `target`: as much in 8 bits as the tolerance allows.

    Left in floats, besides the last convolutions: none, then the 1, 2, 4, 8 … most harmful. Stops at the first that is
    within tolerance. When half of the convolutions are back in floats and it is still not, the best is written, with a
    note. `source` is the float file of `detector`, whose convolutions are tried one by one to rank them. A file that was at
    `target` is replaced; files that belong together have its stem.
    """
    started = time.perf_counter()
    before = asked.measure(source)
    free = [name for name in quantiser.convolutions if name not in quantiser.last]
    if not free:
        raise ExportError(f"{source.name} has no convolution that could be quantised besides the last ones.")
    ranked: list[str] = []
    found: list[tuple[float, Accuracy, int, Path]] = []
    with tempfile.TemporaryDirectory(prefix="slimyolo-", ignore_cleanup_errors=True) as folder:
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
        lost = f"INT8 loses {drop:.3f} of mAP, more than the {asked.tolerance:g} allowed, with {len(left)} convolutions left in"
        notes += (f"{lost} floats. More calibration images may help: --calibration-images N.",)
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
    """A few batches, spread over all."""
    step = max(1, len(images) // HARM_BATCHES)
    return list(images[::step][:HARM_BATCHES])


def _counts(free: int) -> list[int]:
    counts, count = [0], 1
    while count <= free // 2:
        counts.append(count)
        count *= 2
    return counts
