"""Says when a cut removes channels that still work, which is the commonest mistake: pruning without sparse training."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from slimyolo.models import Detector
from slimyolo.pruning import PrunePlan
from slimyolo.tasks.common.budgets import missed_budget_words

__all__ = ["REPAIR_COMMAND", "living_note", "say_notes"]

log = logging.getLogger("slimyolo")

SILENT_SHARE = 0.05  # a sparse network misses its share by a few channels


REPAIR_COMMAND = "slimyolo prune … --data YAML --importance taylor --reconstruct"


def living_note(plan: PrunePlan, detector: Detector, repair: str = REPAIR_COMMAND) -> str:
    """A sentence that says how many of the removed channels were not at zero in `detector`, and what to do; else empty.

    `repair` is the command or the call that repairs such a cut.
    """
    living, removed = plan.living(detector)
    if living <= SILENT_SHARE * removed:
        return ""
    if plan.importance in ("taylor", "fisher"):
        repair = repair.replace("--importance taylor ", "")
    return (
        f"{living} of the {removed} removed channels were not at zero: they still worked, and what they did is lost. Train the "
        "checkpoint sparse first (slimyolo sparsify, or slimyolo compress for the whole chain), or repair the cut: "
        f"{repair}. Then fine-tune."
    )


def say_notes(notes: Sequence[str]) -> None:
    """Log the notes of a cut: a budget that was not reached as a warning, all others as information."""
    for note in notes:
        if warning := missed_budget_words(note):
            log.warning("%s", warning)
        else:
            log.info("note: %s", note)
