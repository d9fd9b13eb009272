"""What the record of a training, a cut or a validation says of its stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.detections import Estimate
from slimyolo.errors import StorageError

__all__ = ["ClassNumbers", "Numbers", "stage_facts"]


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
    rule: str = "yolov5"


def stage_facts(record: Mapping[str, Any], path: Path, writers: str) -> dict[str, Any]:
    """The fields of a `Stage` that its record holds. They depend on the command that wrote the record.

    `writers` names the commands whose folders can be read. A value of another kind raises a `TypeError` or another ordinary
    error of Python, and the record of another command `StorageError`.
    """
    provenance = _mapping(record.get("provenance", {}))
    facts: dict[str, Any] = {"provenance": provenance, "settings": _mapping(provenance.get("settings", {}))}
    if "epochs_done" in record:
        own: dict[str, Any] = {
            "command": str(record["command"]),
            "weights": str(record["best"]),
            "numbers": _numbers(record["metrics"]),
            "epochs": _count(record["epochs_done"]),
            "minutes": _finite(record["seconds"]) / 60,
            "zero_share": None if record["zero_share"] is None else _finite(record["zero_share"]),
        }
        return facts | _size(record["size"]) | own
    if "channels_before" in record:
        own = {
            "command": "prune",
            "weights": str(record["weights"]),
            "numbers": _numbers(record["metrics_after"]),
            "minutes": _finite(record["seconds"]) / 60,
            "layers": tuple((str(name), _count(before), _count(kept)) for name, before, kept in record["layers"]),
            "channels": (_count(record["channels_before"]), _count(record["channels_after"])),
            "difference": float(record["max_relative_difference"]),
            "notes": tuple(str(note) for note in record["notes"]),
            "changes": _changes_of_cut(record.get("differences")),
        }
        return facts | _size(record["after"]) | own
    if "speed_ms" in record:
        own = {
            "command": "val",
            "weights": str(record["weights"]),
            "numbers": _numbers(record["metrics"]),
            "speed_ms": {str(name): _finite(value) for name, value in record["speed_ms"].items()},
            "measured_on": f"{record['device']}, threads: {record['threads']}, batch size: {record['batch_size']}",
        }
        return facts | _size(record["size"]) | own
    raise StorageError(
        f"{path} is not the record of a training, a cut or a validation. Give a folder that {writers} wrote."
    )


def _size(size: Mapping[str, Any]) -> dict[str, int]:
    own = {"params": _count(size["params"]), "macs": _count(size["macs"]), "imgsz": _count(size["imgsz"])}
    return own | {name: _count(size.get(name, 0)) for name in ("training_params", "training_macs")}


def _numbers(metrics: Mapping[str, Any] | None) -> Numbers | None:
    if metrics is None:
        return None
    classes = tuple(
        ClassNumbers(
            name=str(row["name"]),
            labels=_count(row["labels"]),
            precision=_share(row["precision"]),
            recall=_share(row["recall"]),
            map50=_share(row["map50"]),
            map50_95=_share(row["map50_95"]),
        )
        for row in metrics["per_class"]
    )
    return Numbers(
        precision=float(metrics["precision"]),
        recall=float(metrics["recall"]),
        map50=float(metrics["map50"]),
        map50_95=float(metrics["map50_95"]),
        images=_count(metrics["images"]),
        labels=_count(metrics["labels"]),
        per_class=classes,
        rule=str(metrics.get("rule", "yolov5")),
    )


def _share(value: Any) -> float | None:
    return None if value is None else float(value)


def _changes_of_cut(differences: Mapping[str, Any] | None) -> tuple[Estimate, Estimate] | None:
    if not differences:
        return None
    rows = [differences[key] for key in ("map50", "map50_95")]
    first, second = (
        Estimate(float("nan") if row["value"] is None else float(row["value"]), row["low"], row["high"]) for row in rows
    )
    return first, second


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a mapping is expected, not {type(value).__name__}")
    return value


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a finite number is expected, not {value}")
    return float(value)


def _count(value: Any) -> int:
    whole = int(value)
    if not 0 <= whole < 2**63:
        raise ValueError("a count of at most 64 bits is expected")
    return whole
