"""Says when a cut removes channels that still work, which is the commonest mistake: pruning without sparse training."""

from __future__ import annotations

from slimyolo.models import Detector
from slimyolo.pruning import PrunePlan

__all__ = ["living_note"]

SILENT_SHARE = 0.05  # a sparse network misses its share by a few channels


def living_note(plan: PrunePlan, detector: Detector) -> str:
    """A sentence that says how many of the removed channels were not at zero in `detector`, and what to do; else empty."""
    living, removed = plan.living(detector)
    if living <= SILENT_SHARE * removed:
        return ""
    on_data = plan.importance in ("taylor", "fisher")
    scored = "" if on_data else "--importance taylor "
    return (
        f"{living} of the {removed} removed channels were not at zero: they still worked, and what they did is lost. Train the "
        "checkpoint sparse first (slimyolo sparsify, or slimyolo compress for the whole chain), or repair the cut: "
        f"slimyolo prune … --data YAML {scored}--reconstruct. Then fine-tune."
    )
