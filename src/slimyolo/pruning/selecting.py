"""Which channels go: from scores and a target to a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from slimyolo.errors import ConfigError, PruningError, nearest_name_hint
from slimyolo.pruning.channel_graph import ChannelGraph, Group
from slimyolo.pruning.constants import Constants, analyse_constants
from slimyolo.pruning.plan import PrunePlan
from slimyolo.pruning.planning import PlanTerms, make_plan
from slimyolo.pruning.prices import PriceTable
from slimyolo.pruning.targets import ChannelShare, LatencyBudget, MacsShare, ParamsShare, Target, target_to_plain

__all__ = ["POLICIES", "kept_groups", "select"]

POLICIES = ("coupled", "reference")
Price = Callable[[PrunePlan], float]
_UNITS: dict[type, str] = {ParamsShare: "parameters", MacsShare: "MACs", LatencyBudget: "milliseconds"}


def select(
    graph: ChannelGraph,
    scores: Mapping[int, Tensor],
    target: Target,
    *,
    keep: Sequence[str] = (),
    frozen: Sequence[str] = (),
    floor: float | None = None,
    round_to: int = 1,
    policy: str = "coupled",
    constants: str | Constants = "carrier",
    price: Price | None = None,
    importance: str = "gamma",
) -> PrunePlan:
    """Choose the channels to remove, least important first, until the target is met.

    `keep` are module-path patterns (`"model.0.*"`), `frozen` exact module paths, of layers that stay whole. `floor` is the
    share of each layer that must stay (default 0.1, and at least one channel; 0 for the reference policy). `round_to`
    makes kept widths multiples of it (carriers included). `price` gives milliseconds of a plan, for `LatencyBudget`.
    Policy "reference" is the threshold rule of the reference project: every |score| below the value at index
    int(N·share) of the sorted pool goes (`ChannelShare` only; pass the layers it skips as `frozen`).

    The budget is met with one step less cut than would miss it; when floors prevent that, the plan's notes name them.
    Raises `ConfigError` for contradicting arguments.
    """
    if policy not in POLICIES:
        raise ConfigError(
            f"policy={policy!r}: expected one of {', '.join(POLICIES)}.{nearest_name_hint(policy, POLICIES)}"
        )
    if isinstance(round_to, bool) or not isinstance(round_to, int) or round_to < 1:
        raise ConfigError(f"round_to={round_to!r}: expected a whole number of at least 1, for instance 8.")
    target_to_plain(target)  # refuses what is not a target
    share = (0.0 if policy == "reference" else 0.1) if floor is None else floor
    if not 0.0 <= share < 1.0:
        raise ConfigError(f"floor={floor!r}: expected a share of at least 0 and below 1, for instance 0.1.")
    known = constants if isinstance(constants, Constants) else analyse_constants(graph, constants)
    excluded = kept_groups(graph, keep, frozen)
    selection = _Selection(graph, scores, known, excluded, share, round_to)
    if policy == "reference":
        if not isinstance(target, ChannelShare) or round_to != 1:
            raise ConfigError(
                "policy='reference' is the reference project's rule: it takes ChannelShare and round_to=1. Use "
                "policy='coupled' for other budgets."
            )
        removed = selection.by_threshold(target.share)
        selection.notes.extend(selection.blocked_note())
    else:
        removed = selection.by_steps(target, price, importance)
    notes = tuple(dict.fromkeys([*selection.notes, *graph.kept]))
    terms = PlanTerms(target, policy, importance, round_to, selection.prunable, notes)
    return make_plan(graph, known, removed, selection.table, terms)


def kept_groups(graph: ChannelGraph, keep: Sequence[str], frozen: Sequence[str]) -> set[int]:
    """Ids of groups that own a layer named by `keep` (patterns) or `frozen` (exact paths).

    A pattern matches a path when it matches it whole or any leading part of it (`"model.0"` keeps `model.0.conv`).
    Raises `ConfigError` for a pattern that matches no module.
    """
    paths = [name for name, _ in graph.module.named_modules() if name]
    for pattern in keep:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise ConfigError(f"keep={pattern!r} matches no module of the model.{nearest_name_hint(pattern, paths)}")
    for name in frozen:
        if name not in paths:
            raise ConfigError(f"frozen={name!r} is no module of the model.{nearest_name_hint(name, paths)}")
    named = set(frozen)
    found = set()
    for group in graph.groups:
        leading = {".".join(layer.split(".")[: n + 1]) for layer in group.layers for n in range(layer.count(".") + 1)}
        if named & leading or any(fnmatchcase(part, pattern) for part in leading for pattern in keep):
            found.add(group.id)
    return found


@dataclass(frozen=True)
class _Step:
    """One narrowing of a group: its importance, and the channels removed and the slots left after it."""

    key: float
    group: int
    removed: int
    slots: int


@dataclass
class _Selection:
    graph: ChannelGraph
    scores: Mapping[int, Tensor]
    constants: Constants
    excluded: set[int]
    floor: float
    round_to: int
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = PriceTable(self.graph)
        self.groups = [g for g in self.graph.groups if g.id not in self.excluded]
        self.by_id = {group.id: group for group in self.graph.groups}
        self.prunable = sum(group.width * _weight(group) for group in self.groups)
        self.order = {group.id: self._order(group) for group in self.groups}
        self.blocked: dict[int, int] = {}
        self.minimum = self._minimum()
        stuck = sum(int(self.constants.stuck[group.units].sum()) for group in self.groups)
        if stuck:
            self.notes.append(
                f"{stuck} coupled channels are kept: nothing can take the constant they would leave behind"
            )

    def _order(self, group: Group) -> Tensor:
        """Channels that may go, least important first."""
        values = self.scores.get(group.id)
        if values is None or values.shape != (group.width,):
            raise PruningError(
                f"scores of group {group.id} ({group.name}): expected a tensor of {group.width} values, got "
                f"{None if values is None else tuple(values.shape)}. Compute them with slimyolo.pruning.score."
            )
        order = torch.argsort(values, stable=True)
        return order[~self.constants.stuck[group.units[order]]]

    def _minimum(self) -> dict[tuple[str, int], list[int]]:
        """Per layer axis: [channels now, channels that must stay]."""
        makers = {(e.weight, axis) for e in self.graph.emitters for axis in (0, 1)}
        sizes: dict[tuple[str, int], list[int]] = {}
        every = dict(self.graph.module.named_parameters(remove_duplicate=False))
        for group in self.graph.groups:
            for member in group.members:
                if (member.tensor, member.axis) in makers and member.tensor in every:
                    size = every[member.tensor].shape[member.axis]
                    sizes[member.tensor, member.axis] = [size, max(1, math.ceil(self.floor * size - 1e-9))]
        return sizes

    # -- the coupled policy ----------------------------------------------------------------------------------------

    def _steps(self, group: Group) -> list[_Step]:
        order = self.order[group.id]
        values = self.scores[group.id][order].tolist()
        needs = self.constants.needs_carrier[group.units[order]].tolist()
        steps: list[_Step] = []
        key, carrier, done = -math.inf, 0, 0
        if self.round_to == 1:
            for count, (value, need) in enumerate(zip(values, needs, strict=True), start=1):
                key, carrier = max(key, value), carrier or int(need)
                steps.append(_Step(key, group.id, count, group.width - count + carrier))
            return steps
        slots = (group.width - 1) // self.round_to * self.round_to
        while slots >= self.round_to:
            count = group.width - slots
            if count <= len(order) and any(needs[:count]):
                count += 1
            if count > len(order) or count >= group.width:
                break
            key = max(key, sum(values[done:count]) / max(count - done, 1))
            steps.append(_Step(key, group.id, count, slots))
            done, slots = count, slots - self.round_to
        return steps

    def _sequence(self) -> list[_Step]:
        """Steps of all groups by importance, without those a floor forbids."""
        every = sorted((step for group in self.groups for step in self._steps(group)), key=lambda s: (s.key, s.group))
        left = {key: now for key, (now, _) in self.minimum.items()}
        done: dict[int, int] = {}
        sequence = []
        for step in every:
            group = self.by_id[step.group]
            if step.group in self.blocked:
                continue
            more = step.removed - done.get(step.group, 0)
            axes = [(m.tensor, m.axis, m.index.shape[1]) for m in group.members if (m.tensor, m.axis) in left]
            if step.removed >= group.width and not axes:
                self.blocked[step.group] = group.width
                continue
            if any(left[t, a] - more * copies < self.minimum[t, a][1] for t, a, copies in axes):
                self.blocked[step.group] = group.width - done.get(step.group, 0)
                continue
            for t, a, copies in axes:
                left[t, a] -= more * copies
            done[step.group] = step.removed
            sequence.append(step)
        return sequence

    def by_steps(self, target: Target, price: Price | None, importance: str) -> dict[int, Tensor]:
        """Removed channels per group: as many steps of the sequence as the target asks for."""
        sequence = self._sequence()
        if isinstance(target, ChannelShare):
            return self._fill_share(sequence, target.share)
        count = self._steps_for(sequence, target, price, importance)
        return self._removed_after(sequence, count)

    def _fill_share(self, sequence: Sequence[_Step], share: float) -> dict[int, Tensor]:
        """Every step that still fits below the share, in order; a group stops at its first that does not."""
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

    def _last(self, sequence: Sequence[_Step], count: int) -> dict[int, _Step]:
        return {step.group: step for step in sequence[:count]}

    def _removed_after(self, sequence: Sequence[_Step], count: int) -> dict[int, Tensor]:
        return {group: self.order[group][: step.removed] for group, step in self._last(sequence, count).items()}

    def _steps_for(
        self,
        sequence: Sequence[_Step],
        target: ParamsShare | MacsShare | LatencyBudget,
        price: Price | None,
        importance: str,
    ) -> int:
        if isinstance(target, LatencyBudget):
            if price is None:
                raise ConfigError("LatencyBudget needs price=: a function that gives the milliseconds of a plan.")
            measure: Price = price
            limit = target.milliseconds

            def over(count: int) -> bool:
                terms = PlanTerms(target, "coupled", importance, self.round_to, self.prunable, ())
                plan = make_plan(self.graph, self.constants, self._removed_after(sequence, count), self.table, terms)
                return measure(plan) > limit
        else:
            dense = self.table.cost({})
            limit = target.share * (dense.params if isinstance(target, ParamsShare) else dense.macs)

            def over(count: int) -> bool:
                gone = {g: self.by_id[g].width - s.slots for g, s in self._last(sequence, count).items()}
                cost = self.table.cost(gone)
                if isinstance(target, ParamsShare) and cost.params <= limit:  # biases that folding makes count, too
                    terms = PlanTerms(target, "coupled", importance, self.round_to, self.prunable, ())
                    removed = self._removed_after(sequence, count)
                    cost = make_plan(self.graph, self.constants, removed, self.table, terms).after
                return (cost.params if isinstance(target, ParamsShare) else cost.macs) > limit

        if over(len(sequence)):
            self._report_floors(_UNITS[type(target)])
            return len(sequence)
        return 0 if not over(0) else _largest(over, len(sequence)) + 1

    def _report_floors(self, what: str) -> None:
        self.notes.append(f"The budget for {what} could not be reached: every remaining channel is kept by a floor.")
        self.notes.extend(self.blocked_note())

    def blocked_note(self) -> list[str]:
        """Which layers stand at their floor."""
        if not self.blocked:
            return []
        names = ", ".join(
            f"{self.by_id[g].name} (keeps {left} of {self.by_id[g].width})" for g, left in self.blocked.items()
        )
        return [f"At the floor of {self.floor:g} of each layer, at least one channel: {names}."]

    # -- the reference policy --------------------------------------------------------------------------------------

    def by_threshold(self, share: float) -> dict[int, Tensor]:
        """The reference's rule: below the value at index int(N·share) of the sorted pool."""
        pool = torch.cat([self.scores[g.id].repeat(_weight(g)) for g in self.groups] or [torch.zeros(0)])
        if not pool.numel():
            return {}
        threshold = float(torch.sort(pool).values[min(int(pool.numel() * share), pool.numel() - 1)])
        if threshold == 0.0:
            self.notes.append(
                "The reference rule keeps every channel whose score equals the threshold, and that is 0 here: nothing is "
                "removed. Use policy='coupled', which removes channels that are exactly zero."
            )
        left = {key: now for key, (now, _) in self.minimum.items()}
        removed = {}
        for group in self.groups:
            order = self.order[group.id]
            out = order[self.scores[group.id][order] < threshold]
            axes = [(m.tensor, m.axis, m.index.shape[1]) for m in group.members if (m.tensor, m.axis) in left]
            room = (
                min((left[t, a] - self.minimum[t, a][1]) // copies for t, a, copies in axes)
                if axes
                else group.width - 1
            )
            if out.numel() > room:
                self.blocked[group.id] = group.width - max(room, 0)
                out = out[: max(room, 0)]
            for t, a, copies in axes:
                left[t, a] -= out.numel() * copies
            removed[group.id] = out
        return removed


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
