"""Chooses the module that the loop calls: the model itself, or a compiled one if that turns out to be faster."""

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
    """The model itself, which is not compiled."""
    return model


def compile_if_it_pays(model: nn.Module) -> nn.Module:
    """A module that tries both ways and continues with the faster one; see `PayingCompilation`."""
    return PayingCompilation(model)


class PayingCompilation(nn.Module):
    """Times whole training steps, from call to call, first with `model` and then with it compiled, and keeps the faster one.

    Logs how long compiling took and after how many steps this time is saved again. `compile` and `clock` are the functions of
    torch and of the system unless given. Each process decides for itself. Both ways compute the same, apart from rounding;
    a resumed run tries again, so it is not equal to the last bit.
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
        """The outputs of the model."""
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
                "--compile: compiling took %.0f s; a step takes %.3f s instead of %.3f s, which saves this time after %d steps",
                cost,
                compiled,
                plain,
                cost / gain,
            )
            return
        self._called = (self.model,)
        log.info(
            "--compile: compiling took %.0f s, but a step takes %.3f s instead of %.3f s: training continues without it",
            cost,
            compiled,
            plain,
        )
