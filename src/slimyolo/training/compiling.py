"""Which module the loop calls: the model as it is, or a compiled one where that turns out to be faster."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["PayingCompilation", "compile_if_it_pays", "eager"]

log = logging.getLogger("slimyolo")

_WARM_UP, _TIMED = 2, 6  # calls


def eager(model: nn.Module) -> nn.Module:
    """The model as it is."""
    return model


def compile_if_it_pays(model: nn.Module) -> nn.Module:
    """A module that tries both ways and goes on with the faster one; see `PayingCompilation`."""
    return PayingCompilation(model)


class PayingCompilation(nn.Module):
    """Times whole training steps, from call to call, first with `model` and then compiled; keeps what is faster.

    Logs how long compiling took and after how many steps that time is won back. `compile` and `clock` are torch's and the
    system's. Each process decides for itself; both ways compute the same, but for rounding, so a resumed run, which tries
    again, is not equal to the last bit.
    """

    def __init__(
        self,
        model: nn.Module,
        compile: Callable[[nn.Module], Any] = torch.compile,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self.model = model
        self._compile, self._clock = compile, clock
        self._called: tuple[Any] = (model,)  # in a tuple, or it would be registered as a second submodule
        self._laps: list[float] = []
        self._last = 0.0
        self._plain_seconds: float | None = None
        self._decided = False

    def forward(self, images: torch.Tensor) -> Any:
        """What the model answers."""
        if not self._decided:
            self._look_at_the_clock()
        return self._called[0](images)

    def _look_at_the_clock(self) -> None:
        if self.model.training and next(self.model.parameters()).device.type == "cuda":
            torch.cuda.synchronize()  # for these few steps only
        now = self._clock()
        self._laps.append(now - self._last)
        self._last = now
        if len(self._laps) <= _WARM_UP + _TIMED:  # the first lap is the time before the first call
            return
        seconds = statistics.median(self._laps[1 + _WARM_UP :])
        if self._plain_seconds is None:
            self._plain_seconds, self._laps = seconds, []
            self._called = (self._compile(self.model),)
            self._last = self._clock()
            return
        self._decide(self._plain_seconds, seconds, sum(self._laps[: 1 + _WARM_UP]))

    def _decide(self, plain: float, compiled: float, first_steps: float) -> None:
        self._decided = True
        cost, gain = first_steps - (1 + _WARM_UP) * compiled, plain - compiled
        if gain > 0:
            log.info(
                "--compile: %.0f s to compile; a step takes %.3f s instead of %.3f: won back after %d steps",
                cost,
                compiled,
                plain,
                cost / gain,
            )
            return
        self._called = (self.model,)
        log.info(
            "--compile: %.0f s to compile, but a step takes %.3f s instead of %.3f: going on without",
            cost,
            compiled,
            plain,
        )
