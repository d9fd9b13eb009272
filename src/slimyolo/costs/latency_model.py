"""Predicts how long a network with other widths takes, by a model that is fitted to a few timed networks.

The time of a network, as a share of the dense one's, is a sum over kinds of work, each with a coefficient that is not
negative: multiply-accumulates (separately for 1 × 1 and larger kernels, and for maps of three sizes), values written and read,
weights fetched, and values in tensors whose channels do not fill the processor's vectors. Widths count three times: as they
are, rounded up to a multiple of 8, and rounded up to a multiple of 16. The fit finds which of these explains the time.

Whole networks are timed, because a runtime fuses, reorders and schedules operations across layers, so the times of single
layers do not add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.errors import ConfigError
from slimyolo.one_line import one_line_repr

__all__ = ["ConvolutionShape", "LatencyModel", "fit_latency", "work_of"]

ALIGNMENTS = (1, 8, 16)
PLACES = (
    "large",
    "middle",
    "small",
)  # maps by their positions, relative to the largest map: 1 or 1/4 (strides 2 and 4), 1/16 (stride 8), fewer (16 and more)
SWEEPS = 3000
FLOAT = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ConvolutionShape:
    """One convolution, with a weight of [outputs, inputs / groups, height, width].

    `kernel` is height · width of the weight; `positions` is height · width of the output.
    """

    outputs: int
    inputs: int
    groups: int
    kernel: int
    positions: int


@one_line_repr
@dataclass(frozen=True)
class LatencyModel:
    """The predicted share of the dense network's time is `coefficients` · work (`work_of`).

    `error` is the mean relative error of predictions for samples that were left out of the fit, `worst` the largest one.
    """

    coefficients: tuple[float, ...]
    error: float
    worst: float
    samples: int

    def share(self, network: Sequence[ConvolutionShape]) -> float:
        """Predicted time divided by the time of the dense network."""
        return float(np.dot(work_of(network), self.coefficients))


def work_of(network: Sequence[ConvolutionShape]) -> FLOAT:
    """The amount of each kind of work in a network. The last is 1, for the time that does not depend on widths."""
    sums: dict[tuple[str, int], float] = dict.fromkeys(_KINDS, 0.0)
    largest = max(one.positions for one in network)
    for one in network:
        kernel = "1x1" if one.kernel == 1 else "kxk"
        halvings = round(math.log(largest / one.positions, 4))
        place = PLACES[min(max(halvings - 1, 0), 2)]
        for unit in ALIGNMENTS:
            outputs, inputs = _rounded(one.outputs, unit), _rounded(one.inputs // one.groups, unit)
            sums[f"macs {kernel} {place}", unit] += outputs * inputs * one.kernel * one.positions
        sums["written", 1] += one.outputs * one.positions
        sums["written", 8] += _rounded(one.outputs, 8) * one.positions
        sums["read", 1] += one.inputs * one.positions
        sums["weights", 1] += one.outputs * one.inputs // one.groups * one.kernel
        for unit in ALIGNMENTS[1:]:
            odd = one.outputs * (one.outputs % unit > 0) + one.inputs * (one.inputs % unit > 0)
            sums["odd", unit] += odd * one.positions
    return np.array([*sums.values(), 1.0])


def fit_latency(networks: Sequence[Sequence[ConvolutionShape]], shares: Sequence[float]) -> LatencyModel:
    """Fit to timed `networks` and their times as `shares` of the dense network's time.

    Non-negative least squares of relative errors. Every fifth sample in turn is left out to estimate the error.
    Raises `ConfigError` for fewer than ten samples.
    """
    if len(networks) != len(shares) or len(networks) < 10:
        raise ConfigError(f"A latency model needs 10 timed networks or more, got {len(networks)}.")
    work = np.stack([work_of(network) for network in networks])
    scale = work.max(axis=0)
    scale[scale == 0] = 1.0
    relative = work / scale / np.array(shares)[:, None]
    errors: list[float] = []
    for fold in range(5):
        left = np.arange(len(networks)) % 5 == fold
        found = _nonnegative_fit(relative[~left])
        errors.extend(np.abs(relative[left] @ found - 1).tolist())
    coefficients = _nonnegative_fit(relative) / scale
    return LatencyModel(tuple(coefficients.tolist()), float(np.mean(errors)), max(errors), len(networks))


def _nonnegative_fit(rows: FLOAT) -> FLOAT:
    """x ≥ 0 with the least squares of rows · x − 1, by cyclic coordinate descent (Franc, Hlaváč and Navara 2005)."""
    gram, target = rows.T @ rows, rows.sum(axis=0)
    gram = gram + 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))  # similar columns share a coefficient
    x = np.zeros(len(gram))
    gradient = -target
    for _ in range(SWEEPS):
        largest = 0.0
        for place in range(len(gram)):
            moved = max(0.0, x[place] - gradient[place] / gram[place, place]) - x[place]
            if moved:
                x[place] += moved
                gradient += moved * gram[:, place]
                largest = max(largest, abs(moved))
        if largest < 1e-9:
            break
    return x


def _rounded(channels: int, unit: int) -> int:
    return math.ceil(channels / unit) * unit


_KINDS = (
    *((f"macs {kernel} {place}", unit) for kernel in ("1x1", "kxk") for place in PLACES for unit in ALIGNMENTS),
    ("written", 1),
    ("written", 8),
    ("read", 1),
    ("weights", 1),
    ("odd", 8),
    ("odd", 16),
)
