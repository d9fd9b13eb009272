"""``slimyolo sensitivity``: measures how much worse the detector is when only one group of channels is cut."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from slimyolo.data import DatasetSpec, SplitData, read_dataset_yaml, read_split
from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.pruning import (
    ChannelGraph,
    Constants,
    Group,
    GroupSensitivity,
    OutputReference,
    SensitivityPoint,
    analyse_constants,
    caps_from_sensitivity,
    kept_groups,
    lone_cuts,
    mask_module,
    recalibrate_batchnorm_,
    score,
    trace,
)
from slimyolo.shown_text import counted, told_apart
from slimyolo.storage import RecordValue, create_run_folder, only_run_in, open_record, write_json, write_text
from slimyolo.tasks.common.devices import pick_device
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.measuring import Measuring, measure_split
from slimyolo.tasks.common.runs.going_on import goes_on_with
from slimyolo.tasks.common.runs.provenance import data_provenance, run_provenance
from slimyolo.tasks.common.runs.resuming import find_run, given_name
from slimyolo.tasks.common.runs.run_paths import STARTED_IN, seen_from_here
from slimyolo.tasks.common.runs.same_settings import refuse_other_settings, settings_that_stay
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.prune.training_images import plain_images
from slimyolo.tasks.report import write_report

__all__ = ["SensitivityRecord", "read_sensitivity", "sensitivity", "sensitivity_caps", "sensitivity_table"]

log = logging.getLogger("slimyolo")

RECORD_FILE, TABLE_FILE, PLOT_FILE = "sensitivity.json", "sensitivity.md", "sensitivity.png"
PAGE_FILE = "report.html"
AGAIN = "Make one with slimyolo sensitivity --weights FILE --data YAML."
RECALIBRATION_IMAGES = 64


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class SensitivityRecord:
    """The measurement. `metric`: "error" (relative error of the raw outputs) or "map" (drop of mAP50-95 from `baseline`).

    `images` is the number of images used, `seconds` the time of all parts of a resumed run together. `complete` means that
    no group is missing.
    """

    weights: str
    data: str
    metric: str
    images: int
    imgsz: int
    importance: str
    recalibrate: bool
    baseline: float
    complete: bool
    groups: tuple[GroupSensitivity, ...]
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def sensitivity(config: SensitivityConfig) -> SensitivityRecord:
    """Cut each group alone to each of ``config.kept``; write ``sensitivity.json``, ``.md``, ``.png`` and a page about them.

    Channels are masked, which gives the same outputs as cutting. The record is written after every group; with ``resume``
    the run continues after the last one. Labels are read for ``metric map`` only.
    """
    detector = load_weights(config.weights).detector()
    refuse_odd_sides(detector, config.imgsz)
    dataset = read_dataset_yaml(config.data)
    if dataset.nc != detector.nc:
        raise ConfigError(
            f"{config.weights} detects {counted(detector.nc, 'class', 'classes')}, but {config.data} has {dataset.nc}. "
            f"Give the dataset for which "
            f"it was trained."
        )
    folder, done, before = _folder(config)
    log.info("run folder: %s", folder)
    started = time.perf_counter()
    split = read_split(dataset, "val")
    meter = _Meter(config, detector, dataset, split)
    graph = trace(detector, torch.zeros(1, 3, config.imgsz, config.imgsz), forward=Detector.heads)
    scores = score(detector, graph, config.importance)
    constants = analyse_constants(graph)
    found = list(done)
    groups = _wanted(graph, config.layers)
    labels = told_apart(group.name for group in groups)  # the halves of a split convolution have the same name
    finished = Counter((one.name, one.layers) for one in done)
    record = _record(config, meter, dataset, split, found, len(groups), before)
    with goes_on_with(config.command, folder), only_run_in(folder):
        for number, (label, group) in enumerate(zip(labels, groups, strict=True), 1):
            if finished[group.name, group.layers] > 0:
                finished[group.name, group.layers] -= 1
                continue
            found.append(_measured(group, graph, scores, constants, config, detector, meter.error))
            log.info("%d/%d %s", number, len(groups), _line(label, found[-1]))
            record = _record(config, meter, dataset, split, found, len(groups), before + time.perf_counter() - started)
            write_json(folder / RECORD_FILE, record)
    write_text(folder / TABLE_FILE, sensitivity_table(record))
    if not config.noplots:
        from slimyolo.reports.plots.sensitivity_plot import draw_sensitivity

        draw_sensitivity(folder / PLOT_FILE, record.groups, record.metric)
    log.info("written: %s", folder / RECORD_FILE)
    if not config.noplots:
        log.info("written: %s", write_report([folder], folder / PAGE_FILE).page)
    give_json(config.json_file, record)
    return record


def read_sensitivity(path: Path) -> tuple[GroupSensitivity, ...]:
    """The groups of a ``sensitivity.json``, or of a run folder with one. Raises `StorageError`."""
    file = path / RECORD_FILE if path.is_dir() else path
    return _groups(open_record(file, AGAIN))


def sensitivity_caps(config: PruneConfig) -> dict[str, float]:
    """Layer → largest share that may be removed, from ``--caps`` and ``--max-error``; empty without ``--caps``."""
    if config.caps is None:
        return {}
    return caps_from_sensitivity(read_sensitivity(config.caps), 0.2 if config.max_error is None else config.max_error)


def sensitivity_table(record: SensitivityRecord) -> str:
    """A GitHub table: a row for each group, the most sensitive first, and a column for each share of kept channels."""
    shares = sorted({round(p.kept / g.width, 1) for g in record.groups for p in g.points}, reverse=True)
    head = ["group", "channels", *(f"{share:.0%}" for share in shares)]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    labelled = zip(told_apart(group.name for group in record.groups), record.groups, strict=True)
    for label, group in sorted(labelled, key=lambda one: -max((p.error for p in one[1].points), default=0.0)):
        errors = {round(point.kept / group.width, 1): point.error for point in group.points}
        cells = [f"{errors[share]:.3f}" if share in errors else "" for share in shares]
        lines.append("| " + " | ".join([label, str(group.width), *cells]) + " |")
    return "\n".join(lines) + "\n"


class _Meter:
    """Measures how much worse a masked detector is than the dense one."""

    def __init__(self, config: SensitivityConfig, dense: Detector, dataset: DatasetSpec, split: SplitData) -> None:
        self._config, self._split, self._dataset = config, split, dataset
        self._stride, self.model = int(dense.stride.max()), dense.architecture.name
        self._device = pick_device(config.device)
        self.images = min(config.images or len(split), len(split))
        self.baseline = 0.0
        if config.metric == "map":
            self.baseline = self._map(dense)
        else:
            if not config.images:
                raise ConfigError("--images 0 (all images) needs --metric map; give a number, such as --images 32.")
            dense = dense.to(self._device)
            self._reference = OutputReference(
                dense, self._plain(split, config.images), forward=Detector.answering_heads
            )

    def error(self, masked: Detector) -> float:
        """The relative error of the outputs, or the drop of mAP50-95."""
        if self._config.recalibrate:
            recalibrate_batchnorm_(masked, self._plain(read_split(self._dataset, "train"), RECALIBRATION_IMAGES))
        if self._config.metric == "map":
            return self.baseline - self._map(masked)
        return self._reference.error(masked)

    def _plain(self, split: SplitData, count: int) -> Iterator[torch.Tensor]:
        config = self._config
        how = Measuring(imgsz=config.imgsz, batch_size=min(config.batch_size, count), workers=config.workers)
        for batch in plain_images(split, count, how, self._stride):
            yield batch.to(self._device)

    def _map(self, detector: Detector) -> float:
        config = self._config
        how = Measuring(imgsz=config.imgsz, batch_size=config.batch_size, workers=config.workers)
        return measure_split(detector, self._split, how, device=self._device, images=self.images).metrics.map50_95


def _wanted(graph: ChannelGraph, patterns: tuple[str, ...]) -> list[Group]:
    kept = kept_groups(graph, (), ())
    groups = [group for group in graph.groups if group.width > 1 and group.id not in kept]
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for group in groups for layer in group.layers):
            layers = [layer for group in groups for layer in group.layers]
            raise ConfigError(f"--layers {pattern} matches no layer.{nearest_name_hint(pattern, layers)}")
    return [
        group
        for group in groups
        if not patterns or any(fnmatchcase(layer, pattern) for layer in group.layers for pattern in patterns)
    ]


def _measured(
    group: Group,
    graph: ChannelGraph,
    scores: Mapping[int, torch.Tensor],
    constants: Constants,
    config: SensitivityConfig,
    dense: Detector,
    error: Callable[[Detector], float],
) -> GroupSensitivity:
    points = [
        SensitivityPoint(kept, error(mask_module(dense, plan)))
        for kept, plan in lone_cuts(graph, scores, constants, config.kept, group)
    ]
    return GroupSensitivity(group.name, group.layers, group.width, tuple(points))


def _record(
    config: SensitivityConfig,
    meter: _Meter,
    dataset: DatasetSpec,
    split: SplitData,
    found: list[GroupSensitivity],
    wanted: int,
    seconds: float,
) -> SensitivityRecord:
    return SensitivityRecord(
        weights=str(config.weights),
        data=str(config.data),
        metric=config.metric,
        images=meter.images,
        imgsz=config.imgsz,
        importance=config.importance,
        recalibrate=config.recalibrate,
        baseline=meter.baseline,
        complete=len(found) == wanted,
        groups=tuple(found),
        seconds=seconds,
        settings=settings_that_stay(config, "batch_size"),
        provenance={
            **run_provenance(config),
            "model": meter.model,
            "data": data_provenance(dataset, {"val": split}),
        },
    )


def _line(label: str, group: GroupSensitivity) -> str:
    errors = "  ".join(f"{point.kept / group.width:.0%} {point.error:.3f}" for point in group.points)
    return f"{label} ({group.width}): {errors}"


def _folder(config: SensitivityConfig) -> tuple[Path, tuple[GroupSensitivity, ...], float]:
    """(run folder, groups that an earlier part of the run has measured, seconds that they took)."""
    if not config.resume:
        return create_run_folder(config.project, config.name, config.exist_ok), (), 0.0
    folder = find_run(config.command, str(config.resume), config.project, given_name(config))
    record = open_record(folder / RECORD_FILE, AGAIN)
    about = record.get("provenance")
    started_in = None if about is None else about.optional(STARTED_IN, RecordValue.text)
    stored = seen_from_here(record["settings"].settings(), SensitivityConfig, started_in)
    refuse_other_settings(folder, stored, settings_that_stay(config, "batch_size"))
    return folder, _groups(record), record["seconds"].amount()


def _groups(record: RecordValue) -> tuple[GroupSensitivity, ...]:
    return tuple(
        GroupSensitivity(
            one["name"].text(),
            one["layers"].texts(),
            one["width"].whole(least=1),
            tuple(SensitivityPoint(point["kept"].whole(), point["error"].number()) for point in one["points"].rows()),
        )
        for one in record["groups"].rows()
    )
