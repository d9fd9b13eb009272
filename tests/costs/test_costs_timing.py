"""Table of cases: interleaved timing with a clock of our own, and what a busy machine is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slimyolo.costs import Machine, Timing, busy_warnings, describe_machine, summarise, time_interleaved
from slimyolo.errors import ConfigError


class Clock:
    """Seconds that only pass when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def worker(self, name: str, seconds: float) -> object:
        def work() -> None:
            self.now += seconds
            self.order.append(name)

        return work

    def __call__(self) -> float:
        return self.now


def test_candidates_run_in_turn_and_only_their_own_time_counts() -> None:
    clock = Clock()
    slow, fast = time_interleaved([clock.worker("a", 0.004), clock.worker("b", 0.001)], runs=5, warmup=1, clock=clock)  # type: ignore[list-item]
    assert (slow.median_ms, fast.median_ms) == (pytest.approx(4), pytest.approx(1))
    assert slow.runs == fast.runs == 6, "whole bursts of three, at least as many as asked for"
    assert "".join(clock.order) == "ab" + "aaaabbbb" + "bbbbaaaa", "warm-up, then turns, the second one reversed"


def test_summary_of_samples() -> None:
    found = summarise([5.0, 1.0, 2.0, 3.0, 4.0])
    assert found == Timing(3.0, pytest.approx(1.4), pytest.approx(4.8), 5)
    assert found.spread == pytest.approx(4.8 / 1.4)
    with pytest.raises(ConfigError, match="No time was measured: runs should be 1 or more"):
        summarise([])
    with pytest.raises(ConfigError, match="Expected runs of 1 or more and warmup of 0 or more, got 0 and 2"):
        time_interleaved([], runs=0, warmup=2)


def test_the_machine_is_read_from_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "Passive")
    info, governor = tmp_path / "cpuinfo", tmp_path / "governor"
    info.write_text(
        "processor\t: 0\nmodel name\t: Good Chip\nflags\t\t: fpu avx2 avx_vnni\n\nprocessor\t: 1\nmodel name\t: x\n"
    )
    governor.write_text("powersave\n")
    found = describe_machine(info, governor)
    assert (found.processor, found.instructions, found.governor) == ("Good Chip", ("avx2", "avx_vnni"), "powersave")
    assert found.omp_wait_policy == "Passive"
    unknown = describe_machine(tmp_path / "none", tmp_path / "none")
    assert unknown.processor
    assert unknown.governor is None


def machine(governor: str | None = None, load: float | None = 0.1, omp_wait_policy: str | None = None) -> Machine:
    return Machine(
        processor="chip", cores=2, instructions=(), governor=governor, load=load, omp_wait_policy=omp_wait_policy
    )


QUIET = machine()
STEADY = Timing(1.0, 0.95, 1.1, 60)


@pytest.mark.parametrize(
    ("machine", "threads", "timing", "said"),
    [
        (QUIET, 2, STEADY, ()),
        (machine(load=3.0), 2, STEADY, ("may be running (load average 3.0 on 2 cores, which counts the last minute",)),
        (QUIET, 4, STEADY, ("4 threads share 2 cores: give --threads 2",)),
        (QUIET, 2, Timing(2.0, 1.0, 3.0, 60), ("differ by up to 3.0 times",)),
        (machine(governor="powersave", load=None), 2, STEADY, ("governor is 'powersave'",)),
        (machine(governor="performance", load=None), 2, STEADY, ()),
        (machine(omp_wait_policy="passive"), 2, STEADY, ("OMP_WAIT_POLICY is PASSIVE: threads sleep",)),
        (machine(omp_wait_policy="passive"), 1, STEADY, ()),
        (machine(omp_wait_policy="ACTIVE"), 2, STEADY, ()),
    ],
)
def test_what_makes_times_doubtful(machine: Machine, threads: int, timing: Timing, said: tuple[str, ...]) -> None:
    found = busy_warnings(machine, threads, (timing,), None)
    assert len(found) == len(said)
    for sentence, part in zip(found, said, strict=True):
        assert part in sentence


@pytest.mark.parametrize(
    ("others", "cores", "said"),
    [
        (0.0, 2, ()),  # the load average of 3 is our own training, which has ended
        (0.3, 2, ()),
        (1.26, 2, ("Other programs kept 1.3 of 2 cores busy: times are too long",)),
        (3.0, 64, ()),  # a server whose cores are nearly all free
        (4.0, 64, ("Other programs kept 4.0 of 64 cores busy",)),
    ],
)
def test_only_the_work_of_other_programs_makes_times_doubtful(others: float, cores: int, said: tuple[str, ...]) -> None:
    found = busy_warnings(replace(machine(load=3.0), cores=cores), 2, (STEADY,), others)
    assert len(found) == len(said)
    assert all(part in sentence for sentence, part in zip(found, said, strict=True))
