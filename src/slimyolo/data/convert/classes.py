"""Which classes the new dataset has, under which names: ``--classes person,automobile=car``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimyolo.errors import ConfigError, DataError, nearest_name_hint

__all__ = ["ClassChoice", "choose_classes"]


@dataclass(frozen=True)
class ClassChoice:
    """The class names of the new dataset, and the number of each class of the source that is kept."""

    names: tuple[str, ...]
    number_of: Mapping[str, int]


def choose_classes(names: Sequence[str], wanted: Sequence[str]) -> ClassChoice:
    """All of `names` in their order, or the `wanted` ones in the order in which they are given.

    ``OLD=NEW`` renames a class; several classes may get the same new name. Raises `ConfigError` for a class that the source
    does not have, or that is given twice, and `DataError` when the source has no class or two with one name.
    """
    if not names:
        raise DataError("The source has no box, so there are no classes to learn.")
    repeated = (
        next((name for name in names if list(names).count(name) > 1), None) if len(set(names)) < len(names) else None
    )
    if repeated is not None:
        numbers = [str(number) for number, name in enumerate(names) if name == repeated]
        raise DataError(f"The classes {' and '.join(numbers)} have the same name {repeated!r}. Rename one of them.")
    if not wanted:
        return ClassChoice(tuple(names), {name: number for number, name in enumerate(names)})
    new: dict[str, int] = {}
    number_of: dict[str, int] = {}
    for item in wanted:
        # a name of the source may hold an equals sign itself
        old, _, renamed = (item, "", item) if item in names else item.rpartition("=")
        if not old or not renamed.strip():
            old, renamed = item, item
        if old not in names:
            raise ConfigError(
                f"--classes: the source has no class {old!r}.{nearest_name_hint(old, names)} It has: {_shortened(names)}."
            )
        if old in number_of:
            raise ConfigError(f"--classes: {old!r} is given twice.")
        number_of[old] = new.setdefault(renamed.strip(), len(new))
    return ClassChoice(tuple(new), number_of)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
