"""Turns the words of a command line into values, by a table of options.

The ``slimyolo`` command and the reference's scripts both use it. The parser is that of the standard library; the messages
and help screens are ours. Values stay text: the configurations turn them into numbers and paths, so that an option, a
recipe key and a Python argument fail with the same message.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, NoReturn

from slimyolo.errors import ConfigError, nearest_name_hint

__all__ = ["Arity", "OptionSpec", "parse_tokens"]

Arity = Literal["flag", "one", "maybe", "many", "each"]
MEANT = (("--weights", (".pt", ".pth", ".onnx")), ("--data", (".yaml", ".yml")))
"""Option → suffixes of the files that it takes, for a word without an option."""


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

    The value of a `positional` option may also stand without the option's name; help shows it so. The value of an option
    `by_place` may, too, but help shows it with its name. Words without a name go, in their order, to the options of these two
    kinds that were not given by name. If the arity of such an option is ``each``, it takes all words that are left.
    """

    key: str
    names: tuple[str, ...]
    arity: Arity = "one"
    bare: str | None = None
    positional: bool = False
    by_place: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.removeprefix('argument ')}. See `{self.prog} --help`.")


def parse_tokens(
    specs: Sequence[OptionSpec],
    tokens: Sequence[str],
    *,
    program: str,
    abbreviations: bool = False,
    look_at_words: Callable[[Sequence[str]], None] | None = None,
) -> dict[str, Any]:
    """The options given in `tokens`, as key → text, list of texts, or True for a flag. Options not given are absent.

    With `abbreviations` the first letters of a name are enough when they are unique, as in the reference's scripts.
    `look_at_words` is called with the words that stand without a name, and may refuse them. Raises `ConfigError` for an
    unknown option (naming the nearest one), a missing value, or a word that belongs to no option.
    """
    parser = _Parser(prog=program, add_help=False, allow_abbrev=abbreviations, argument_default=argparse.SUPPRESS)
    for spec in specs:
        _add(parser, spec)
    given, left = parser.parse_known_args(list(tokens))
    values = vars(given)
    words = [word for word in left if not word.startswith("-")]
    if look_at_words is not None:
        look_at_words(words)
    unknown = [word for word in left if word.startswith("-") and word != "--"]
    if unknown:
        known = [name for spec in specs for name in spec.names]
        name = unknown[0].partition("=")[0]
        raise ConfigError(f"Unknown option {name}.{nearest_name_hint(name, known)} See `{program} --help`.")
    named = dict(values)
    left_over = _placed(specs, words, values)
    if left_over:
        raise ConfigError(_left_over(left_over[0], specs, named, program))
    return values


def _placed(specs: Sequence[OptionSpec], words: Sequence[str], values: dict[str, Any]) -> list[str]:
    """Put `words` without a name into `values`; returns those that belong to no option."""
    left = list(words)
    for spec in specs:
        if not left or not (spec.positional or spec.by_place):
            continue
        if spec.arity == "each":
            values[spec.key] = [*values.get(spec.key, []), *left]
            left = []
        elif spec.key not in values:
            values[spec.key] = left.pop(0)
    return left


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


def _left_over(word: str, specs: Sequence[OptionSpec], named: Mapping[str, Any], program: str) -> str:
    twice = [spec for spec in specs if (spec.positional or spec.by_place) and spec.key in named]
    if len(twice) == 1:
        return f"{twice[0].names[0]} is given twice: {word} and {named[twice[0].key]}. See `{program} --help`."
    names = {name for spec in specs for name in spec.names}
    meant = next(
        (name for name, suffixes in MEANT if name in names and PurePath(word).suffix.lower() in suffixes), None
    )
    if meant is not None:
        return f"Unexpected word {word!r}: options begin with --. Did you mean {meant} {word}? See `{program} --help`."
    return f"Unexpected word {word!r}: options begin with --. See `{program} --help`."
