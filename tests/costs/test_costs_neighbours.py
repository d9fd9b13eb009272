"""Closed formula: work of other programs between two moments; table of cases: when the user is warned."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from slimyolo.costs import NeighbourWatch, ProcessorTime, busy_neighbours, neighbour_warning, read_processor_time
from slimyolo.tasks.train import run


def moment(at: float, everything: float, own: float, processors: int = 2) -> ProcessorTime:
    return ProcessorTime(at=at, all_programs=everything, this_process=own, processors=processors)


@pytest.mark.parametrize(
    ("since", "now", "expected"),
    [
        (moment(0, 100, 1), moment(2, 104, 2), 1.5),  # 4 s of work in 2 s, of which 1 s is ours
        (moment(0, 100, 1), moment(2, 102, 3), 0.0),
        (moment(0, 100, 1), moment(2, 101.99, 3), 0.0),  # the kernel's hundredths
        (moment(0, 100, 1), moment(2, 110, 1), 2.0),
        (moment(0, 100, 1), moment(0.2, 101, 1), None),  # too short to count
        (None, moment(2, 1, 1), None),
        (moment(0, 1, 1), None, None),
    ],
)
def test_busy_processors_are_work_of_others_by_time(
    since: ProcessorTime | None, now: ProcessorTime | None, expected: float | None
) -> None:
    assert busy_neighbours(since, now) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("busy", "threads", "processors", "warned"),
    [
        (None, 2, 2, False),
        (0.2, 2, 2, False),
        (1.0, 2, 2, True),
        (2.0, 2, 2, True),
        (2.0, 1, 2, False),  # one thread waits for nobody
        (4.0, 2, 16, False),  # twelve processors are free
        (15.0, 2, 16, True),
    ],
)
def test_only_threads_that_have_no_processor_are_warned_of(
    busy: float | None, threads: int, processors: int, warned: bool
) -> None:
    text = neighbour_warning(busy, threads, processors)
    assert (text is not None) == warned
    if text is not None:
        assert f"{busy:.1f} of the {processors} processors" in text
        assert "start it again with --cpu-threads 1." in text


def test_processor_time_is_read_for_the_processors_of_this_process(tmp_path: Path) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not say which processors a process may use")
    mine = sorted(os.sched_getaffinity(0))
    lines = ["cpu  999999 0 0 0 0 0 0 0 0 0"]
    lines += [f"cpu{number} 300 20 80 5000 7 60 40 9 0 0" for number in mine]
    lines += [f"cpu{max(mine) + 1} 9000 0 0 0 0 0 0 0 0 0", "intr 1 2 3", "ctxt 5"]
    (tmp_path / "stat").write_text("\n".join(lines) + "\n", encoding="ascii")
    found = read_processor_time(tmp_path / "stat")
    assert found is not None
    assert found.processors == len(mine)
    assert found.all_programs == pytest.approx(500 * len(mine) / os.sysconf("SC_CLK_TCK"))
    assert found.this_process > 0
    assert read_processor_time(tmp_path / "absent") is None


def test_only_the_work_inside_the_blocks_is_counted() -> None:
    moments = [
        moment(10, 100, 50),  # a training before it has used 50 s
        moment(11, 102, 51),  # 1 s of others
        moment(20, 150, 60),  # between two blocks: not counted
        moment(21, 151, 61),
    ]
    watch = NeighbourWatch(read=lambda: moments.pop(0))
    for _ in range(2):
        with watch.meanwhile():
            pass
    assert watch.busy() == pytest.approx(0.5)


def test_what_was_too_short_is_counted_a_little_longer() -> None:
    moments = [moment(0, 0, 0), moment(0.1, 0.2, 0.1), moment(1, 5, 1), moment(1.3, 5.1, 1)]
    slept: list[float] = []
    watch = NeighbourWatch(read=lambda: moments.pop(0), sleep=slept.append)
    with watch.meanwhile():
        pass
    assert watch.busy() == pytest.approx(0.2 / 0.4)
    assert slept == [pytest.approx(0.22)]


def test_a_system_that_does_not_tell_is_not_guessed() -> None:
    watch = NeighbourWatch(read=lambda: None)
    with watch.meanwhile():
        pass
    assert watch.busy() is None


def test_a_training_beside_busy_programs_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "read_processor_time", lambda: moment(3, 105, 2))
    monkeypatch.setattr(run.torch, "get_num_threads", lambda: 2)
    with caplog.at_level(logging.WARNING, logger="slimyolo"):
        run._warn_of_neighbours(moment(0, 100, 1))
    assert "Other programs keep 1.3 of the 2 processors busy." in caplog.text
