"""``slimyolo plan show`` and ``slimyolo plan diff``: prune plans as text, or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slimyolo.errors import PruningError
from slimyolo.pruning import PrunePlan, compare_plans, target_words
from slimyolo.storage import read_user_file, to_plain
from slimyolo.tasks.prune.plan_config import PlanDiffConfig, PlanShowConfig

__all__ = ["diff", "read_plan", "show"]


def read_plan(path: Path) -> PrunePlan:
    """The plan in a JSON file, or in the ``plan.json`` of a run folder. Raises `PruningError` naming the file."""
    file = path / "plan.json" if path.is_dir() else path
    try:
        return PrunePlan.from_json(read_user_file(file, "JSON file").decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not a text file" if isinstance(error, UnicodeDecodeError) else error
        raise PruningError(
            f"Cannot read the plan {file}: {why}. `slimyolo prune` writes a plan to plan.json in its run folder, and "
            f"to the file that --plan-out names."
        ) from None
    except PruningError as error:
        raise PruningError(f"{file}: {error}") from None


def show(config: PlanShowConfig) -> str:
    """The plan as a table with its settings and notes, or as JSON."""
    plan = read_plan(config.file)
    if config.json_output:
        return json.dumps(_summary(plan), indent=2, ensure_ascii=False)
    head = (
        f"This cut keeps {target_words(plan.target)}: importance {plan.importance}, policy {plan.policy}, constants "
        f"{plan.constants}, round to {plan.round_to}; model {plan.spec}"
    )
    return "\n".join([head, plan.table(), *(f"note: {note}" for note in plan.notes)])


def diff(config: PlanDiffConfig) -> tuple[str, bool]:
    """How the second plan differs from the first, as text or JSON, and whether they make the same cut."""
    difference = compare_plans(read_plan(config.first), read_plan(config.second))
    if config.json_output:
        return json.dumps(to_plain(difference), indent=2, ensure_ascii=False), difference.equal
    names = (config.first.name, config.second.name)
    first, second = names if names[0] != names[1] else ("first", "second")
    return difference.text(first, second), difference.equal


def _summary(plan: PrunePlan) -> dict[str, Any]:
    """The content of the table as data, without the index maps, which only a replay needs."""
    groups = [
        {
            "name": group.name,
            "layers": list(group.layers),
            "channels": group.width,
            "kept": len(group.kept),
            "carrier": group.carrier,
            "saves": to_plain(group.saves),
        }
        for group in plan.groups
    ]
    return {
        "target": str(plan.target),
        "policy": plan.policy,
        "importance": plan.importance,
        "constants": plan.constants,
        "round_to": plan.round_to,
        "model": plan.spec,
        "input_shape": list(plan.input_shape),
        "before": to_plain(plan.before),
        "after": to_plain(plan.after),
        "prunable_channels": plan.prunable_channels,
        "removed_channels": plan.removed_channels,
        "groups": groups,
        "notes": list(plan.notes),
    }
