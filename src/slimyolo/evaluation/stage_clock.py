"""Measures how long the stages of an evaluation take."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

__all__ = ["StageClock", "StageSpeed"]


@dataclass(frozen=True)
class StageSpeed:
    """Mean milliseconds per image of each stage: copy to the device and convert to floats, model, NMS, and matching."""

    prepare_ms: float
    infer_ms: float
    suppress_ms: float
    match_ms: float

    @property
    def total_ms(self) -> float:
        """The sum of all stages, without the time to read the images."""
        return self.prepare_ms + self.infer_ms + self.suppress_ms + self.match_ms


class StageClock:
    """Adds up the seconds of each stage. Each reading waits until the device has finished its work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = {"prepare": 0.0, "infer": 0.0, "suppress": 0.0, "match": 0.0}
        self._last = 0.0

    def start(self) -> None:
        """Start a new reading; the time since the last reading belongs to no stage."""
        self._last = self._now()

    def lap(self, stage: str) -> None:
        """Add the time since the last reading to `stage`."""
        now = self._now()
        self._seconds[stage] += now - self._last
        self._last = now

    def per_image(self, images: int) -> StageSpeed:
        """The times so far, divided by the number of `images`."""
        return StageSpeed(**{f"{stage}_ms": 1000 * seconds / images for stage, seconds in self._seconds.items()})

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
