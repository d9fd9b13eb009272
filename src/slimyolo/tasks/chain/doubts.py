"""What makes the result of a chain doubtful. It is said when it happens, and again among the last lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from slimyolo.data import wrong_classes_words
from slimyolo.errors import StorageError
from slimyolo.reports import StageRow
from slimyolo.storage import RecordValue, open_record
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
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*/record.json")):
        found |= dict.fromkeys(_read(path.parent, _dropped_in))
    return list(found)


def _dropped_in(record: RecordValue) -> list[str]:
    data = record.optional("provenance", lambda about: about.get("data"))
    splits = None if data is None else data.optional("splits", RecordValue.named)
    if data is None or splits is None:
        return []
    return [
        wrong_classes_words(name, dropped, split["boxes"].whole(), data.optional("file", RecordValue.text))
        for name, split in splits.items()
        if (dropped := split.optional("wrong_classes", RecordValue.whole))
    ]


def missed_budgets(folder: Path) -> list[str]:
    """A warning for each budget that the cut in `folder` did not reach."""
    return _read(folder, _missed_in)


def _missed_in(cut: RecordValue) -> list[str]:
    latency = cut.get("latency")
    if latency is not None and latency.optional("reached", RecordValue.truth) is False:
        time = (latency.get("measured_ms") or latency["predicted_ms"]).amount()
        words = (
            f"--latency was not reached: {latency['asked_ms'].amount():.2f} ms were asked for, the cut network takes "
            f"{time:.2f} ms ({latency['dense_ms'].amount():.2f} ms before the cut). Lower --floor, or give a smaller --imgsz "
            "or a longer --latency."
        )
        return [words]
    notes = cut.optional("notes", RecordValue.texts) or ()
    return [warning for note in notes if (warning := missed_budget_words(note))]


def disturbed_times(timed: Path) -> list[str]:
    """A warning when something disturbed the times that were measured into the folder `timed`."""
    found = _read(timed, lambda record: list(record.optional("warnings", RecordValue.texts) or ()))
    return [f"The milliseconds in the table are doubtful. {' '.join(found)}"] if found else []


def _read(folder: Path, read: Callable[[RecordValue], list[str]]) -> list[str]:
    """The warnings that `read` finds in the ``record.json`` of a stage, or the one that it cannot be read; none without it."""
    path = folder / "record.json"
    if not path.is_file():
        return []
    try:
        return read(open_record(path, "What it says of the result is not known."))
    except StorageError as error:
        return [str(error)]
