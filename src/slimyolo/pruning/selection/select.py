"""Chooses the channels to remove, from scores and a target, and makes a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slimyolo.errors import ConfigError, PruningError
from slimyolo.pruning.analysis.constants import Constants, analyse_constants
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group
from slimyolo.pruning.plan.costs import CostTable, CutCost
from slimyolo.pruning.plan.making import PlanTerms, make_plan
from slimyolo.pruning.plan.plan import PrunePlan
from slimyolo.pruning.rules import CutRules, SelectionFields, rules_with
from slimyolo.pruning.scores.importance import importance_name
from slimyolo.pruning.selection.floors import Room, kept_groups
from slimyolo.pruning.selection.savings import saving_per
from slimyolo.pruning.selection.steps import Step, step_sequence
from slimyolo.pruning.selection.threshold import global_threshold
from slimyolo.pruning.targets import (
    ChannelShare,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    Target,
    target_to_plain,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["select"]

Price = Callable[[PrunePlan], float]
_UNITS: dict[type, str] = {
    ParamsShare: "parameters",
    ParamsBudget: "parameters",
    MacsShare: "MACs",
    MacsBudget: "MACs",
    LatencyBudget: "milliseconds",
}
NAMED_AT_FLOOR = 8  # so many layers at their floor are named in a note
_LEAST_RATE = 0.01  # of the mean saving per slot


def select(
    graph: ChannelGraph,
    scores: Mapping[int, Tensor],
    target: Target,
    rules: CutRules | None = None,
    *,
    constants: str | Constants | None = None,
    price: Price | None = None,
    **fields: Unpack[SelectionFields],
) -> PrunePlan:
    """Choose the channels to remove, least important first, until the target is met.

    `rules`, and single `fields` of it, are those of `CutRules`. Only the name of its `importance` is used, since `scores` are
    given. `constants` is a mode, as in `CutRules`, or the result of `analyse_constants` for this graph. `price` returns the
    milliseconds of a plan; `LatencyBudget` and `per="ms"` need it.

    The smallest number of steps that meets a budget is taken. When floors prevent that, the notes of the plan name them.
    Raises `ConfigError` for contradicting arguments.
    """
    rules = rules_with(rules, fields)
    if isinstance(constants, str):
        rules = replace(rules, constants=constants)
    target_to_plain(target)  # raises an error unless it is a target
    if rules.policy == "reference" and (
        not isinstance(target, ChannelShare) or rules.round_to != 1 or rules.per != "channels"
    ):
        raise ConfigError(
            "policy='reference' is the reference project's rule: it takes ChannelShare, round_to=1 and per='channels'. "
            "Use policy='coupled' for other budgets."
        )
    known = constants if isinstance(constants, Constants) else analyse_constants(graph, rules.constants)
    selection = _Selection(graph, scores, known, rules)
    named = importance_name(rules.importance)
    terms = PlanTerms(
        target=target,
        policy=rules.policy,
        importance=named if rules.per == "channels" else f"{named} per {rules.per}",
        round_to=rules.round_to,
        prunable_channels=selection.prunable,
        notes=(),
    )
    if rules.policy == "reference" and isinstance(target, ChannelShare):
        removed = selection.by_threshold(target.share)
        selection.notes.extend(selection.stopped_note())
    else:
        removed = selection.by_steps(target, terms, price)
    notes = tuple(dict.fromkeys([*selection.notes, *graph.kept]))
    return make_plan(graph, known, removed, selection.table, replace(terms, notes=notes))


@dataclass
class _Selection:
    graph: ChannelGraph
    scores: Mapping[int, Tensor]
    constants: Constants
    rules: CutRules
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = CostTable(self.graph)
        excluded = kept_groups(self.graph, self.rules.keep, self.rules.frozen)
        self.groups = [group for group in self.graph.groups if group.id not in excluded]
        self.by_id = {group.id: group for group in self.graph.groups}
        self.prunable = sum(group.width * _weight(group) for group in self.groups)
        self.order = {group.id: self._order(group) for group in self.groups}
        self.room = Room(self.graph, self.rules)
        self.stopped: dict[int, int] = {}
        if self.graph.undeployed:
            self.notes.append(
                f"Only training reads {', '.join(self.graph.undeployed)}: counts and budgets are about the network without "
                "them, and their own channels stay."
            )
        stuck = sum(int(self.constants.stuck[group.units].sum()) for group in self.groups)
        if stuck:
            self.notes.append(
                f"{stuck} coupled channels are kept, because nothing can take the constant that they would leave behind"
            )

    def _order(self, group: Group) -> Tensor:
        """The channels that may be removed, least important first."""
        values = self.scores.get(group.id)
        if values is None or values.shape != (group.width,) or bool(torch.isnan(values).any()):
            raise PruningError(
                f"scores of group {group.id} ({group.name}): expected a tensor of {group.width} numbers, got "
                f"{None if values is None else tuple(values.shape)}. Compute them with slimyolo.pruning.score."
            )
        order = torch.argsort(values, stable=True)
        return order[~self.constants.stuck[group.units[order]]]

    # -- the coupled policy ----------------------------------------------------------------------------------------

    def by_steps(self, target: Target, terms: PlanTerms, price: Price | None) -> dict[int, Tensor]:
        """The removed channels of each group: as many steps of the sequence as the target needs."""
        per = self.rules.per
        rates = self._milliseconds(price, terms) if per == "ms" and price is not None else None
        needs = {g.id: self.constants.needs_carrier[g.units[self.order[g.id]]] for g in self.groups}
        sequence, self.stopped = step_sequence(
            self.groups,
            self.order,
            self.scores,
            needs,
            self.rules.round_to,
            self.room,
            saving_per(per, self.table, rates),
        )
        if isinstance(target, ChannelShare):
            if not self.groups:
                self._report_floors("channels")
            return self._fill_share(sequence, target.share)
        count = self._steps_for(sequence, target, terms, price)
        return self._removed_after(sequence, count)

    def _milliseconds(self, price: Price, terms: PlanTerms) -> dict[int, float]:
        """By group, the milliseconds that one slot saves, measured by halving that group alone."""
        dense = price(self._plan({}, terms))
        saved = {}
        for group in self.groups:
            order = self.order[group.id][: max(2, group.width // 2)]
            plan = self._plan({group.id: order}, terms)
            slots = sum(one.width - len(one.kept) for one in plan.groups)
            saved[group.id] = (dense - price(plan)) / max(slots, 1)
        usual = sum(max(one, 0.0) for one in saved.values()) / max(len(saved), 1)
        least = max(_LEAST_RATE * usual, 1e-12)  # for groups where a noisy clock measures zero or less
        return {group: max(one, least) for group, one in saved.items()}

    def _plan(self, removed: Mapping[int, Tensor], terms: PlanTerms) -> PrunePlan:
        return make_plan(self.graph, self.constants, removed, self.table, terms)

    def _fill_share(self, sequence: Sequence[Step], share: float) -> dict[int, Tensor]:
        """Take every step that still fits into the share, in order. A group ends at its first step that does not fit."""
        room = share * self.prunable + 1e-9
        done: dict[int, int] = {}
        closed: set[int] = set()
        for step in sequence:
            more = (step.removed - done.get(step.group, 0)) * _weight(self.by_id[step.group])
            if step.group in closed or more > room:
                closed.add(step.group)
                continue
            room -= more
            done[step.group] = step.removed
        if not closed and room >= 1:
            self._report_floors("the share of removed channels")
        return {group: self.order[group][:count] for group, count in done.items()}

    def _last(self, sequence: Sequence[Step], count: int) -> dict[int, Step]:
        return {step.group: step for step in sequence[:count]}

    def _removed_after(self, sequence: Sequence[Step], count: int) -> dict[int, Tensor]:
        return {group: self.order[group][: step.removed] for group, step in self._last(sequence, count).items()}

    def _steps_for(
        self,
        sequence: Sequence[Step],
        target: ParamsShare | MacsShare | ParamsBudget | MacsBudget | LatencyBudget,
        terms: PlanTerms,
        price: Price | None,
    ) -> int:
        """The smallest number of steps that meets the budget. When it cannot be met: all steps, with a note."""

        def plan_after(count: int) -> PrunePlan:
            return self._plan(self._removed_after(sequence, count), terms)

        if isinstance(target, LatencyBudget):
            if price is None:
                raise ConfigError("LatencyBudget needs price=: a function that returns the milliseconds of a plan.")
            measure: Price = price
            measured: dict[int, float] = {}

            def over(count: int) -> bool:
                measured[count] = measure(plan_after(count))
                return measured[count] > target.milliseconds
        else:
            dense = self.table.cost({})
            by_params = isinstance(target, (ParamsShare, ParamsBudget))
            limit = _limit(target, dense)

            def over(count: int) -> bool:
                gone = {g: self.by_id[g].width - s.slots for g, s in self._last(sequence, count).items()}
                cost = self.table.cost(gone)
                if by_params and cost.params <= limit:  # the biases that folding makes count as well
                    cost = plan_after(count).after
                return (cost.params if by_params else cost.macs) > limit

        if not over(0):
            count = 0
        elif over(len(sequence)):
            self._report_floors(_UNITS[type(target)])
            count = len(sequence)
        else:
            count = _largest(over, len(sequence)) + 1
        if isinstance(target, LatencyBudget):
            self.notes.append(
                f"latency: {measured[0]:.2f} ms before, {measured[count]:.2f} ms after, by the price function"
            )
        return count

    def _report_floors(self, what: str) -> None:
        why = "every remaining channel is kept by a floor" if self.groups else "no channel of this model can be cut"
        self.notes.append(f"The budget for {what} could not be reached: {why}.")
        self.notes.extend(self.stopped_note())

    def stopped_note(self) -> list[str]:
        """A note that names the layers at their floor; an empty list when there is none."""
        if not self.stopped:
            return []
        names, least = [], self.rules.least_share
        for number, left in self.stopped.items():
            group = self.by_id[number]
            own = max((self.rules.share_kept_of(layer) for layer in group.layers), default=least)
            special = "" if own == least else f", own floor {own:g}"
            names.append(f"{group.name} (keeps {left} of {group.width}{special})")
        more = f" … and {len(names) - NAMED_AT_FLOOR} more" if len(names) > NAMED_AT_FLOOR else ""
        shown = ", ".join(names[:NAMED_AT_FLOOR])
        return [f"At the floor of {least:g} of each layer, at least one channel: {shown}{more}."]

    # -- the reference policy --------------------------------------------------------------------------------------

    def by_threshold(self, share: float) -> dict[int, Tensor]:
        """The reference's rule: every channel below the value at index int(N · share) of the sorted pool is removed."""
        threshold = global_threshold([self.scores[g.id].repeat(_weight(g)) for g in self.groups], share)
        if threshold is None:
            return {}
        if threshold == 0.0:
            self.notes.append(
                "The reference rule keeps every channel whose score equals the threshold, and that is 0 here: nothing is "
                "removed. Use policy='coupled', which removes channels that are exactly zero."
            )
        removed = {}
        for group in self.groups:
            order = self.order[group.id]
            out = order[self.scores[group.id][order] < threshold]
            most = self.room.most(group)
            if out.numel() > most:
                self.stopped[group.id] = group.width - most
                out = out[:most]
            self.room.take(group, out.numel())
            removed[group.id] = out
        if share > 0 and threshold != 0.0 and not any(bool((self.scores[g.id] < threshold).any()) for g in self.groups):
            self.notes.append(
                f"The reference rule removes channels whose score is below the threshold, and no score is below {threshold:g}, "
                "which is also the lowest: nothing is removed. Use policy='coupled', which orders equal scores by their place."
            )
        return removed


def _limit(target: ParamsShare | MacsShare | ParamsBudget | MacsBudget, dense: CutCost) -> float:
    if isinstance(target, ParamsShare):
        return target.share * dense.params
    if isinstance(target, MacsShare):
        return target.share * dense.macs
    return target.params if isinstance(target, ParamsBudget) else target.macs


def _weight(group: Group) -> int:
    return max(1, group.gammas)


def _largest(fits: Callable[[int], bool], top: int) -> int:
    """Largest count in 0..top for which `fits` holds (it holds for 0 and turns false once)."""
    low, high = 0, top
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
