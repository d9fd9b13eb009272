"""Finds out which sizes in the calls of operators come from which attribute of a module, by changing it and running again.

The second run gets the results of the first one, operator by operator, so it never fails and shapes in it do not change:
only numbers that the code takes from the attribute (`x.split([self.width, …])`) differ between the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from slimyolo.tracing.recording import Recorder, recorded_with
from slimyolo.tracing.restoring import left_as_it_was

__all__ = ["Driven", "Drives", "sizes_driven"]

Driven = Mapping[str, Mapping[int, int]]
"""Name of an operation → place among the arguments of its call (lists are laid out flat) → the size there that follows."""
Drives = Callable[[str, str, int | None], Driven]
"""A function (module path, attribute, item of a list or None) → the sizes that follow this attribute."""


def sizes_driven(call: nn.Module, inputs: Sequence[Any], prefix: str) -> Drives:
    """The function `Drives` for one run `call(*inputs)`; `prefix` leads from `call` to the module whose paths are given."""
    first: list[_Logger] = []
    known: dict[tuple[str, str, int | None], Driven] = {}

    def driven(path: str, attribute: str, item: int | None) -> Driven:
        if not first:
            first.append(_Logger())
            recorded_with(first[0], call, inputs)
        place = (path, attribute, item)
        if place not in known:
            owner = call.get_submodule(f"{prefix}.{path}" if path else prefix)
            known[place] = _changed_by(call, inputs, owner, attribute, item, first[0])
        return known[place]

    return driven


class _Logger(Recorder):
    """Records a run, and remembers each call with its result."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, list[Any], Any, str]] = []

    def called(self, func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
        result = super().called(func, args, given)
        self.calls.append((func, _numbers(args, given), result, self.last_name))
        return result


class _Replayer(Recorder):
    """Answers each call with the result of the first run, and notes the numbers that differ."""

    def __init__(self, first: _Logger) -> None:
        super().__init__()
        self._first = first
        self._next = 0
        self.changed: dict[str, Mapping[int, int]] = {}

    def called(self, func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
        wanted, numbers, result, name = self._first.calls[self._next]
        now = _numbers(args, given)
        if func is not wanted or len(now) != len(numbers):
            raise _OtherCalls
        self._next += 1
        pairs = enumerate(zip(numbers, now, strict=True))
        different = {place: old for place, (old, new) in pairs if old != new and isinstance(old, int)}
        if different:
            self.changed[name] = different
        return result


class _OtherCalls(Exception):
    """The changed attribute leads to other operators, so it is no size."""


def _changed_by(
    call: nn.Module, inputs: Sequence[Any], owner: nn.Module, attribute: str, item: int | None, first: _Logger
) -> Driven:
    replayer = _Replayer(first)
    with left_as_it_was(call):
        held = getattr(owner, attribute)
        setattr(owner, attribute, held + 1 if item is None else type(held)(_one_more(held, item)))
        with suppress(Exception):  # the code may refuse the number; what was seen up to there counts
            recorded_with(replayer, call, inputs)
    return replayer.changed


def _one_more(held: Sequence[int], item: int) -> list[int]:
    return [number + 1 if place == item else number for place, number in enumerate(held)]


def _numbers(args: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call without its tensors."""
    plain = tree_map_only(Tensor, lambda _: None, (tuple(args), dict(given)))
    return [int(leaf) if isinstance(leaf, torch.SymInt) else leaf for leaf in tree_leaves(plain)]
