"""Predicts how long a cut network takes on a runtime of this machine, by a model that is fitted once and kept in a cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from slimyolo import __version__
from slimyolo.costs import (
    LatencyModel,
    Machine,
    Timing,
    describe_machine,
    fit_latency,
    time_interleaved,
)
from slimyolo.errors import StorageError
from slimyolo.models import Detector
from slimyolo.pruning import PrunePlan
from slimyolo.shown_text import counted
from slimyolo.storage import in_home, open_record, write_text
from slimyolo.tasks.latency.how_far import telling_how_far
from slimyolo.tasks.latency.networks import Networks
from slimyolo.tasks.latency.shapes import CutGroup, NetworkFacts, Shapes, cut_groups, random_shapes, shapes_after

__all__ = ["LatencyPrice", "MeasuredShare", "cache_folder"]

log = logging.getLogger("slimyolo")

CHUNK = 6  # networks timed in turn with the dense one
RUNS, WARMUP = 12, 3
FINAL_RUNS = 45
SLOW_SAMPLES = (
    24  # where each network is exported; with 24 predictions are off by 5.9 %, with 30 by 5.7, with 20 by 6.2
)
SAMPLES: Mapping[str, int] = {"onnxruntime": 60, "openvino": 40, "torch": 60, "ncnn": 20}


@dataclass(frozen=True)
class MeasuredShare:
    """A network that was timed in turn with the dense one.

    `share` is its time divided by the time of the dense network. Both are 10th percentiles, which other load disturbs least.
    """

    share: float
    timing: Timing
    dense: Timing


class LatencyPrice:
    """Predicts the milliseconds of a plan for `detector` on `runtime` with batch 1, by a fitted model.

    The first call times networks of random widths and fits the model to them, which takes seconds to a minute. The model is
    kept in `cache_folder` for this processor, runtime, image size and network. Every `LatencyPrice` times the dense network
    once. `measure` times the network of a plan instead of predicting its time.
    """

    def __init__(
        self,
        detector: Detector,
        runtime: str,
        size: tuple[int, int],
        threads: int,
        *,
        folder: Path | None = None,
        seed: int = 0,
    ) -> None:
        self.runtime, self.threads, self._seed = runtime, threads, seed
        self._folder = cache_folder() if folder is None else folder
        self._machine = describe_machine()
        self.facts = NetworkFacts.of(detector, size)
        self._networks = Networks(detector, runtime, size, threads)
        # with one thread, processor time is the wall-clock time without the time of other programs
        self._clock = time.process_time if threads == 1 else time.perf_counter
        self._model: LatencyModel | None = None
        self._dense_ms: float | None = None

    device: str | None = None  # the networks are timed here

    def __enter__(self) -> LatencyPrice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._networks.close()

    def __call__(self, plan: PrunePlan) -> float:
        """Predicted milliseconds of the network of `plan`: the median on this machine without other load."""
        model = self._fitted(cut_groups(plan.groups))
        return self.dense_ms * model.share(self.facts.network(shapes_after(self.facts.shapes, plan.groups)))

    def predicting(self, groups: Sequence[CutGroup]) -> Callable[[Shapes], float]:
        """A function (weight shapes) → predicted milliseconds, for networks in which channels of `groups` are cut."""
        model, dense = self._fitted(groups), self.dense_ms
        return lambda shapes: dense * model.share(self.facts.network(shapes))

    @property
    def dense_ms(self) -> float:
        """Median milliseconds of the dense network."""
        if self._dense_ms is None:
            with ExitStack() as opened:
                (timing,) = self._timed([opened.enter_context(self._networks.opened(self.facts.shapes))], FINAL_RUNS)
            self._dense_ms, threads = timing.median_ms, counted(self.threads, "thread")
            log.info("%s: the dense network takes %.2f ms (%s)", self.runtime, timing.median_ms, threads)
        return self._dense_ms

    @property
    def fit(self) -> LatencyModel | None:
        """The fitted model; None before the first call."""
        return self._model

    def measure(self, plan: PrunePlan) -> MeasuredShare:
        """Time the network of `plan` in turn with the dense one."""
        shapes = shapes_after(self.facts.shapes, plan.groups)
        with ExitStack() as opened:
            runs = [opened.enter_context(self._networks.opened(one)) for one in (self.facts.shapes, shapes)]
            dense, cut = self._timed(runs, FINAL_RUNS)
        return MeasuredShare(cut.low_ms / dense.low_ms, cut, dense)

    def measured_share(self, plan: PrunePlan) -> float:
        """Time the network of `plan` now; returns its time divided by the time of the dense network."""
        return self.measure(plan).share

    def _timed(self, runs: Sequence[Callable[[], object]], count: int) -> tuple[Timing, ...]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return time_interleaved(runs, runs=count, warmup=WARMUP, clock=self._clock)
        finally:
            torch.set_num_threads(before)

    def _fitted(self, groups: Sequence[CutGroup]) -> LatencyModel:
        if self._model is None:
            path = self._folder / "latency" / f"{self._key()}.json"
            self._model = _cached(path) or self._calibrated(groups, path)
            log.info(
                "latency model of %s: predictions are off by %.1f %% on average, %.1f %% at most (%s timed)",
                self.runtime,
                100 * self._model.error,
                100 * self._model.worst,
                counted(self._model.samples, "network"),
            )
        return self._model

    def _calibrated(self, groups: Sequence[CutGroup], path: Path) -> LatencyModel:
        count = SAMPLES.get(self.runtime, SLOW_SAMPLES)
        if not self._networks.quick:
            count = min(count, SLOW_SAMPLES)
        log.info("timing %s of random widths on %s, once for this machine …", counted(count, "network"), self.runtime)
        generator = np.random.default_rng(self._seed)
        samples = [random_shapes(self.facts.shapes, groups, generator) for _ in range(count)]
        shares: list[float] = []
        for start in telling_how_far(range(0, count, CHUNK), "parts of them timed"):
            with ExitStack() as opened:
                chunk = [self.facts.shapes, *samples[start : start + CHUNK]]
                dense, *others = self._timed([opened.enter_context(self._networks.opened(one)) for one in chunk], RUNS)
                shares.extend(one.low_ms / dense.low_ms for one in others)
        networks = [self.facts.network(one) for one in (self.facts.shapes, *samples)]
        model = fit_latency(networks, [1.0, *shares])
        try:
            write_text(path, json.dumps({"about": self._about(), "model": asdict(model)}, indent=1))
        except StorageError as error:  # in a read-only home folder: the model is fitted again the next time
            log.warning("the latency model could not be saved and will be fitted again the next time: %s", error)
        return model

    def _about(self) -> dict[str, object]:
        machine: Machine = self._machine
        return {
            "slimyolo": __version__,
            "processor": machine.processor,
            "cores": machine.cores,
            "instructions": list(machine.instructions),
            "threads": self.threads,
            "runtime": self.runtime,
            "versions": dict(self._networks.versions()),
            **self.facts.to_plain(),
        }

    def _key(self) -> str:
        return hashlib.sha256(json.dumps(self._about(), sort_keys=True).encode()).hexdigest()[:24]


def cache_folder() -> Path:
    """The folder ``$SLIMYOLO_CACHE`` if set, else ``slimyolo`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if given := os.environ.get("SLIMYOLO_CACHE"):
        return in_home(given)
    return in_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "slimyolo"


def _cached(path: Path) -> LatencyModel | None:
    """The model of an earlier run; None when there is none that can be read."""
    try:
        model = open_record(path, "")["model"]
        return LatencyModel(
            model["coefficients"].numbers(), model["error"].number(), model["worst"].number(), model["samples"].whole()
        )
    except StorageError:
        return None
