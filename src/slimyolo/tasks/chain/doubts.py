"""What makes the result of a chain doubtful. It is said when it happens, and again among the last lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimyolo.data import wrong_classes_words
from slimyolo.errors import StorageError
from slimyolo.reports import StageRow
from slimyolo.storage import read_json
from slimyolo.tasks.common.budgets import missed_budget_words

__all__ = ["base_doubt", "chain_doubts", "disturbed_times", "missed_budgets"]

LEARNT = 0.05  # mAP50; a detector that has learnt anything reaches more on the images that it was trained for
KEPT = 0.5  # of the mAP50 of the base


def base_doubt(base: StageRow) -> str:
    """A warning when the model that goes in detects next to nothing; else empty."""
    if base.map50 >= LEARNT:
        return ""
    why = (
        "Train longer (--epochs), or begin with a trained checkpoint (--weights)"
        if base.epochs
        else "Check that the checkpoint was trained for the classes of this dataset, in this order, and at this --imgsz"
    )
    return (
        f"The model that went in has learnt next to nothing: mAP50 {base.map50:.3f} on the validation images. Whatever is cut "
        f"from it says nothing about a trained one. {why}; see what it detects with slimyolo predict, and the labels with "
        "slimyolo data check."
    )


def chain_doubts(folder: Path, rows: Sequence[StageRow], first: StageRow, last: StageRow, cut: Path) -> tuple[str, ...]:
    """All warnings about a finished chain, from the records in its folder. `cut` is the folder of its last cut."""
    found = [base_doubt(first), *_dropped_labels(folder), *missed_budgets(cut)]
    if first.map50 >= LEARNT and last.map50 < KEPT * first.map50:
        found.append(
            f"The last model has lost most of what the first one could do: mAP50 {first.map50:.3f} → {last.map50:.3f}. Ask for "
            "a smaller cut, or train longer after it."
        )
    return tuple(dict.fromkeys(one for one in found if one))


def _dropped_labels(folder: Path) -> list[str]:
    """A warning for each split from which labels were dropped because of their class numbers."""
    found: dict[str, str] = {}
    for record in (_record(path.parent) for path in sorted(folder.glob("*/record.json"))):
        data = _mapping(_mapping(record.get("provenance")).get("data"))
        for name, split in _mapping(data.get("splits")).items():
            dropped = _mapping(split).get("wrong_classes") or 0
            if dropped:
                found[str(name)] = wrong_classes_words(str(name), int(dropped), int(split["boxes"]), data.get("file"))
    return list(found.values())


def missed_budgets(folder: Path) -> list[str]:
    """A warning for each budget that the cut in `folder` did not reach."""
    cut = _record(folder)
    latency = _mapping(cut.get("latency"))
    if latency and not latency.get("reached", True):
        time = latency["measured_ms"] if latency.get("measured_ms") is not None else latency["predicted_ms"]
        words = (
            f"--latency was not reached: {latency['asked_ms']:.2f} ms were asked for, the cut network takes {time:.2f} ms "
            f"({latency['dense_ms']:.2f} ms before the cut). Lower --floor, or give a smaller --imgsz or a longer --latency."
        )
        return [words]
    return [warning for note in cut.get("notes", ()) if (warning := missed_budget_words(str(note)))]


def disturbed_times(timed: Path) -> list[str]:
    """A warning when something disturbed the times that were measured into the folder `timed`."""
    found = [str(one) for one in _record(timed).get("warnings") or ()]
    return [f"The milliseconds in the table are doubtful. {' '.join(found)}"] if found else []


def _record(folder: Path) -> Mapping[str, Any]:
    """The ``record.json`` of a stage; empty when there is none that can be read."""
    try:
        return _mapping(read_json(folder / "record.json"))
    except StorageError:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
