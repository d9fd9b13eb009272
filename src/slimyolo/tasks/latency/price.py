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
    ConvolutionShape,
    LatencyModel,
    Machine,
    Timing,
    describe_machine,
    fit_latency,
    model_cost,
    time_interleaved,
)
from slimyolo.errors import StorageError
from slimyolo.models import Detector
from slimyolo.pruning import GroupPlan, PrunePlan
from slimyolo.storage import write_text
from slimyolo.tasks.latency.networks import Networks

__all__ = ["LatencyPrice", "MeasuredShare", "cache_folder", "shapes_after"]

log = logging.getLogger("slimyolo")

Shapes = Mapping[str, tuple[int, ...]]
"""Maps the module path of each convolution to the shape of its weight."""
CHUNK = 6  # networks timed in turn with the dense one
RUNS, WARMUP = 12, 3
FINAL_RUNS = 45
SAMPLES: Mapping[str, int] = {"onnxruntime": 60, "openvino": 40, "torch": 60, "ncnn": 20}
LEAST = 0.1


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
        self._detector, self.runtime, self._size, self.threads, self._seed = detector, runtime, size, threads, seed
        self._folder = cache_folder() if folder is None else folder
        self._machine = describe_machine()
        fused = detector.fused()  # the file has no convolutions that are merged, or that only training reads
        self._facts = _convolution_facts(fused, size)
        self._dense_shapes = {path: shape for path, shape in _dense_shapes(fused).items() if path in self._facts}
        self._networks = Networks(detector, runtime, size, threads)
        # with one thread, processor time is the wall-clock time without the time of other programs
        self._clock = time.process_time if threads == 1 else time.perf_counter
        self._model: LatencyModel | None = None
        self._dense_ms: float | None = None

    def __enter__(self) -> LatencyPrice:
        return self

    def __exit__(self, *_: object) -> None:
        self._networks.close()

    def __call__(self, plan: PrunePlan) -> float:
        """Predicted milliseconds of the network of `plan`: the median on this machine without other load."""
        model = self._fitted(plan.groups)
        return self.dense_ms * model.share(self._network(shapes_after(self._dense_shapes, plan.groups)))

    @property
    def dense_ms(self) -> float:
        """Median milliseconds of the dense network."""
        if self._dense_ms is None:
            with ExitStack() as opened:
                (timing,) = self._timed([opened.enter_context(self._networks.opened(self._dense_shapes))], FINAL_RUNS)
            self._dense_ms = timing.median_ms
            log.info("%s: the dense network takes %.2f ms (%d threads)", self.runtime, timing.median_ms, self.threads)
        return self._dense_ms

    @property
    def fit(self) -> LatencyModel | None:
        """The fitted model; None before the first call."""
        return self._model

    def measure(self, plan: PrunePlan) -> MeasuredShare:
        """Time the network of `plan` in turn with the dense one."""
        shapes = shapes_after(self._dense_shapes, plan.groups)
        with ExitStack() as opened:
            runs = [opened.enter_context(self._networks.opened(one)) for one in (self._dense_shapes, shapes)]
            dense, cut = self._timed(runs, FINAL_RUNS)
        return MeasuredShare(cut.low_ms / dense.low_ms, cut, dense)

    def measured_share(self, plan: PrunePlan) -> float:
        """Time the network of `plan` now; returns its time divided by the time of the dense network."""
        return self.measure(plan).share

    def _network(self, shapes: Shapes) -> list[ConvolutionShape]:
        return [
            ConvolutionShape(shape[0], shape[1] * groups, groups, shape[2] * shape[3], positions)
            for shape, (groups, positions) in (
                (shape, _grouped(shape, *self._facts[path])) for path, shape in sorted(shapes.items())
            )
        ]

    def _timed(self, runs: Sequence[Callable[[], object]], count: int) -> tuple[Timing, ...]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return time_interleaved(runs, runs=count, warmup=WARMUP, clock=self._clock)
        finally:
            torch.set_num_threads(before)

    def _fitted(self, groups: Sequence[GroupPlan]) -> LatencyModel:
        if self._model is None:
            path = self._folder / "latency" / f"{self._key()}.json"
            self._model = _cached(path) or self._calibrated(groups, path)
            log.info(
                "latency model of %s: predictions are off by %.1f %% on average, %.1f %% at most (%d networks timed)",
                self.runtime,
                100 * self._model.error,
                100 * self._model.worst,
                self._model.samples,
            )
        return self._model

    def _calibrated(self, groups: Sequence[GroupPlan], path: Path) -> LatencyModel:
        count = SAMPLES[self.runtime]
        log.info("timing %d networks of random widths on %s, once for this machine …", count, self.runtime)
        generator = np.random.default_rng(self._seed)
        samples = [_random_shapes(self._dense_shapes, groups, generator) for _ in range(count)]
        shares: list[float] = []
        for start in range(0, count, CHUNK):
            with ExitStack() as opened:
                chunk = [self._dense_shapes, *samples[start : start + CHUNK]]
                dense, *others = self._timed([opened.enter_context(self._networks.opened(one)) for one in chunk], RUNS)
                shares.extend(one.low_ms / dense.low_ms for one in others)
        networks = [self._network(one) for one in (self._dense_shapes, *samples)]
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
            "size": list(self._size),
            "activation": self._detector.architecture.activation,
            "network": {path: list(shape) for path, shape in self._dense_shapes.items()},
            "positions": {path: list(fact) for path, fact in self._facts.items()},
        }

    def _key(self) -> str:
        return hashlib.sha256(json.dumps(self._about(), sort_keys=True).encode()).hexdigest()[:24]


def cache_folder() -> Path:
    """The folder ``$SLIMYOLO_CACHE`` if set, else ``slimyolo`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if given := os.environ.get("SLIMYOLO_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "slimyolo"


def shapes_after(dense: Shapes, groups: Sequence[GroupPlan]) -> dict[str, tuple[int, ...]]:
    """The weight shapes of the convolutions that a plan's `groups` leave."""
    return _shapes_without(dense, groups, [group.width - len(group.kept) for group in groups])


def _shapes_without(dense: Shapes, groups: Sequence[GroupPlan], gone: Sequence[int]) -> dict[str, tuple[int, ...]]:
    left = {path: list(shape) for path, shape in dense.items()}
    for group, count in zip(groups, gone, strict=True):
        for member in group.members:
            path = member.tensor.removesuffix(".weight")
            if path in left and member.tensor.endswith(".weight"):
                left[path][member.axis] -= count * len(member.index[0])
    return {path: tuple(shape) for path, shape in left.items()}


def _random_shapes(
    dense: Shapes, groups: Sequence[GroupPlan], generator: np.random.Generator
) -> dict[str, tuple[int, ...]]:
    """Weight shapes of a network of random widths.

    A share of channels to keep is drawn for the whole network, and a slope that changes it with depth; each layer varies
    around the result. The widths of some networks are multiples of 8 or 16.
    """
    usual, slope = generator.uniform(0.25, 1.0), generator.normal(0, 0.8)
    unit = int(generator.choice((1, 1, 8, 8, 16)))
    gone = []
    for place, group in enumerate(groups):
        depth = place / max(len(groups) - 1, 1) - 0.5
        share = float(np.clip(usual * np.exp(slope * depth + generator.normal(0, 0.3)), LEAST, 1.0))
        kept = max(1, round(group.width * share / unit) * unit)
        gone.append(group.width - min(kept, group.width))
    return _shapes_without(dense, groups, gone)


def _dense_shapes(detector: Detector) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(module.weight.shape)
        for name, module in detector.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    }


def _convolution_facts(detector: Detector, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """For each convolution that runs: its number of groups, and the number of positions of its output at `size`."""
    macs = {layer.name: layer.macs for layer in model_cost(detector, size, forward=detector.heads).layers}
    return {
        name: (module.groups, macs[name] // module.weight.numel())
        for name, module in detector.named_modules()
        if isinstance(module, torch.nn.Conv2d) and macs[name] > 0
    }


def _grouped(shape: tuple[int, ...], groups: int, positions: int) -> tuple[int, int]:
    """(groups, positions): a depthwise convolution has as many groups as channels, however many are left."""
    return (shape[0] if groups > 1 and shape[1] == 1 else groups), positions


def _cached(path: Path) -> LatencyModel | None:
    """The model of an earlier run; None when there is none that can be read."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))["model"]
        return LatencyModel(
            tuple(float(one) for one in plain["coefficients"]),
            float(plain["error"]),
            float(plain["worst"]),
            int(plain["samples"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
