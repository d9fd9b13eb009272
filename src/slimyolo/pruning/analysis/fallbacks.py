"""Decides what to try next when a cut model does not run, or gives other numbers than the masked model.

A trace does not show which sizes are written in the code. A module whose code contains sizes is treated in one way of `Strategy`
after another. If none works, the failing line of code keeps all channels that it touches. A line that only checks a width
(``assert``, ``raise``) is found by cutting single groups, and the groups that make it fail are kept. In the end whole modules
keep all their channels.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group, KeptWidth, Strategy
from slimyolo.pruning.surgery.check import outputs_of
from slimyolo.tracing.code_lines import Line, failing_line
from slimyolo.tracing.running import Forward

__all__ = ["Failure", "Fallbacks", "failing", "outputs_or_failure"]

_WAYS = ("attributes", "tied", "adapt", "inputs", "freeze")


@dataclass(frozen=True)
class Failure:
    """The place where the code of a cut model fails: module path and line of code."""

    path: str
    line: Line | None


def outputs_or_failure(cut: nn.Module, inputs: Sequence[Any], forward: Forward) -> list[Tensor] | Failure:
    """The outputs of the cut model (`outputs_of`), or the place where it fails."""
    try:
        return outputs_of(cut, inputs, forward)
    except Exception as error:  # the code may raise anything
        return Failure(_failing_module(cut, error), failing_line(error))


def failing(cut: nn.Module, inputs: Sequence[Any], forward: Forward) -> Failure | None:
    """The place where the cut model fails; None when it runs."""
    found = outputs_or_failure(cut, inputs, forward)
    return found if isinstance(found, Failure) else None


def _failing_module(model: nn.Module, error: BaseException) -> str:
    """Path of the innermost module whose code was running when `error` was raised."""
    paths = {id(part): name for name, part in model.named_modules()}
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if id(owner) in paths:
            found = paths[id(owner)]
    return found


class Fallbacks:
    """Remembers what was tried for one model."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._strategy = Strategy()
        self._tried: dict[str, set[str]] = {path: {way} for path, way in graph.fragile.items()}
        self._searched: set[Line] = set()

    def next(
        self,
        graph: ChannelGraph,
        failure: Failure | None,
        fails_alone: Callable[[Sequence[Group]], Failure | None] | None = None,
    ) -> Strategy:
        """The next strategy to try. `failure` is None when the cut model runs but gives other numbers.

        `fails_alone` says where the model fails when only these groups are cut; it finds the widths that code checks.
        Raises `PruningError` when nothing is left to try.
        """
        self._strategy = replace(self._strategy, by_path=dict(graph.fragile))
        if failure is None:
            self._strategy = self._all_frozen(graph)
        else:
            near = [path for path in graph.fragile if _related(path, failure.path) and self._open(graph, path)]
            chosen = max(near, key=lambda path: _common(path, failure.path), default=None)
            written = failure.line in graph.fragile_lines - self._strategy.lines  # the failing line contains such sizes
            if chosen is not None and not (written and self._open(graph, chosen) == ["freeze"]):
                self._strategy = self._another_way(graph, chosen)
            elif failure.path not in {*graph.fragile, *self._strategy.checked}:
                self._strategy = replace(self._strategy, checked=(*self._strategy.checked, failure.path))
            elif failure.line in _lines(graph) - self._strategy.lines and failure.line is not None:
                self._strategy = replace(self._strategy, lines=self._strategy.lines | {failure.line})
            elif widths := self._checked_widths(graph, failure, fails_alone):
                self._strategy = replace(self._strategy, widths=(*self._strategy.widths, *widths))
            else:
                self._strategy = self._keeping_whole(failure.path)
        return self._strategy

    def _open(self, graph: ChannelGraph, path: str) -> list[str]:
        """The ways not tried yet for a module. The root has no inputs that could be kept."""
        tried = self._tried.setdefault(path, set())
        senseless = {*([] if path else ["inputs"]), *([] if path in graph.tieable else ["tied"])}
        return [way for way in _WAYS if way not in tried | senseless]

    def _all_frozen(self, graph: ChannelGraph) -> Strategy:
        """Keep the channels of all modules with sizes in their code, since it is not known where the numbers go wrong."""
        paths = [path for path in graph.fragile if self._open(graph, path)]
        if not paths:
            raise _disagreement("its outputs")
        for path in paths:
            self._tried[path].update(_WAYS)
        return replace(self._strategy, by_path={**self._strategy.by_path, **dict.fromkeys(paths, "freeze")})

    def _another_way(self, graph: ChannelGraph, chosen: str) -> Strategy:
        """The next way for a module, and for all of the same type, since they run the same code."""
        current = dict(self._strategy.by_path)
        way, before = self._open(graph, chosen)[0], current[chosen]
        kind = type(graph.module.get_submodule(chosen))
        for path in [*current]:
            alike = type(graph.module.get_submodule(path)) is kind and current[path] == before
            if path == chosen or (alike and way in self._open(graph, path)):
                self._tried[path].add(way)
                current[path] = way
        return replace(self._strategy, by_path=current)

    def _checked_widths(
        self, graph: ChannelGraph, failure: Failure, fails_alone: Callable[[Sequence[Group]], Failure | None] | None
    ) -> tuple[KeptWidth, ...]:
        """The widths without which the failing line does not run; empty when they cannot be told, or were told before.

        Groups are halved until those are left whose cut alone makes the line fail: of n groups about log n are tried.
        """
        if fails_alone is None or failure.line is None or failure.line in self._searched:
            return ()
        self._searched.add(failure.line)

        def guilty(groups: Sequence[Group]) -> list[Group]:
            if not groups or fails_alone(groups) != failure:
                return []
            if len(groups) == 1:
                return list(groups)
            half = len(groups) // 2
            found = [*guilty(groups[:half]), *guilty(groups[half:])]
            return found or list(groups)  # they fail together only

        file, number = failure.line
        kind = type(graph.module.get_submodule(failure.path)).__name__
        where = f"the code of {kind} ({os.path.basename(file)}, line {number})"
        found = guilty(graph.groups)
        if len(found) == len(graph.groups):
            return ()  # nothing was learnt
        return tuple(KeptWidth(group.members[0].tensor, group.members[0].axis, group.name, where) for group in found)

    def _keeping_whole(self, path: str) -> Strategy:
        """Keep all channels that the failing module's code sees, then all inside it, then the same for the module around it."""
        whole = self._strategy.whole
        while path in whole and f"{path}.*" in whole:
            path = path.rpartition(".")[0]
        if not path and path in whole:
            raise _disagreement("the outermost module")
        return replace(self._strategy, whole=(*whole, f"{path}.*" if path in whole else path))


def _lines(graph: ChannelGraph) -> set[Line | None]:
    return {node.meta.get("line") for node in graph.program.nodes}


def _disagreement(where: str) -> PruningError:
    return PruningError(
        f"The cut model does not agree with the masked one (it fails in {where}), and there is no other module with sizes in "
        f"its code to keep whole. Keep the layers around this place with keep=(...)."
    )


def _related(first: str, second: str) -> bool:
    """True when one path is the other or lies inside it (everything lies in the root)."""
    inside = first.startswith(f"{second}.") or second.startswith(f"{first}.")
    return first in {second, ""} or inside


def _common(first: str, second: str) -> int:
    """How many leading parts two paths share."""
    pairs = zip(first.split("."), second.split("."), strict=False)
    return next(
        (count for count, (one, two) in enumerate(pairs) if one != two), min(first.count("."), second.count(".")) + 1
    )
