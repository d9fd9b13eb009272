"""Closed formula: times made by a known rule are predicted for networks that were not timed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slimyolo.costs import ConvolutionShape, fit_latency
from slimyolo.errors import ConfigError

PLACES = ((6400, 9), (1600, 1), (1600, 9), (400, 9), (100, 1))


def network(widths: tuple[int, ...]) -> list[ConvolutionShape]:
    inputs = (3, *widths[:-1])
    return [
        ConvolutionShape(wide, narrow, 1, kernel, positions)
        for wide, narrow, (positions, kernel) in zip(widths, inputs, PLACES, strict=True)
    ]


def milliseconds(one: list[ConvolutionShape], unit: int) -> float:
    """A runtime that computes whole vectors of `unit` channels."""
    aligned = [
        math.ceil(c.outputs / unit) * unit * math.ceil(c.inputs / unit) * unit * c.kernel * c.positions for c in one
    ]
    return 0.3 + sum(aligned) / 4e6 + sum(c.outputs * c.positions for c in one) / 2e6


@pytest.mark.parametrize("unit", [1, 8, 16])
def test_a_known_rule_is_learned(unit: int) -> None:
    generator = np.random.default_rng(0)
    networks = [network(tuple(int(w) for w in generator.integers(4, 129, 5))) for _ in range(60)]
    dense = milliseconds(network((128,) * 5), unit)
    found = fit_latency(networks, [milliseconds(one, unit) / dense for one in networks])
    assert found.error < 0.01
    for widths in ((32, 64, 64, 128, 128), (33, 65, 17, 100, 90), (16, 16, 16, 16, 16)):
        assert found.share(network(widths)) == pytest.approx(milliseconds(network(widths), unit) / dense, rel=0.03)
    wide, odd = found.share(network((64,) * 5)), found.share(network((57,) * 5))
    assert odd == pytest.approx(wide, rel=0.02) if unit > 1 else odd < 0.9 * wide


def test_too_few_networks() -> None:
    with pytest.raises(ConfigError, match="A latency model needs 10 timed networks or more, got 3"):
        fit_latency([network((8,) * 5)] * 3, [1.0] * 3)
