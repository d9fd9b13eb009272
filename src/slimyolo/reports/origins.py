"""What a page says about where its numbers come from: dataset and model, files, commands, versions, settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from slimyolo.reports.commands import command_line
from slimyolo.reports.stages import Run

__all__ = [
    "FileLink",
    "commands_of",
    "distinct_names",
    "facts_of",
    "files_of",
    "page_title",
    "run_title",
    "settings_of",
]

COMMON_NAMES = ("data", "dataset", "dataset_config", "config")  # of dataset YAMLs, which say nothing about the dataset
OF_EVERY_RUN = ("best", "last", "pruned", "masked", "best_strip", "weights", "model")  # names of checkpoints
RUN_FILES = (
    "table.md",
    "table.json",
    "ending.json",
    "chain.json",
    "iterate.json",
    "sensitivity.json",
    "sensitivity.md",
)
STAGE_FILES = ("record.json", "results.csv", "plan.json", "weights/best.pt", "pruned.pt")


@dataclass(frozen=True)
class FileLink:
    """A file of a run: its path inside the folder of the run, and where it lies as seen from the page."""

    words: str
    href: str


def run_title(run: Run) -> str:
    """Dataset and model of a run, ``mask · yolov5n``; the name of its folder when the records name neither."""
    known = [words for words in (_dataset(run), _model(run)) if words]
    return " · ".join(known) or run.name


def page_title(runs: Sequence[Run]) -> str:
    """The title of a page: those of its runs, each once."""
    return ", ".join(dict.fromkeys(run_title(run) for run in runs))


def distinct_names(runs: Sequence[Run]) -> list[Run]:
    """The same runs; those whose folders have the same name are called by the folder above as well: ``compress/exp``."""
    names = [run.name for run in runs]
    return [
        replace(run, name=f"{run.folder.resolve().parent.name}/{run.name}") if names.count(run.name) > 1 else run
        for run in runs
    ]


def files_of(run: Run, place: Path | None) -> tuple[FileLink, ...]:
    """The files of a run that a reader may want, linked from a page in the folder `place` (None: the run's own folder)."""
    found = [run.folder / name for name in RUN_FILES]
    found += [one.path for one in run.exported]
    for stage in run.stages:
        found += [stage.folder / name for name in STAGE_FILES]
    found += [bench.folder / "record.json" for bench in run.benches]
    start = (run.folder if place is None else place).resolve()
    links = {}
    for path in found:
        if path.exists():
            words = path.relative_to(run.folder).as_posix()
            links[words] = FileLink(words, quote(PurePath(os.path.relpath(path.resolve(), start)).as_posix()))
    return tuple(links.values())


def _dataset(run: Run) -> str:
    """The name of the dataset YAML, or of its folder when the YAML is called ``data.yaml``."""
    for provenance in _provenances(run):
        data, settings = provenance.get("data"), provenance.get("settings")
        file = data.get("file") if isinstance(data, dict) else None
        file = file or (settings.get("data") if isinstance(settings, dict) else None)
        if file:
            path = PurePath(str(file))
            return path.parent.name if path.stem in COMMON_NAMES and path.parent.name else path.stem
    return ""


def _model(run: Run) -> str:
    """The name of the network, of its YAML, or of the checkpoint with which the run began."""
    provenances = _provenances(run)
    for provenance in provenances:
        if provenance.get("model"):
            return str(provenance["model"])
    for key in ("cfg", "weights"):
        for provenance in provenances:
            settings = provenance.get("settings")
            value = settings.get(key) if isinstance(settings, dict) else None
            if isinstance(value, str) and value and PurePath(value).stem not in OF_EVERY_RUN:
                return PurePath(value).stem
    return ""


def _provenances(run: Run) -> list[Mapping[str, Any]]:
    return [run.provenance, *(stage.provenance for stage in run.stages)]


def commands_of(run: Run) -> tuple[tuple[str, str], ...]:
    """(what, command) for each command that made the run: as it was typed, and as its settings say it."""
    rows = []
    asked = run.provenance.get("command_line")
    if asked:
        rows.append(("the command as typed", str(asked)))
    if run.is_chain:
        rows.append(("the chain", command_line(run.command, run.provenance.get("settings", {}))))
    if run.sensitivity is not None:
        rows.append(("the measurement", command_line(run.command, run.provenance.get("settings", {}))))
    rows += [(stage.name, command_line(stage.command, stage.settings)) for stage in run.stages if stage.settings]
    for bench in run.benches:
        rows.append((f"{bench.folder.name} (benchmark)", command_line("bench", bench.provenance.get("settings", {}))))
    return tuple(rows)


def facts_of(run: Run) -> tuple[tuple[str, str], ...]:
    """(what, value): the versions, the machine and the data."""
    provenance = run.provenance or next((stage.provenance for stage in run.stages if stage.provenance), {})
    rows = [
        (name, str(provenance[name]))
        for name in ("slimyolo", "torch", "python", "platform", "threads")
        if name in provenance
    ]
    machine = provenance.get("machine", {})
    if isinstance(machine, dict):
        rows += [(str(name).replace("_", " "), str(value)) for name, value in machine.items()]
    abouts = [about for one in _provenances(run) if isinstance(about := one.get("data"), dict)]
    data: Mapping[str, Any] = abouts[0] if abouts else {}
    if data:
        rows.append(("data", str(data.get("file", ""))))
        rows.append(("classes", ", ".join(map(str, data.get("names", [])))))
    splits: dict[str, Mapping[str, Any]] = {}
    for about in abouts:
        if isinstance(about.get("splits"), dict):
            splits = {**about["splits"], **splits}
    for name, split in splits.items():
        counts = f"{split.get('images')} images, {split.get('boxes')} boxes, {split.get('defects')} defects"
        rows.append((f"{name} split", f"{counts}; fingerprint {split.get('fingerprint')}"))
    return tuple(rows)


def settings_of(run: Run) -> tuple[tuple[str, str], ...]:
    """(stage, all its settings as JSON)."""
    return tuple(
        (stage.name, json.dumps(stage.settings, ensure_ascii=False, indent=1)) for stage in run.stages if stage.settings
    )
