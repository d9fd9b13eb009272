"""Reads a run folder as a list of stages: what was measured of each, and which files it left for the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from slimyolo.detections import Estimate
from slimyolo.errors import ConfigError
from slimyolo.evaluation import folder_differences
from slimyolo.reports.records.bench import Bench, read_bench
from slimyolo.reports.records.devices import Devices, read_devices
from slimyolo.reports.records.exported import ExportedRow, read_exported, read_warnings
from slimyolo.reports.records.measured_stage import Numbers, stage_facts
from slimyolo.reports.records.run_files import (
    Curves,
    GammaHistory,
    History,
    LabelCounts,
    SampleSet,
    read_curves,
    read_gammas,
    read_history,
    read_labels,
    read_options,
    read_sample,
)
from slimyolo.reports.records.run_folder import provenance_of, refuse_links_out, run_file
from slimyolo.reports.records.sensitivity import Sensitivity, read_sensitivity_record
from slimyolo.storage import open_record

__all__ = ["Run", "Stage", "read_run", "whole_cut", "with_changes"]

Record = TypeVar("Record")
ROUND = re.compile(r"round([0-9]{1,6})-cut")
CHAIN_STAGES = ("base", "sparse", "pruned", "finetuned")
CHAINS: Mapping[str, str] = {"chain.json": "compress", "iterate.json": "iterate"}
"""The file that a run of several stages keeps → its command."""
WRITERS = "train, sparsify, prune, finetune, val, compare, bench, sensitivity, compress or iterate"
ABOUT_OPTIONS = ("command", "started_in")  # keys of opt.yaml that are no options
REPEAT = "Repeat the command that wrote it, or give another run folder."


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One stage of a run.

    ============  ===================================================================================================
    `finished`    False for a training that has not written its record yet
    `macs`        multiply-accumulate operations for one image of `imgsz` × `imgsz` pixels, of the exported network;
                  `training_params` and `training_macs` are what a branch adds that only training reads
    `zero_share`  share of prunable channels at exactly zero after a training
    `layers`      of a cut: (name, channels before, channels kept) for each layer
    `channels`    of a cut: prunable channels before and after
    `difference`  of a cut: largest relative difference of the outputs between the cut and the masked network
    `changes`     differences of mAP50 and mAP50-95 to the first stage, or of a cut alone to the network before it
    `speed_ms`    of a validation: mean milliseconds for one image, by step; `measured_on` says on what
    ============  ===================================================================================================
    """

    name: str
    command: str
    folder: Path
    finished: bool
    weights: str = ""
    numbers: Numbers | None = None
    params: int | None = None
    macs: int | None = None
    imgsz: int | None = None
    training_params: int = 0
    training_macs: int = 0
    epochs: int = 0
    minutes: float | None = None
    zero_share: float | None = None
    layers: tuple[tuple[str, int, int], ...] = ()
    channels: tuple[int, int] | None = None
    difference: float | None = None
    notes: tuple[str, ...] = ()
    speed_ms: Mapping[str, float] = field(default_factory=dict)
    measured_on: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    history: History | None = None
    gammas: GammaHistory | None = None
    curves: Curves | None = None
    sample: SampleSet | None = None
    labels: tuple[LabelCounts, ...] = ()
    changes: tuple[Estimate, Estimate] | None = None

    @property
    def gflops(self) -> float | None:
        """Two times the MACs at `imgsz`, in units of 10⁹; None when the MACs are unknown."""
        return None if self.macs is None else 2 * self.macs / 1e9

    @property
    def is_training(self) -> bool:
        """Whether this stage trained the detector."""
        return self.command in ("train", "sparsify", "finetune")

    def column(self, name: str) -> tuple[float | None, ...]:
        """The values of a column of results.csv, one for each epoch; empty without the file."""
        return () if self.history is None else self.history.column(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A single run or a chain of stages.

    `provenance` is that of the chain, or that of the only stage when there is no chain. `command` wrote the folder.
    `benches` are the benchmarks in the folder, `exported` the files that a chain exported, and `warnings`
    what makes its result doubtful. `devices` are times of other
    devices. A folder that ``slimyolo bench`` or ``slimyolo sensitivity`` wrote is a run without stages.
    """

    name: str
    folder: Path
    is_chain: bool
    stages: tuple[Stage, ...]
    provenance: Mapping[str, Any]
    command: str = ""
    benches: tuple[Bench, ...] = ()
    exported: tuple[ExportedRow, ...] = ()
    warnings: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None
    devices: Devices | None = None

    @property
    def dense(self) -> Stage | None:
        """The first stage that was measured, or None."""
        return next((stage for stage in self.stages if stage.numbers is not None), None)

    @property
    def slim(self) -> Stage | None:
        """The last stage that was measured, or None when fewer than two stages were."""
        measured = [stage for stage in self.stages if stage.numbers is not None]
        return measured[-1] if len(measured) > 1 else None


def read_run(folder: Path) -> Run:
    """Read the records of the folder of a run or of a chain.

    Raises `ConfigError` when the folder is neither, and `StorageError` when a record is damaged.
    """
    if not folder.is_dir():
        got = (
            f"{folder} is a file, and not the folder of a run"
            if folder.is_file()
            else f"There is no run folder {folder}"
        )
        raise ConfigError(f"{got}. Give one that {WRITERS} wrote, such as runs/compress/exp.")
    name = folder.resolve().name
    for file, command in CHAINS.items():
        path = run_file(folder, file)
        if path is not None:
            provenance = provenance_of(open_record(path, REPEAT))
            stages = tuple(_read_stage(folder / place, words) for place, words in _stages_of(folder, command))
            return Run(
                name=name,
                folder=folder,
                is_chain=True,
                stages=stages,
                provenance=provenance,
                command=command,
                benches=_benches(folder),
                exported=read_exported(folder),
                warnings=read_warnings(folder),
            )
    alone: dict[str, Any] = {"name": name, "folder": folder, "is_chain": False}
    bench = read_bench(folder)
    if bench is not None:
        return Run(**alone, stages=(), provenance=bench.provenance, command="bench", benches=(bench,))
    devices = read_devices(folder)
    if devices is not None:
        return Run(**alone, stages=(), provenance=devices.provenance, command="bench", devices=devices)
    sensitivity = read_sensitivity_record(folder)
    if sensitivity is not None:
        provenance = sensitivity.provenance
        return Run(**alone, stages=(), provenance=provenance, command="sensitivity", sensitivity=sensitivity)
    if not _is_stage(folder):
        raise ConfigError(
            f"{folder} is not a run folder: it holds no chain.json (written by compress), iterate.json, record.json or "
            f"opt.yaml. Give a folder that {WRITERS} wrote."
        )
    stage = _read_stage(folder, name)
    return Run(**alone, stages=(stage,), provenance=stage.provenance, command=stage.command, benches=_benches(folder))


def _stages_of(folder: Path, command: str) -> list[tuple[str, str]]:
    """(folder, name) of the stages of a chain that have begun, in their order."""
    if command == "compress":
        places = [(stage, stage) for stage in CHAIN_STAGES]
    else:
        numbers = sorted(int(found[1]) for path in folder.glob("round*-cut") if (found := ROUND.fullmatch(path.name)))
        rounds = (((f"round{n}-cut", f"round {n} cut"), (f"round{n}", f"round {n}")) for n in numbers)
        places = [("base", "base"), *(place for two in rounds for place in two)]
    begun = [(place, words) for place, words in places if _is_stage(folder / place)]
    for place, _ in begun:
        refuse_links_out(folder / place, folder)
    return begun


def whole_cut(stages: Sequence[Stage]) -> Stage | None:
    """The cut among `stages`; of several cuts the last one, with the channels before the first of them. None without a cut."""
    cuts = [stage for stage in stages if stage.layers]
    if len(cuts) < 2:
        return cuts[0] if cuts else None
    before = {name: width for name, width, _ in cuts[0].layers}
    last = cuts[-1]
    layers = tuple((name, before.get(name, width), kept) for name, width, kept in last.layers)
    known = [stage.channels for stage in cuts if stage.channels is not None]
    return replace(last, layers=layers, channels=(known[0][0], known[-1][1]) if known else None)


def with_changes(runs: Sequence[Run]) -> list[Run]:
    """The same runs; each stage has its changes to the first measured stage of its run, or of all runs if it is alone.

    They are computed from the outcomes that the stages left in their folders; stages of older versions left none. Raises
    `StorageError` when such a file is damaged.
    """
    first = next((run.dense for run in runs if run.dense is not None), None)
    changed = []
    for run in runs:
        reference = run.dense if run.slim is not None else first
        stages = tuple(_changed(stage, reference) for stage in run.stages)
        changed.append(replace(run, stages=stages))
    return changed


def _changed(stage: Stage, reference: Stage | None) -> Stage:
    if reference is None or stage is reference or stage.numbers is None:
        return stage
    found = folder_differences(reference.folder, stage.folder)
    return replace(stage, changes=None if found is None else (found.map50, found.map50_95))


def _is_stage(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("record.json", "opt.yaml"))


def _read_stage(folder: Path, name: str) -> Stage:
    history, options = read_history(folder), read_options(folder)
    places = (folder, *_later_validations(folder))
    left: dict[str, Any] = {
        "history": history,
        "gammas": read_gammas(folder),
        "curves": _first(places, read_curves),
        "sample": _first(places, read_sample),
        "labels": _first(places, read_labels) or (),
    }
    path = run_file(folder, "record.json")
    if path is None:
        command = str(options.get("command", "train"))
        settings = {key: value for key, value in options.items() if key not in ABOUT_OPTIONS}
        return Stage(
            name=name,
            command=command,
            folder=folder,
            finished=False,
            settings=settings,
            epochs=len(history or ()),
            **left,
        )
    facts = stage_facts(open_record(path, REPEAT), WRITERS)
    return Stage(name=name, folder=folder, finished=True, **facts, **left)


def _first(places: Sequence[Path], read: Callable[[Path], Record]) -> Record | None:
    """What `read` finds in the first of `places` where it finds something; None when it finds nothing."""
    return next((found for place in places if (found := read(place))), None)


def _later_validations(folder: Path) -> Sequence[Path]:
    """The folders that ``slimyolo val --project FOLDER --name val`` left in a run folder, the newest first."""
    found = [place for place in folder.glob("val*") if place.is_dir()]
    for place in found:
        refuse_links_out(place, folder)
    return sorted(found, key=lambda place: place.stat().st_mtime, reverse=True)


def _benches(folder: Path) -> tuple[Bench, ...]:
    """The benchmarks that ``slimyolo bench --project FOLDER --name bench`` left in a run folder."""
    places = [place for place in sorted(folder.glob("bench*")) if place.is_dir()]
    for place in places:
        refuse_links_out(place, folder)
    found = (read_bench(place) for place in places)
    return tuple(bench for bench in found if bench is not None)
