"""Compares two plans: their budgets, their costs, and the channels of each group that they keep."""

from __future__ import annotations

from dataclasses import dataclass

from slimyolo.one_line import one_line_repr
from slimyolo.pruning.plan.costs import CutCost
from slimyolo.pruning.plan.plan import GroupPlan, PrunePlan
from slimyolo.pruning.targets import target_words
from slimyolo.shown_text import counted, told_apart

__all__ = ["GroupDifference", "PlanDifference", "compare_plans"]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class GroupDifference:
    """A group that the two plans cut differently. `only_first` and `only_second` are channels that only this plan keeps.

    `kept_first` or `kept_second` is None if that plan does not have the group.
    """

    name: str
    layers: tuple[str, ...]
    width: int
    kept_first: int | None
    kept_second: int | None
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class PlanDifference:
    """How two plans differ.

    `same_model` says whether both plans are for models with the same tensors. `settings` has (name, first, second) for each
    setting that differs.
    """

    same_model: bool
    settings: tuple[tuple[str, str, str], ...]
    groups: tuple[GroupDifference, ...]
    equal_groups: int
    first: CutCost
    second: CutCost

    @property
    def equal(self) -> bool:
        """True when both plans make the same cut of the same model."""
        return self.same_model and not self.groups

    def text(self, first: str, second: str) -> str:
        """The difference as text for people; `first` and `second` are the names of the plans."""
        lines = (
            [] if self.same_model else ["The plans are for models with different tensors; groups are compared by name."]
        )
        lines += [f"{what}: {one} | {two}" for what, one, two in self.settings]
        lines.append(f"parameters: {self.first.params:,} | {self.second.params:,}")
        lines.append(f"MACs: {self.first.macs / 1e6:,.1f} M | {self.second.macs / 1e6:,.1f} M")
        if not self.groups:
            lines.append(f"The same channels are kept in {counted(self.equal_groups, 'group')}: nothing differs.")
            return "\n".join(lines)
        rows = [("group", "channels", f"kept in {first}", f"kept in {second}", "only first", "only second")]
        for group in self.groups:
            rows.append(
                (
                    group.name,
                    str(group.width),
                    "–" if group.kept_first is None else str(group.kept_first),
                    "–" if group.kept_second is None else str(group.kept_second),
                    str(len(group.only_first)),
                    str(len(group.only_second)),
                )
            )
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines += [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        lines.append(f"Groups that differ: {len(self.groups)}; that keep the same channels: {self.equal_groups}.")
        return "\n".join(lines)


def compare_plans(first: PrunePlan, second: PrunePlan) -> PlanDifference:
    """How `second` differs from `first`. Carriers count as kept channels."""
    settings = tuple(
        (name.replace("_", " "), _setting(first, name), _setting(second, name))
        for name in ("target", "policy", "importance", "constants", "round_to", "input_shape")
        if getattr(first, name) != getattr(second, name)
    )
    own, other = (
        dict(zip(told_apart(group.name for group in plan.groups), plan.groups, strict=True)) for plan in (first, second)
    )
    names = [*own, *(name for name in other if name not in own)]
    differences = [_difference(name, own.get(name), other.get(name)) for name in names]
    found = tuple(one for one in differences if one is not None)
    return PlanDifference(
        same_model=first.spec == second.spec,
        settings=settings,
        groups=found,
        equal_groups=len(names) - len(found),
        first=first.after,
        second=second.after,
    )


def _setting(plan: PrunePlan, name: str) -> str:
    return target_words(plan.target) if name == "target" else str(getattr(plan, name))


def _difference(name: str, first: GroupPlan | None, second: GroupPlan | None) -> GroupDifference | None:
    kept, others = (set() if group is None else set(group.kept) for group in (first, second))
    known = first if first is not None else second
    carriers = [None if group is None else group.carrier for group in (first, second)]
    if known is None or (first is not None and second is not None and kept == others and carriers[0] == carriers[1]):
        return None
    return GroupDifference(
        name=name,
        layers=known.layers,
        width=known.width,
        kept_first=None if first is None else len(kept),
        kept_second=None if second is None else len(others),
        only_first=tuple(sorted(kept - others)),
        only_second=tuple(sorted(others - kept)),
    )
