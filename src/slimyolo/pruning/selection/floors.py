"""How many channels of each layer may still be removed, and which groups stay whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from slimyolo.errors import ConfigError
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group
from slimyolo.pruning.rules import CutRules, layer_matches, leading_paths
from slimyolo.tracing.running import lies_in

__all__ = ["Room", "kept_groups"]


class Room:
    """How many channels may still be removed from each layer of a graph."""

    def __init__(self, graph: ChannelGraph, rules: CutRules) -> None:
        paths = [name for name, _ in graph.module.named_modules() if name]
        for name, patterns in (("floor_of", rules.floor_of), ("cap_of", rules.cap_of)):
            for pattern in patterns:
                _check_pattern(name, pattern, paths)
        least = min((rules.least_share, *rules.floor_of.values()))
        self._room: dict[tuple[str, int], int] = {}
        self._loose: dict[int, int] = {}
        self._axes: dict[int, list[tuple[tuple[str, int], int]]] = {}
        axes = {(e.weight, axis) for e in graph.emitters for axis in (0, 1)}
        shapes = {name: tensor.shape for name, tensor in graph.module.named_parameters(remove_duplicate=False)}
        read = {(consumer.weight, consumer.axis) for consumer in graph.consumers}
        for group in graph.groups:
            for member in group.members:
                key = (member.tensor, member.axis)
                if key in axes and member.tensor in shapes:
                    size = shapes[member.tensor][member.axis]
                    # patterns are about a layer's outputs; of its inputs, only the smallest share must stay
                    share = least if key in read else rules.share_kept_of(member.tensor.rpartition(".")[0])
                    self._room[key] = size - max(1, math.ceil(share * size - 1e-9))
            self._axes[group.id] = [
                ((m.tensor, m.axis), m.index.shape[1]) for m in group.members if (m.tensor, m.axis) in self._room
            ]
            if not self._axes[group.id]:
                self._loose[group.id] = group.width - 1

    def most(self, group: Group) -> int:
        """How many more channels of `group` may be removed."""
        if group.id in self._loose:
            return self._loose[group.id]
        return max(0, min(self._room[key] // copies for key, copies in self._axes[group.id]))

    def take(self, group: Group, count: int) -> None:
        """Note that `count` more channels of `group` are removed."""
        if group.id in self._loose:
            self._loose[group.id] -= count
        for key, copies in self._axes[group.id]:
            self._room[key] -= count * copies


def kept_groups(graph: ChannelGraph, keep: Sequence[str], frozen: Sequence[str]) -> set[int]:
    """Ids of groups that stay whole: they own a layer named by `keep` (patterns) or `frozen` (exact paths).

    Groups that lie in parts which only training reads (`ChannelGraph.undeployed`) stay whole, too.
    A pattern matches a path when it matches the whole path or a leading part of it (`"model.0"` keeps `model.0.conv`).
    Raises `ConfigError` for a pattern that matches no module.
    """
    paths = [name for name, _ in graph.module.named_modules() if name]
    for pattern in keep:
        _check_pattern("keep", pattern, paths)
    for name in frozen:
        if name not in paths:
            raise ConfigError(f"frozen={name!r} is not a module of the model.{_nearest(name, paths)}")
    named = set(frozen)
    return {
        group.id
        for group in graph.groups
        if _serves_training_only(graph, group)
        or any(
            named & set(leading_paths(layer)) or any(layer_matches(layer, p) for p in keep) for layer in group.layers
        )
    }


def _serves_training_only(graph: ChannelGraph, group: Group) -> bool:
    return bool(group.layers) and all(lies_in(layer, graph.undeployed) for layer in group.layers)


def _check_pattern(argument: str, pattern: str, paths: Sequence[str]) -> None:
    if not any(fnmatchcase(path, pattern) for path in paths):
        raise ConfigError(f"{argument}={pattern!r} matches no module of the model.{_nearest(pattern, paths)}")


def _nearest(name: str, paths: Iterable[str]) -> str:
    near = get_close_matches(name, list(paths), n=3)
    return f" Did you mean {', '.join(repr(one) for one in near)}?" if near else ""
