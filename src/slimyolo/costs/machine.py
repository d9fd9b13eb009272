"""Describes the machine on which something was timed, and signs of other load. A time without these means little."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from slimyolo.costs.timing import Timing
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted

__all__ = ["Machine", "busy_warnings", "describe_machine", "processor_flags", "processor_name"]

CPU_INFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
LOAD_ALLOWED = 0.3  # of one core, by other programs
SHARE_ALLOWED = 0.05  # of all cores, where enough of them are free for all threads: memory and clock are shared
SPREAD_ALLOWED = 1.6
INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "amx_int8",
    "amx_bf16",
    "avx512_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
)


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine, read before anything was timed.

    `processor` is the name of the processor, `cores` the number of logical cores, `instructions` the instruction sets that
    matter here, `governor` the frequency governor (None: not readable), `load` the load average of the last minute (None:
    the system has none), `omp_wait_policy` the environment variable of this name (None: not set).
    """

    processor: str
    cores: int
    instructions: tuple[str, ...]
    governor: str | None
    load: float | None
    omp_wait_policy: str | None = None


def describe_machine(cpu_info: Path = CPU_INFO, governor: Path = GOVERNOR) -> Machine:
    """The machine that this runs on."""
    flags = processor_flags(cpu_info)
    try:
        load: float | None = os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows has none
        load = None
    read = _read(governor)
    return Machine(
        processor=processor_name(cpu_info),
        cores=os.cpu_count() or 1,
        instructions=tuple(one for one in INSTRUCTIONS if one in flags),
        governor=read and read.strip(),
        load=load,
        omp_wait_policy=os.environ.get("OMP_WAIT_POLICY"),
    )


def processor_name(cpu_info: Path = CPU_INFO) -> str:
    """The name of the first processor."""
    return (
        _first_processor(cpu_info).get("model name")
        or platform.processor()
        or platform.machine()
        or "unknown processor"
    )


def processor_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """The instruction sets of the first processor, as Linux names them; empty on other systems."""
    facts = _first_processor(cpu_info)
    return frozenset(facts.get("flags", facts.get("Features", "")).split())


def busy_warnings(machine: Machine, threads: int, timings: tuple[Timing, ...], others: float | None) -> tuple[str, ...]:
    """Reasons to doubt the timings, as sentences for the user; empty when there is none.

    `others` is how many processors other programs kept busy meanwhile. Where the system does not tell (None), the load
    average stands for it, which counts this process and its last minute, too.
    """
    found = []
    doubted = "times are too long and ratios uncertain. Measure again on a quiet machine."
    free = threads + (others or 0.0) <= machine.cores
    if others is not None and others > max(LOAD_ALLOWED, SHARE_ALLOWED * machine.cores if free else 0.0):
        found.append(f"Other programs kept {others:.1f} of {counted(machine.cores, 'core')} busy: {doubted}")
    if others is None and machine.load is not None and machine.load > LOAD_ALLOWED:
        found.append(
            f"Other programs may be running (load average {machine.load:.1f} on {counted(machine.cores, 'core')}, which "
            f"counts the last minute of this program, too). If so, {doubted}"
        )
    if threads > machine.cores:
        found.append(
            f"{counted(threads, 'thread')} share {counted(machine.cores, 'core')}: give --threads {machine.cores} or fewer."
        )
    worst = max((one.spread for one in timings), default=1.0)
    if worst > SPREAD_ALLOWED:
        found.append(
            f"Runs of the same model differ by up to {worst:.1f} times (10th to 95th percentile): something disturbs them. "
            "Trust the 10th percentile (low) more than the median."
        )
    if machine.governor not in (None, "performance"):
        found.append(
            f"The frequency governor is {machine.governor!r}: the processor changes its speed during the measurement."
        )
    if threads > 1 and (machine.omp_wait_policy or "").strip().upper() == "PASSIVE":
        found.append(
            "OMP_WAIT_POLICY is PASSIVE: threads sleep between two layers, and ncnn and PyTorch take twice as long. "
            "Measure without it: unset OMP_WAIT_POLICY."
        )
    return tuple(found)


def _first_processor(cpu_info: Path) -> dict[str, str]:
    rows = [line.partition(":") for line in (_read(cpu_info) or "").splitlines()]
    return {key.strip(): value.strip() for key, _, value in reversed(rows)}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
