"""Command-line words → the values that were given, by a table of options. Both faces, ours and the reference's, use it.

The standard library's parser does the reading; messages and help screens are ours. Values stay text: the configurations
turn them into numbers and paths, so that an option, a recipe key and a Python argument fail with the same words.
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

    `arity`: ``flag`` none, ``one``, ``maybe`` one or none (then the value is `bare`), ``many`` at least one, ``each`` at
    least one, and given again it adds to the first.
    A `positional` is given by place as well as by its first name; one of arity ``each`` takes all words left
    over.
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
    """The options given in `tokens`, key → text, list of texts, or True for a flag; what was not given is absent.

    With `abbreviations` a unique beginning of a name is enough, as with the reference's scripts. Raises `ConfigError`
    on unknown options (naming the nearest), missing values and leftover words.
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
