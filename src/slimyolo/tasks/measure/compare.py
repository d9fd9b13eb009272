"""``slimyolo compare``: two models on the same images, the intervals of their differences, and the images that changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from slimyolo import __version__
from slimyolo.data import SplitData, few_images_words, read_dataset_yaml, read_split
from slimyolo.detections import (
    DetectionMetrics,
    Estimate,
    ImageChange,
    MetricEstimates,
    RuleName,
    image_changes,
    interval_words,
    metric_differences,
    metric_estimates,
    rule_words,
)
from slimyolo.errors import ConfigError
from slimyolo.one_line import one_line_repr
from slimyolo.reports.comparison_page import render_comparison
from slimyolo.shown_text import counted
from slimyolo.storage import create_run_folder, remove_earlier_files, write_json, write_text
from slimyolo.tasks.common.comparison.compared_models import (
    ComparedModel,
    is_measured_run,
    measured_model,
    measured_run,
)
from slimyolo.tasks.common.comparison.comparing import interval_note
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.measuring import Measuring
from slimyolo.tasks.common.opened_model import OpenedModel, open_model, same_branch
from slimyolo.tasks.common.records import SizeRecord
from slimyolo.tasks.common.runs.provenance import data_provenance, run_provenance
from slimyolo.tasks.common.weights import refuse_missing_weights
from slimyolo.tasks.measure.asked import asked_measuring
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.compared_pictures import PICTURES_FILE, write_pictures

__all__ = [
    "CompareRecord",
    "ComparedRecord",
    "Sides",
    "compare",
    "compared",
    "comparison_table",
    "log_images",
    "verdict",
]

log = logging.getLogger("slimyolo")

MANY_CLASSES = 20
NOTHING = 0.0005  # smaller values of a metric are shown as .000
REPORT_FILE = "report.html"
OUTPUTS = ("record.json", REPORT_FILE, PICTURES_FILE, "pictures/*.jpg")
"""What this command writes into its folder. With ``--exist-ok``, files of an earlier run must not look like results of this."""


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ComparedRecord:
    """One of the two models: its file or run folder, its size if known, and its metrics with intervals."""

    path: str
    size: SizeRecord | None
    metrics: DetectionMetrics
    intervals: MetricEstimates


@dataclass(frozen=True, kw_only=True)
class CompareRecord:
    """The comparison of two models on the same images.

    `differences` are those of `second` minus `first`. `worse` and `better` are the images whose number of errors grew and fell
    most; `changed` counts (all that got worse, all that got better). `verdict` is a sentence about mAP50-95.
    """

    first: ComparedRecord
    second: ComparedRecord
    differences: MetricEstimates
    worse: tuple[ImageChange, ...]
    better: tuple[ImageChange, ...]
    changed: tuple[int, int]
    verdict: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"CompareRecord({self.first.path!r}, {self.second.path!r}: {self.verdict})"


@dataclass(frozen=True)
class Sides:
    """The two models as they were measured, and the split, which is None when both were read from run folders."""

    first: ComparedModel
    second: ComparedModel
    split: SplitData | None = field(repr=False, default=None)


def compare(config: CompareConfig) -> CompareRecord:
    """Measure two models on the same images and compare them. Returns the record, which is also in a new run folder, with a
    page ``report.html``.

    A run folder that keeps ``outcomes.npz`` is not measured again. Raises `ConfigError` when the two do not belong to the same
    classes, images or rule.
    """
    sides = _sides(config)
    record = compared(sides, config)
    log.info("%s", comparison_table(record))
    log.info("%s", record.verdict)
    if few := few_images_words(config.split, record.differences.images):
        log.warning("%s", few)
    log_images(record)
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    if config.exist_ok:
        remove_earlier_files(folder, OUTPUTS)
    write_json(folder / "record.json", record)
    give_json(config.json_file, record)
    if sides.split is not None and not config.noplots:
        write_pictures(folder, sides.split, (sides.first, sides.second), (*record.worse, *record.better))
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    write_text(folder / REPORT_FILE, render_comparison(folder, version=__version__, made=made))
    log.info("written: %s", folder / REPORT_FILE)
    return record


def compared(sides: Sides, config: CompareConfig) -> CompareRecord:
    """The record of two measured models."""
    one, other = sides.first, sides.second
    how: dict[str, Any] = {"level": config.level, "resamples": config.resamples, "seed": config.seed}
    changes = image_changes(one.outcomes, other.outcomes, (one.metrics.confidence, other.metrics.confidence))
    worse = [change for change in changes if change.change > 0]
    better = [change for change in reversed(changes) if change.change < 0]
    about = run_provenance(config)
    if sides.split is not None and config.data is not None:
        about["data"] = data_provenance(read_dataset_yaml(config.data), {config.split: sides.split})
    differences = metric_differences(one.outcomes, other.outcomes, **how)
    return CompareRecord(
        first=_compared_record(one, how),
        second=_compared_record(other, how),
        differences=differences,
        worse=tuple(worse[: config.images]),
        better=tuple(better[: config.images]),
        changed=(len(worse), len(better)),
        verdict=nothing_words(one.metrics, other.metrics) or verdict(differences, one.path, other.path),
        provenance=about,
    )


def comparison_table(record: CompareRecord) -> str:
    """The metrics of both models and their differences as text, for each class too where there are 2 to 20 of them."""
    rows = [("class", "metric", "first", "second", "second − first")]
    blocks: list[tuple[str, DetectionMetrics | Any, Any, Any]] = [
        ("all", record.first.metrics, record.second.metrics, record.differences)
    ]
    if 1 < len(record.differences.per_class) <= MANY_CLASSES:
        blocks += [
            (change.name, one, other, change)
            for one, other, change in zip(
                record.first.metrics.per_class,
                record.second.metrics.per_class,
                record.differences.per_class,
                strict=True,
            )
        ]
    for name, one, other, change in blocks:
        rows += [
            (name[:20], "P", _plain(one.precision), _plain(other.precision), interval_words(change.precision)),
            ("", "R", _plain(one.recall), _plain(other.recall), interval_words(change.recall)),
            ("", "mAP50", _plain(one.map50), _plain(other.map50), interval_words(change.map50)),
            ("", "mAP50-95", _plain(one.map50_95), _plain(other.map50_95), interval_words(change.map50_95)),
        ]
    lines = [f"{a:>20} {b:>9} {c:>7} {d:>7}   {e}" for a, b, c, d, e in rows]
    lines += [f"In brackets: {interval_note(record.differences)}.", rule_words([record.differences.rule])]
    return "\n".join(lines)


def nothing_words(first: DetectionMetrics, second: DetectionMetrics) -> str:
    """A sentence in place of a verdict when neither model finds the labelled objects: mAP50 is .000; else empty."""
    if all(metrics.map50 < NOTHING for metrics in (first, second)):
        return (
            "Neither model finds the labelled objects on these images (mAP50 .000), so there is nothing to compare: see what "
            "they detect with slimyolo predict, and the labels with slimyolo data check."
        )
    return ""


def verdict(differences: MetricEstimates, first: Path, second: Path) -> str:
    """One sentence about mAP50-95."""
    one = differences.map50_95
    if one.low is None or one.high is None:
        return f"{interval_note(differences).capitalize()}: nothing can be said about other images."
    if one.low == one.high == one.value == 0:
        return "Both models have the same mAP50-95 on these images, and on every resample of them."
    if one.negligible:
        return (
            f"Both models have the same mAP50-95 up to {NOTHING:g}, on these images and, with a confidence of "
            f"{differences.level:.0%}, on others of this kind."
        )
    if not one.certain:
        return (
            f"No difference of mAP50-95 is certain: on other images of this kind it may lie anywhere {_range(one)}. More images "
            "make the interval narrower."
        )
    word = "higher" if one.value > 0 else "lower"
    return (
        f"{second} has a {word} mAP50-95 than {first}: with a confidence of {differences.level:.0%} the difference lies "
        f"{_range(one)}."
    )


def _range(one: Estimate) -> str:
    ends = [interval_words(Estimate(end)) for end in (one.low, one.high) if end is not None]
    return f"between {ends[0]} and {ends[1]}"


def _plain(value: float) -> str:
    return interval_words(Estimate(value), signed=False)


def _compared_record(one: ComparedModel, how: Mapping[str, Any]) -> ComparedRecord:
    return ComparedRecord(
        path=str(one.path),
        size=one.size,
        metrics=one.metrics.without_arrays(),
        intervals=metric_estimates(one.outcomes, **how),
    )


def _sides(config: CompareConfig) -> Sides:
    """Both models, each measured or read from the folder of its run."""
    paths = (config.first, config.second)
    runs = {path: measured_run(path) for path in paths if is_measured_run(path)}
    if config.data is None:
        unmeasured = [path for path in paths if path not in runs]
        for path in unmeasured:
            refuse_missing_weights(path)
        if unmeasured:
            raise ConfigError(
                f"{unmeasured[0]} has to be measured: add --data YAML. (A folder that val, train or prune wrote with this "
                "version needs no data: it keeps what was measured.)"
            )
        _refuse_other_data(paths, [run.fingerprint for run in runs.values()])
        return Sides(runs[config.first], runs[config.second])
    split = read_split(read_dataset_yaml(config.data), config.split, single_class=config.single_cls)
    for path, run in runs.items():
        if run.fingerprint != split.fingerprint:
            raise ConfigError(
                f"The run {path} measured other images or labels than the {config.split} split has now. Give the model "
                "file instead of the folder, so that it is measured again."
            )
    opened = {
        path: open_model(path, config.class_names, config.device, trust_code=config.trust_code)
        for path in dict.fromkeys(paths)
        if path not in runs
    }
    models = {path: same_branch(model, config.one2many) for path, model in opened.items()}
    if config.one2many and all(models[path] is opened[path] for path in opened):
        raise ConfigError("--one2many: no model that has to be measured has a head with two branches. Leave it out.")
    how = _how(config, list(models.values()), [run.outcomes.rule for run in runs.values()])
    for path, model in models.items():
        log.info("measuring %s", path)
        runs[path] = measured_model(path, model, split, how, device=config.device, keep_shown=not config.noplots)
    return Sides(runs[config.first], runs[config.second], split)


def _how(config: CompareConfig, models: Sequence[OpenedModel], rules: Sequence[RuleName]) -> Measuring:
    """How both are measured: by ``--rule``, by the rule of the runs, by that of the families, or by coco if these differ."""
    how = asked_measuring(config)
    if how.rule is not None:
        return how
    wanted = set(rules) or {how.for_model(model).rule or "coco" for model in models}
    return replace(how, rule=wanted.pop() if len(wanted) == 1 else "coco")


def _refuse_other_data(paths: Sequence[Path], fingerprints: Sequence[str]) -> None:
    if len(set(fingerprints)) > 1:
        raise ConfigError(
            f"The runs {paths[0]} and {paths[1]} measured different images or labels. Give the model files and --data YAML, so "
            "that both are measured on the same images."
        )


def log_images(record: CompareRecord) -> None:
    """Log the images that got worse and better, with their errors."""
    if record.worse or record.better:
        log.info("Errors of an image are its missed labels and wrong detections, as a mean over IoU 0.5 to 0.95.")
    for words, changes, count in (
        ("worse", record.worse, record.changed[0]),
        ("better", record.better, record.changed[1]),
    ):
        log.info("%d of %s got %s%s", count, counted(record.differences.images, "image"), words, ":" if changes else "")
        for one in changes:
            log.info(
                "  %s: %s errors; at IoU 0.5 missed %d → %d, wrong %d → %d (of %d)",
                one.image,
                f"{one.change:+.1f}".replace("-", "−"),
                *one.missed,
                *one.wrong,
                one.labels,
            )
