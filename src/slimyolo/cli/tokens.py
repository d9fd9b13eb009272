"""Turns the words of a command line into values, by a table of options.

The ``slimyolo`` command and the reference's scripts both use it. The parser is that of the standard library; the messages
and help screens are ours. Values stay text: the configurations turn them into numbers and paths, so that an option, a
recipe key and a Python argument fail with the same message.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from slimyolo.errors import ConfigError, nearest_name_hint

__all__ = ["Arity", "OptionSpec", "parse_tokens"]

Arity = Literal["flag", "one", "maybe", "many", "each"]


@dataclass(frozen=True)
class OptionSpec:
    """How one option is written: its names, and how many values follow.

    | `arity` | values |
    |---|---|
    | ``flag`` | none |
    | ``one`` | one |
    | ``maybe`` | one or none; without one the value is `bare` |
    | ``many`` | one or more |
    | ``each`` | one or more; an option that is given again adds to its values |

    The value of a `positional` option may also stand without the option's name. If its arity is ``each``, it takes all
    words that belong to no other option.
    """

    key: str
    names: tuple[str, ...]
    arity: Arity = "one"
    bare: str | None = None
    positional: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.removeprefix('argument ')}. See `{self.prog} --help`.")


def parse_tokens(
    specs: Sequence[OptionSpec], tokens: Sequence[str], *, program: str, abbreviations: bool = False
) -> dict[str, Any]:
    """The options given in `tokens`, as key → text, list of texts, or True for a flag. Options not given are absent.

    With `abbreviations` the first letters of a name are enough when they are unique, as in the reference's scripts. Raises
    `ConfigError` for an unknown option (naming the nearest one), a missing value, or a word that belongs to no option.
    """
    parser = _Parser(prog=program, add_help=False, allow_abbrev=abbreviations, argument_default=argparse.SUPPRESS)
    for spec in specs:
        _add(parser, spec)
    given, left = parser.parse_known_args(list(tokens))
    values = vars(given)
    for spec in specs:
        if spec.positional and spec.arity == "each" and left:
            words = [word for word in left if not word.startswith("-")]
            left = [word for word in left if word.startswith("-")]
            values[spec.key] = [*values.get(spec.key, []), *words]
    for spec in specs:  # argparse gives a second word to nothing when options stand between the words
        key = f"{spec.key} by place"
        if spec.positional and spec.arity != "each" and key not in values and spec.key not in values:
            word = next((word for word in left if not word.startswith("-")), None)
            if word is not None:
                left.remove(word)
                values[key] = word
    if left:
        known = [name for spec in specs for name in spec.names]
        raise ConfigError(_left_over(left[0], known, program))
    for spec in specs:
        by_place = values.pop(f"{spec.key} by place", None)
        if by_place is not None:
            if spec.key in values:
                raise ConfigError(f"{spec.names[0]} is given twice: {by_place} and {values[spec.key]}.")
            values[spec.key] = by_place
    return values


def _add(parser: argparse.ArgumentParser, spec: OptionSpec) -> None:
    if spec.arity == "flag":
        parser.add_argument(*spec.names, dest=spec.key, action="store_true", default=argparse.SUPPRESS)
    elif spec.arity == "maybe":
        parser.add_argument(*spec.names, dest=spec.key, nargs="?", const=spec.bare)
    elif spec.arity == "many":
        parser.add_argument(*spec.names, dest=spec.key, nargs="+")
    elif spec.arity == "each":
        parser.add_argument(*spec.names, dest=spec.key, nargs="+", action="extend")
    else:
        parser.add_argument(*spec.names, dest=spec.key)
    if spec.positional and spec.arity != "each":
        parser.add_argument(f"{spec.key} by place", nargs="?", default=argparse.SUPPRESS)


def _left_over(token: str, known: Sequence[str], program: str) -> str:
    name = token.partition("=")[0]
    if name.startswith("-"):
        return f"Unknown option {name}.{nearest_name_hint(name, known)} See `{program} --help`."
    return f"Unexpected word {token!r}: options begin with --. See `{program} --help`."
