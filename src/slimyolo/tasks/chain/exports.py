"""The end of a chain: exports the last model, and the first one beside it, and times both in turn."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimyolo.errors import ExportError, SlimyoloError, StorageError
from slimyolo.exporting import ExportedFile, find_format, require_packages, runtimes
from slimyolo.one_line import one_line_repr
from slimyolo.reports import StageRow
from slimyolo.shown_text import counted
from slimyolo.storage import RecordValue, open_record, to_plain, write_json
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.runs.going_on import goes_on_with
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.runs.run_paths import inside_run
from slimyolo.tasks.common.weights import find_weights
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.measure.bench import timed_models
from slimyolo.tasks.measure.bench_config import BenchConfig

__all__ = ["EXPORTED", "TIMED", "Ending", "check_formats", "end"]

log = logging.getLogger("slimyolo")

EXPORTED, TIMED, RECORD = "exported", "bench", "record.json"
SLIM, BASE = "slim", "base"  # the names of the files: the last and the first model of the chain
MOST_FILES = 1_000  # that a record names
SECONDS = 4.0  # for each runtime
Chain = CompressConfig | IterateConfig


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a chain left for deployment.

    | field | content |
    |---|---|
    | `files`, `base_files` | format → exported file of the last and of the first model |
    | `megabytes`, `base_megabytes` | their sizes, in 10⁶ bytes |
    | `milliseconds`, `base_milliseconds` | runtime → median time of one image |
    | `timed_on` | a sentence: what was timed, and on what; empty when nothing was |
    | `not_installed` | sentences: files that could not be written because packages are missing that nobody asked for |
    | `failures` | sentences: what was asked for and failed |
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    base_files: Mapping[str, Path] = field(default_factory=dict)
    megabytes: Mapping[str, float] = field(default_factory=dict)
    base_megabytes: Mapping[str, float] = field(default_factory=dict)
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    base_milliseconds: Mapping[str, float] = field(default_factory=dict)
    timed_on: str = ""
    not_installed: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def check_formats(config: Chain) -> None:
    """Before hours of training: raise `ExportError` for a format that does not exist, or whose packages are missing.

    When nobody asked for the file (the default), missing packages only give a warning: the checkpoints need none of them.
    """
    for name in config.export:
        row = find_format(name, "--export")
        try:
            require_packages(row)
        except ExportError as error:
            if _asked(config):
                raise
            log.warning("%s The chain ends without an exported file unless this is done before its end.", error)


def end(config: Chain, folder: Path, first: StageRow, last: StageRow) -> Ending:
    """Export the models of the rows `first` and `last` into ``folder/exported``, and time them into ``folder/bench``.

    Files that exist from an earlier call are kept. Each file is checked as ``slimyolo export`` does, on validation images.
    What fails is said in the result, and never raised: the checkpoints of the chain are there.
    """
    if not config.export:
        return Ending()
    with goes_on_with(config.command, folder):
        log.info("stage exported")
        exports = _Exports(config, folder, {SLIM: last.weights, BASE: first.weights})
        for name in config.export:
            exports.write(name)
        times, timed_on, untimed = _times(config, folder, exports, first, last)
    return Ending(
        files=exports.files(SLIM),
        base_files=exports.files(BASE),
        megabytes=exports.megabytes(SLIM),
        base_megabytes=exports.megabytes(BASE),
        milliseconds=times.get(SLIM, {}),
        base_milliseconds=times.get(BASE, {}),
        timed_on=timed_on,
        not_installed=tuple(exports.not_installed),
        failures=(*exports.failures, *exports.unbuilt(), *untimed),
    )


def _asked(config: Chain) -> bool:
    """Whether the user named the formats. A resumed run holds all settings, so there only unusual ones count."""
    default = type(config).model_fields["export"].default
    return config.export != default or (config.resume is None and "export" in config.model_fields_set)


class _Exports:
    """The exported files of the two models. Their facts are kept in ``exported/record.json``, which is written after each."""

    def __init__(self, config: Chain, folder: Path, weights: Mapping[str, str]) -> None:
        self._config, self._folder, self._weights = config, folder, weights
        self._rows: list[dict[str, Any]] = [row for row in _earlier_rows(folder) if _is_newer(row, weights)]
        self.not_installed: list[str] = []
        self.failures: list[str] = []
        self.changed = False

    def write(self, name: str) -> None:
        """Export both models in the format `name`, the last one first: it is the one that the user wants."""
        try:
            row = find_format(name, "--export")
            require_packages(row)
        except ExportError as error:
            (self.failures if _asked(self._config) else self.not_installed).append(str(error))
            return
        for model in (SLIM, BASE):
            if row.name in self.files(model):
                log.info("%s, %s: exported before", model, row.name)
                continue
            try:
                self._add(model, self._exported(model, row.name, row.ending))
            except SlimyoloError as error:
                self.failures.append(f"{model}, {row.name}: {error}")
                return

    def files(self, model: str) -> dict[str, Path]:
        """Format → file of the model, for the formats that are asked for."""
        return {row["format"]: Path(row["path"]) for row in self._of(model)}

    def megabytes(self, model: str) -> dict[str, float]:
        """Format → size of the file, in 10⁶ bytes."""
        return {row["format"]: row["bytes"] / 1e6 for row in self._of(model)}

    def unbuilt(self) -> list[str]:
        """Sentences about what was asked for and can only be built elsewhere."""
        unbuilt = [row for row in self._of(SLIM) if row.get("built") is False]
        return [f"{row['format']}: {_how_elsewhere(row)}" for row in unbuilt]

    def _of(self, model: str) -> list[dict[str, Any]]:
        wanted = [find_format(name, "--export").name for name in self._config.export]
        rows = {row["format"]: row for row in self._rows if row["model"] == model}
        return [rows[name] for name in wanted if name in rows]

    def _exported(self, model: str, name: str, ending: str) -> ExportedFile:
        config = self._config
        record = export(
            ExportConfig(
                weights=Path(self._weights[model]),
                format=(name,),
                imgsz=(config.imgsz, config.imgsz),
                output=self._folder / EXPORTED / f"{model}{ending}",
                data=config.data,
                cpu_threads=config.cpu_threads,
                no_examples=model == BASE,
            )
        )
        return record.files[0]

    def _add(self, model: str, file: ExportedFile) -> None:
        self.changed = True
        self._rows = [row for row in self._rows if (row["model"], row["format"]) != (model, file.format)]
        self._rows.append({"model": model, "weights": self._weights[model], **to_plain(file)})
        about = {"files": self._rows, "provenance": run_provenance(self._config)}
        write_json(self._folder / EXPORTED / RECORD, about)


def _how_elsewhere(row: Mapping[str, Any]) -> str:
    """How the format of a row is built on another machine. The row may come from an earlier record."""
    said = row.get("unchecked")
    texts = [one for one in said if isinstance(one, str)] if isinstance(said, (list, tuple)) else []
    return " ".join(texts) or "it was not built, which needs another machine."


def _earlier_rows(folder: Path) -> list[dict[str, Any]]:
    """The files that an earlier part of the run has exported and that still exist. A damaged record counts as none."""
    path = folder / EXPORTED / RECORD
    if not path.is_file():
        return []
    try:
        rows = [_earlier_row(row, folder) for row in open_record(path, "")["files"].rows(MOST_FILES)]
    except StorageError:
        return []
    return [row for row in rows if os.path.exists(row["path"]) and row["model"] in (SLIM, BASE)]


def _earlier_row(row: RecordValue, folder: Path) -> dict[str, Any]:
    known = {"model": row["model"].text(), "format": row["format"].text(), "bytes": row["bytes"].whole(least=1)}
    return {**row.settings(), **known, "path": str(_place(row["path"].text(), folder))}


def _is_newer(row: Mapping[str, Any], weights: Mapping[str, str]) -> bool:
    """Whether an exported file was written after the checkpoint of its model."""
    checkpoint, file = Path(weights[row["model"]]), Path(row["path"])
    return not checkpoint.exists() or file.stat().st_mtime >= checkpoint.stat().st_mtime


def _place(path: str, folder: Path) -> Path:
    """The exported file or folder, also when the run was moved."""
    here = folder / EXPORTED / Path(path).name
    return here if here.exists() else inside_run(path, folder)


def _times(
    config: Chain, folder: Path, exports: _Exports, first: StageRow, last: StageRow
) -> tuple[dict[str, dict[str, float]], str, tuple[str, ...]]:
    """(model → runtime → median milliseconds, on what they were measured, failures); empty when no runtime runs the files."""
    files = _by_runtime(exports)
    if not files:
        return {}, "", ()
    place = folder / TIMED / RECORD
    if not exports.changed and place.is_file():
        earlier = _read_times(place, tuple(files))
        if earlier is not None:
            return earlier[0], earlier[1], ()
    log.info("timing both on %s, %s", ", ".join(files), counted(config.threads, "thread"))
    weights = {BASE: find_weights(first.weights), SLIM: find_weights(last.weights)}
    asked = BenchConfig(
        weights=tuple(weights.values()),
        runtime=tuple(files),
        threads=config.threads,
        imgsz=(config.imgsz, config.imgsz),
        data=config.data,
        warmup=3,
        project=folder,
        name=TIMED,
        exist_ok=True,
    )
    given = {(weights[model], runtime): found[model] for runtime, found in files.items() for model in weights}
    try:
        record = timed_models(asked, given, SECONDS)
        write_json(place, record)
    except SlimyoloError as error:
        return {}, "", (f"timing: {error}",)
    for warning in record.warnings:
        log.warning("%s", warning)
    found = _read_times(place, tuple(files))
    return (*found, ()) if found is not None else ({}, "", ())


def _by_runtime(exports: _Exports) -> dict[str, dict[str, Path]]:
    """Runtime → model → file, for the installed runtimes that open a file of both models."""
    slim, base = exports.files(SLIM), exports.files(BASE)
    found: dict[str, dict[str, Path]] = {}
    for name in (name for name in slim if name in base):
        for runtime in runtimes().values():
            opens = find_format(name).suffix in runtime.suffixes
            if opens and runtime.name not in found and importlib.util.find_spec(runtime.package) is not None:
                found[runtime.name] = {SLIM: slim[name], BASE: base[name]}
    return found


def _read_times(place: Path, wanted: Sequence[str]) -> tuple[dict[str, dict[str, float]], str] | None:
    """The times in the record of a benchmark of two models; None unless it holds all runtimes that are `wanted`."""
    try:
        record = open_record(place, "")
        found = record["rows"].rows(MOST_FILES)
        rows = {name: [row for row in found if row["runtime"].text() == name] for name in wanted}
        if any(len(two) != 2 for two in rows.values()):
            return None
        times = {
            model: {name: two[number]["timing"]["median_ms"].amount() for name, two in rows.items()}
            for number, model in enumerate((BASE, SLIM))
        }
        height, width = record["imgsz"].wholes(count=2)
        runs, threads = rows[wanted[0]][0]["timing"]["runs"].whole(), record["threads"].whole()
        words = (
            f"Milliseconds: median of {runs} calls, the network alone, one image of {height} x {width} pixels (height x width), "
            f"{counted(threads, 'thread')}, both networks in turn, on {record['machine']['processor'].text()}."
        )
    except StorageError:
        return None
    return times, words
