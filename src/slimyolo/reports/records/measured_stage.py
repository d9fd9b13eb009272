"""What the record of a training, a cut or a validation says of its stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slimyolo.detections import RULES, Estimate, RuleName
from slimyolo.ranges import MOST_CLASSES
from slimyolo.reports.records.run_folder import provenance_in
from slimyolo.storage import RecordValue

__all__ = ["ClassNumbers", "Numbers", "estimate_in", "rule_in", "stage_facts"]

MOST_LAYERS = 100_000


@dataclass(frozen=True, kw_only=True)
class ClassNumbers:
    """The accuracy of one class, shares from 0 to 1. The four shares are None for a class without labels."""

    name: str
    labels: int
    precision: float | None
    recall: float | None
    map50: float | None
    map50_95: float | None


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The accuracy of a detector on the validation images: shares from 0 to 1, as a mean and for each class.

    `rule` names how mAP is computed; records of older versions do not state it and always follow YOLOv5.
    """

    precision: float
    recall: float
    map50: float
    map50_95: float
    images: int
    labels: int
    per_class: tuple[ClassNumbers, ...]
    rule: RuleName = "yolov5"


def stage_facts(record: RecordValue, writers: str) -> dict[str, Any]:
    """The fields of a `Stage` that its record holds. They depend on the command that wrote the record.

    `writers` names the commands whose folders can be read. Raises `StorageError` for the record of another command, and for a
    value that no command writes.
    """
    provenance = provenance_in(record)
    facts: dict[str, Any] = {"provenance": provenance, "settings": provenance.get("settings", {})}
    if record.has("epochs_done"):
        own: dict[str, Any] = {
            "command": record["command"].text(),
            "weights": record["best"].text(),
            "numbers": _numbers(record["metrics"]),
            "epochs": record["epochs_done"].whole(),
            "minutes": record["seconds"].amount() / 60,
            "zero_share": record.optional("zero_share", RecordValue.share),
        }
        return facts | _size(record["size"]) | own
    if record.has("channels_before"):
        own = {
            "command": "prune",
            "weights": record["weights"].text(),
            "numbers": record.optional("metrics_after", _numbers),
            "minutes": record["seconds"].amount() / 60,
            "layers": tuple(_layer(row) for row in record["layers"].rows(MOST_LAYERS)),
            "channels": (record["channels_before"].whole(), record["channels_after"].whole()),
            "difference": record["max_relative_difference"].amount(),
            "notes": record["notes"].texts(),
            "changes": record.optional("differences", _changes_of_cut),
        }
        return facts | _size(record["after"]) | own
    if record.has("speed_ms"):
        about = f"{record['device'].text()}, threads: {record['threads'].whole()}"
        own = {
            "command": "val",
            "weights": record["weights"].text(),
            "numbers": _numbers(record["metrics"]),
            "speed_ms": {name: value.amount() for name, value in record["speed_ms"].named().items()},
            "measured_on": f"{about}, batch size: {record['batch_size'].whole()}",
        }
        return facts | _size(record["size"]) | own
    raise record.refusal(
        f"it is not the record of a training, a cut or a validation; expected a folder that {writers} wrote"
    )


def estimate_in(record: RecordValue) -> Estimate:
    """A metric, or a difference of two metrics, with its interval. A value that is null is NaN."""
    value = record.optional("value", _difference)
    low, high = (record.optional(end, _difference) for end in ("low", "high"))
    return Estimate(float("nan") if value is None else value, low, high)


def rule_in(record: RecordValue) -> RuleName:
    """The rule by which mAP is computed; records of older versions do not state it and always follow YOLOv5."""
    found = record.get("rule")
    if found is None:
        return "yolov5"
    name = next((name for name in RULES if name == found.text()), None)
    if name is None:
        raise record.refusal(f"there is no metrics rule of this name; known: {', '.join(RULES)}")
    return name


def _layer(row: RecordValue) -> tuple[str, int, int]:
    name, before, kept = row.rows(count=3)
    return name.text(), before.whole(), kept.whole()


def _size(size: RecordValue) -> dict[str, int]:
    own = {name: size[name].whole() for name in ("params", "macs", "imgsz")}
    return own | {name: size.optional(name, RecordValue.whole) or 0 for name in ("training_params", "training_macs")}


def _numbers(metrics: RecordValue) -> Numbers:
    classes = tuple(
        ClassNumbers(
            name=row["name"].text(),
            labels=row["labels"].whole(),
            precision=row.optional("precision", RecordValue.share),
            recall=row.optional("recall", RecordValue.share),
            map50=row.optional("map50", RecordValue.share),
            map50_95=row.optional("map50_95", RecordValue.share),
        )
        for row in metrics["per_class"].rows(MOST_CLASSES)
    )
    return Numbers(
        precision=metrics["precision"].share(),
        recall=metrics["recall"].share(),
        map50=metrics["map50"].share(),
        map50_95=metrics["map50_95"].share(),
        images=metrics["images"].whole(),
        labels=metrics["labels"].whole(),
        per_class=classes,
        rule=rule_in(metrics),
    )


def _changes_of_cut(differences: RecordValue) -> tuple[Estimate, Estimate]:
    return estimate_in(differences["map50"]), estimate_in(differences["map50_95"])


def _difference(value: RecordValue) -> float:
    return value.number(-1.000001, 1.000001)
