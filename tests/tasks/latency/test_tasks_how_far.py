"""Closed formula: the seconds that are left follow from those that the first items took."""

from __future__ import annotations

import logging

import pytest

from slimyolo.tasks.latency.how_far import telling_how_far


def through(seconds_each: float, count: int) -> None:
    now = [0.0]
    for _ in telling_how_far(range(count), "networks written", clock=lambda: now[0]):
        now[0] += seconds_each


def test_a_long_step_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    through(6.0, 5)
    assert caplog.messages == [
        "  2 of 5 networks written, about 18 s left",
        "  4 of 5 networks written, about 6 s left",
    ]


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 9), (100.0, 1), (1.0, 0)])
def test_a_short_step_says_nothing(seconds: float, count: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    through(seconds, count)
    assert caplog.messages == []
