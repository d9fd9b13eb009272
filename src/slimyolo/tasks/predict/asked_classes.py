"""Which classes a person means by ``--classes``: numbers, or names of the model."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from slimyolo.errors import ConfigError, nearest_name_hint

__all__ = ["class_numbers"]

MOST_LISTED = 20
LONGEST_WORD = 60  # characters of a word in a message
LONGEST_NUMBER = 9  # digits; Python reads no number of thousands of digits


def class_numbers(asked: Sequence[int | str] | int | str, names: Sequence[str]) -> tuple[int, ...]:
    """The class numbers that `asked` means for a model with these class `names`, in order, without repeats.

    A word is a name; when it is none, it may be several, with commas between them: ``car,bus``. Names are compared without
    regard to capitals where this is unique. Raises `ConfigError` that lists the classes of the model.
    """
    found: list[int] = []
    for one in [asked] if isinstance(asked, (int, str)) else asked:
        if not isinstance(one, str):
            found.append(_number(index(one), names))
        else:
            found += [_number(part, names) for part in ([one] if one in names else one.split(",")) if part.strip()]
    return tuple(dict.fromkeys(found))


def _number(asked: int | str, names: Sequence[str]) -> int:
    """The number of one class."""
    word = asked.strip() if isinstance(asked, str) else asked
    if isinstance(word, str) and word in names:
        return names.index(word)
    if isinstance(word, int) or (word.isascii() and word.isdigit()):
        number = word if isinstance(word, int) else int(word[:LONGEST_NUMBER])
        if 0 <= number < len(names):
            return number
        raise ConfigError(f"--classes: the model has no class {str(word)[:LONGEST_WORD]}. {_listed(names)}")
    alike = [number for number, name in enumerate(names) if name.casefold() == word.casefold()]
    if len(alike) == 1:
        return alike[0]
    word = word[:LONGEST_WORD]
    raise ConfigError(f"--classes: the model has no class {word!r}.{nearest_name_hint(word, names)} {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    known = ", ".join(f"{number} {name}" for number, name in enumerate(names[:MOST_LISTED]))
    return f"It has {known}{' …' if len(names) > MOST_LISTED else ''}."
