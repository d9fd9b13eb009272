"""``slimyolo bench``: times models on runtimes, in turn, and compares the ratio of their times with that of their MACs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slimyolo.costs import NeighbourWatch, busy_warnings, describe_machine, time_interleaved
from slimyolo.errors import ConfigError
from slimyolo.exporting import RunPrecision, find_runtime, is_exported, open_exported, require_packages, timed_format
from slimyolo.models import Detector
from slimyolo.shown_text import counted, short_paths
from slimyolo.storage import create_run_folder, temporary_folder, write_json
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.opened_model import size_of
from slimyolo.tasks.common.option_types import BenchPrecision
from slimyolo.tasks.common.records import SizeRecord
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import find_weights, load_weights
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.bench_files import Exports
from slimyolo.tasks.measure.bench_records import BenchRecord, BenchRow
from slimyolo.tasks.measure.bench_stages import time_stages

__all__ = ["BenchRecord", "BenchRow", "bench", "bench_table", "timed_models", "verdict"]

log = logging.getLogger("slimyolo")

NO_GAIN = 1.05  # two runs of the same model may differ by a smaller ratio
LEAST_NAME = 20  # characters of the name of a model
SCALES = 0.85  # a speed-up below this share of the MACs ratio is worth a remark


@dataclass(frozen=True, eq=False)
class _Model:
    """One of the --weights: the detector of a checkpoint, or an exported file."""

    name: str
    path: Path
    detector: Detector | None
    size: SizeRecord | None


@dataclass(frozen=True, eq=False)
class _Candidate:
    model: _Model
    precision: BenchPrecision
    run: Callable[[], object]
    size: SizeRecord | None
    versions: Mapping[str, str]


def bench(config: BenchConfig) -> BenchRecord:
    """Time the models as `config` says. The record is also written to ``record.json`` in a new run folder.

    Raises what `timed_models` raises.
    """
    record = timed_models(config)
    _tell(record)
    folder_made = create_run_folder(config.project, config.name, config.exist_ok)
    write_json(folder_made / "record.json", record)
    give_json(config.json_file, record)
    log.info("written: %s", folder_made)
    return record


def timed_models(
    config: BenchConfig, files: Mapping[tuple[Path, str], Path] | None = None, seconds: float | None = None
) -> BenchRecord:
    """Time the models as `config` says, and write nothing.

    The models of one runtime, in all precisions, are timed in turn, so that other load on the machine affects all of them
    alike. Checkpoints are first exported to a temporary folder (for ``torch`` they run directly, with folded batch norms),
    unless `files` holds one: (checkpoint, runtime) → exported file. `seconds` limits the time for each runtime.
    Raises `ConfigError` when no combination can be timed, and the errors of exporting.
    """
    for name in config.runtime:
        find_runtime(name)
    machine, watch = describe_machine(), NeighbourWatch()
    models = [_model(path, config) for path in config.weights]
    _refuse_missing_packages(models, config, files or {})
    before = torch.get_num_threads()
    rows: list[BenchRow] = []
    try:
        torch.set_num_threads(config.threads)
        with temporary_folder("slimyolo-bench-") as folder:
            exports = Exports(Path(folder), config, files or {})
            for runtime in config.runtime:
                rows += _timed(models, runtime, config, exports, seconds, watch)
            if not rows:
                raise ConfigError(
                    f"None of {', '.join(map(str, config.weights))} can be timed with --runtime {' '.join(config.runtime)} "
                    f"--precision {' '.join(config.precision)}; the warnings above say why."
                )
            stages = time_stages(config, models[0].detector, exports.any_file())
    finally:
        torch.set_num_threads(before)
    others = watch.busy()
    return BenchRecord(
        rows=tuple(rows),
        prepare=stages.prepare,
        finish=stages.finish,
        choosing=stages.choosing,
        picture=stages.picture,
        machine=machine,
        device="cpu",
        imgsz=config.imgsz,
        batch=config.batch,
        threads=config.threads,
        verdicts=tuple(verdict(row) for row in rows if row.speedup is not None),
        warnings=busy_warnings(machine, config.threads, tuple(row.timing for row in rows), others),
        others=others,
        provenance=run_provenance(config),
    )


def bench_table(record: BenchRecord, columns: int = 110) -> str:
    """The rows as aligned text: milliseconds of the network alone, and the ratios to the first model of each runtime.

    Each runtime and precision has a heading, so that the table fits into `columns`, of which it needs 80.
    """
    heads = f"{'median ms':>9} {'low':>7} {'p95':>7} {'GFLOPs':>7} {'MACs ratio':>10} {'speed ratio':>11}"
    wide = max(min(columns - len(heads) - 4, max(len(row.weights) for row in record.rows)), LEAST_NAME)
    labels = short_paths([row.weights for row in record.rows], wide)
    lines = []
    previous = ""
    for row in record.rows:
        heading = f"{row.runtime}, {row.precision}"
        if heading != previous:
            lines += [*([""] if previous else []), f"{heading:<{wide + 3}} {heads}"]
        previous = heading
        gflops = "—" if row.size is None else f"{row.size.gflops:.2f}"
        lines.append(
            f"  {labels[row.weights]:<{wide}}  {row.timing.median_ms:>9.2f} {row.timing.low_ms:>7.2f} "
            f"{row.timing.p95_ms:>7.2f} {gflops:>7} {_ratio(row.macs_ratio):>10} {_ratio(row.speedup):>11}"
        )
    return "\n".join(lines)


def _model(path: Path, config: BenchConfig) -> _Model:
    if is_exported(path):
        return _Model(str(path), path, None, None)
    file = find_weights(path)
    detector = load_weights(file).detector()
    refuse_odd_sides(detector, config.imgsz)
    return _Model(str(path), file, detector, size_of(detector, config.imgsz[0]) if _square(config) else None)


def _refuse_missing_packages(
    models: Sequence[_Model], config: BenchConfig, files: Mapping[tuple[Path, str], Path]
) -> None:
    """Raise `ExportError`, before anything is exported, when packages are missing that write a file for one of the runtimes."""
    for name in config.runtime:
        if name != "torch" and any(one.detector is not None and (one.path, name) not in files for one in models):
            require_packages(timed_format(find_runtime(name)))


def _square(config: BenchConfig) -> bool:
    return config.imgsz[0] == config.imgsz[1]


def _timed(
    models: Sequence[_Model],
    runtime: str,
    config: BenchConfig,
    exports: Exports,
    seconds: float | None,
    watch: NeighbourWatch,
) -> list[BenchRow]:
    """The rows of one runtime. What the runtime cannot compute is left out, with a warning. `watch` counts during the calls."""
    images = torch.rand(config.batch, 3, *config.imgsz, generator=torch.Generator().manual_seed(0))
    with ExitStack() as opened:
        candidates = []
        for precision, model in ((precision, model) for precision in config.precision for model in models):
            one = _candidate(model, runtime, precision, images, config, exports, opened)
            if isinstance(one, str):
                log.warning("not timed: %s on %s, %s: %s", model.name, runtime, precision, one)
            else:
                candidates.append(one)
        if not candidates:
            return []
        with watch.meanwhile():
            timings = time_interleaved(
                [one.run for one in candidates], runs=config.runs, warmup=config.warmup, seconds=seconds
            )
    rows = []
    first, first_timing = candidates[0], timings[0]
    for place, (one, timing) in enumerate(zip(candidates, timings, strict=True)):
        compared = place > 0
        sizes = (first.size, one.size)
        macs = sizes[0].macs / sizes[1].macs if compared and sizes[0] is not None and sizes[1] is not None else None
        rows.append(
            BenchRow(
                weights=one.model.name,
                runtime=runtime,
                precision=one.precision,
                timing=timing,
                speedup=first_timing.median_ms / timing.median_ms if compared else None,
                quiet_speedup=first_timing.low_ms / timing.low_ms if compared else None,
                macs_ratio=macs,
                size=one.size,
                versions=one.versions,
            )
        )
    return rows


def _candidate(
    model: _Model,
    runtime: str,
    precision: BenchPrecision,
    images: Tensor,
    config: BenchConfig,
    exports: Exports,
    opened: ExitStack,
) -> _Candidate | str:
    """What to time, or a text that says why it cannot be timed."""
    if runtime == "torch" and model.detector is not None:
        if precision not in ("fp32", "auto"):
            return "PyTorch on a processor is timed in fp32 only"
        fused = model.detector.fused()

        def run_eager() -> Tensor:
            with torch.inference_mode():
                rows: Tensor = fused(images)
            return rows

        return _Candidate(model, precision, run_eager, model.size, {"torch": str(torch.__version__)})
    able = find_runtime(runtime)
    if config.batch > 1 and "batch" not in timed_format(able).able:
        return "it takes one image at a time; use --batch 1"
    if precision == "int8":
        file = exports.quantised(model.path, model.detector, runtime)
    elif precision not in able.precisions:
        return f"it computes only in {', '.join(able.precisions)}"
    else:
        file = exports.floating(model.path, model.detector, runtime)
    if isinstance(file, str):
        return file
    if not file.is_dir() and file.suffix not in able.suffixes:
        return f"it opens only {' and '.join(able.suffixes)} files"
    kind: RunPrecision = "fp32" if precision == "int8" else precision
    exported = opened.enter_context(
        open_exported(file, runtime=runtime, threads=config.threads, precision=kind, trust_code=config.trust_code)
    )
    cost = exported.cost
    size = model.size or (None if cost is None else SizeRecord(cost.params, cost.macs, cost.imgsz))
    images = images.contiguous(memory_format=exported.memory_format)  # as `predict` prepares them
    return _Candidate(model, precision, lambda: exported.output(images), size, exported.versions)


def verdict(row: BenchRow) -> str:
    """The ratio in words, so that the reader need not know which ratio is good."""
    speedup, what = row.speedup or 0.0, f"{row.weights} on {row.runtime}, {row.precision}"
    macs = "" if row.macs_ratio is None else f" at 1/{row.macs_ratio:.2f} of the MACs"
    if speedup < 1 / NO_GAIN:
        return f"{what}: slower than the first ({speedup:.2f} times its speed){macs}."
    if speedup < NO_GAIN:
        return f"{what}: no speed-up ({speedup:.2f}){macs}."
    if row.macs_ratio is not None and speedup < SCALES * row.macs_ratio:
        return f"{what}: {speedup:.2f} times as fast{macs}: the runtime gains less than the MACs suggest."
    return f"{what}: {speedup:.2f} times as fast{macs}."


def _tell(record: BenchRecord) -> None:
    machine = record.machine
    log.info(
        "%s, %s, governor %s, load %s before the start; %s, batch %d, %d x %d px (height x width)",
        machine.processor,
        counted(machine.cores, "core"),
        machine.governor or "not readable",
        "not readable" if machine.load is None else f"{machine.load:.2f}",
        counted(record.threads, "thread"),
        record.batch,
        *record.imgsz,
    )
    log.info("%s", bench_table(record, shutil.get_terminal_size().columns))
    log.info(
        "per image (%s), before the network: letterbox and conversion to float %.2f ms; after it: %s and back to source "
        "pixels %.2f ms",
        record.picture,
        record.prepare.median_ms,
        record.choosing,
        record.finish.median_ms,
    )
    for verdict in record.verdicts:
        log.info("%s", verdict)
    for warning in record.warnings:
        log.warning("%s", warning)


def _ratio(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"
