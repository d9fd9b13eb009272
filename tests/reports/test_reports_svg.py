"""Table of cases: ticks, ranges, interrupted lines and the places of labels."""

from __future__ import annotations

import math

import pytest

from slimyolo.reports.svg import Chart, finite_range, nice_ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.5, 30.5, (5, 10, 15, 20, 25, 30)),
        (0, 0.0034, (0, 0.001, 0.002, 0.003)),
        (-1, 1, (-1, -0.5, 0, 0.5, 1)),
        (3, 3, (3,)),  # one value
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("values", "zero", "expected"),
    [
        ([], False, (0, 1)),
        ([None, math.nan, math.inf], False, (0, 1)),
        ([1.0, 2.0, None], False, (0.94, 2.06)),
        ([1.0, 2.0], True, (0, 2.12)),
        ([0.0], True, (0, 0.06)),
    ],
)
def test_ranges(values: list[float | None], zero: bool, expected: tuple[float, float]) -> None:
    assert finite_range(values, zero=zero) == pytest.approx(expected)


def test_a_line_breaks_where_nothing_was_measured() -> None:
    chart = Chart(title="t", x=(0, 5), y=(0, 1), x_label="x", y_label="y")
    chart.line([(0, 0.1), (1, 0.2), (2, None), (3, 0.4), (4, math.nan), (5, 9.0)], 0)
    drawn = str(chart.svg())
    assert drawn.count("<polyline") == 1
    assert drawn.count("<circle") == 2
    assert 'cy="10.0"' in drawn  # a value above the range is drawn at its edge


def test_words_keep_clear_of_one_another_and_are_escaped() -> None:
    chart = Chart(title="a < b", x=(0, 1), y=(0, 1), x_label="x & y", y_label="y")
    for _ in range(20):
        chart.label(0.5, 0.5, "<finetuned>")
    drawn = str(chart.svg())
    assert 1 < drawn.count("&lt;finetuned&gt;") < 20
    assert 'aria-label="a &lt; b"' in drawn
    assert "x &amp; y" in drawn
