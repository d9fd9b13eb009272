"""The order in which channels are removed: groups are narrowed in steps, and the step with the lowest key is next.

The key is the score of a step, divided by its saving if there is one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from slimyolo.pruning.graph.channel_graph import Group
from slimyolo.pruning.selection.floors import Room
from slimyolo.pruning.selection.savings import Saving

__all__ = ["Step", "step_sequence"]


@dataclass(frozen=True)
class Step:
    """One step of narrowing a group: channels removed and slots left after it, and the score of the channels it removes."""

    group: int
    removed: int
    slots: int
    score: float
    channels: int


def step_sequence(
    groups: Sequence[Group],
    order: Mapping[int, Tensor],
    scores: Mapping[int, Tensor],
    needs_carrier: Mapping[int, Tensor],
    round_to: int,
    room: Room,
    saving: Saving | None,
) -> tuple[list[Step], dict[int, int]]:
    """(steps in the order in which they are taken, channels left in each group that a floor stops).

    `order` holds the channels of each group that may be removed, least important first. `needs_carrier` says for each of them
    whether its constant needs a carrier, which takes a slot. Without `saving`, steps are ordered by their mean score. With
    `saving`, they are ordered by score / saving, where the saving is computed for the network at that step. (Lazy greedy:
    savings only fall, so an old key is a lower bound, and only the front of the queue is computed again.) A step that has an
    infinite score or saves nothing is never taken.
    """
    waiting = {g.id: _Waiting(g, _steps(g, order[g.id], scores[g.id], needs_carrier[g.id], round_to)) for g in groups}
    gone: dict[int, int] = {}
    heap = [(one.key(gone, saving), number) for number, one in waiting.items()]
    heapq.heapify(heap)
    sequence: list[Step] = []
    stopped: dict[int, int] = {}
    while heap and heap[0][0] < math.inf:
        number = heap[0][1]
        one = waiting[number]
        key = one.key(gone, saving)
        if len(heap) > 1 and (key, number) > min(
            heap[1:3]
        ):  # a neighbour has shrunk since then, so this step saves less now
            heapq.heapreplace(heap, (key, number))
            continue
        step = one.left[one.together - 1]
        if step.removed - one.removed > room.most(one.group):
            stopped[number] = one.group.width - one.removed
            heapq.heappop(heap)
            continue
        room.take(one.group, step.removed - one.removed)
        one.take(step)
        gone[number] = one.group.width - step.slots
        sequence.append(step)
        heapq.heapreplace(heap, (one.key(gone, saving), number))
    return sequence, stopped


class _Waiting:
    """The steps of a group that are not taken yet. The first `together` of them are taken as one move."""

    def __init__(self, group: Group, steps: list[Step]) -> None:
        self.group = group
        self.left = steps
        self.removed = 0
        self.slots = group.width
        self.together = 1
        self._highest = -math.inf

    def key(self, gone: Mapping[int, int], saving: Saving | None) -> float:
        """Score of the next move, divided by its saving if there is one; infinite when no move is left."""
        if not self.left:
            return math.inf
        if saving is None:
            self._highest = max(self._highest, self.left[0].score / self.left[0].channels)
            return self._highest
        # a channel that becomes the carrier frees no slot, so it goes together with the next one
        narrower = next((n for n, step in enumerate(self.left, start=1) if step.slots < self.slots), None)
        if narrower is None:
            return math.inf
        self.together = narrower
        saved = saving(gone, self.group.id, self.slots - self.left[narrower - 1].slots)
        return sum(step.score for step in self.left[:narrower]) / saved if saved > 0 else math.inf

    def take(self, step: Step) -> None:
        """Note that the next move was made."""
        self.left = self.left[self.together :]
        self.removed, self.slots, self.together = step.removed, step.slots, 1


def _steps(group: Group, order: Tensor, scores: Tensor, needs_carrier: Tensor, round_to: int) -> list[Step]:
    values, needs = scores[order].tolist(), needs_carrier.tolist()
    steps: list[Step] = []
    if round_to == 1:
        carrier = 0
        for count, (value, need) in enumerate(zip(values, needs, strict=True), start=1):
            carrier = carrier or int(need)
            steps.append(Step(group.id, count, group.width - count + carrier, value, 1))
        return steps
    done = 0
    slots = (group.width - 1) // round_to * round_to
    while slots >= round_to:
        count = group.width - slots
        if count <= len(order) and any(needs[:count]):
            count += 1
        if count > len(order) or count >= group.width:
            break
        steps.append(Step(group.id, count, slots, sum(values[done:count]), max(count - done, 1)))
        done, slots = count, slots - round_to
    return steps
