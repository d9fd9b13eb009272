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

__all__ = ["Advice", "Arity", "OptionSpec", "parse_tokens"]

Arity = Literal["flag", "one", "maybe", "many", "each"]
MODELS, YAMLS = (".pt", ".pth", ".onnx"), (".yaml", ".yml")
MEANT = (("--weights", MODELS), ("--data", YAMLS))
"""Option → suffixes of the files that it takes, for a word without an option."""
OTHER_FILES = {"data": MODELS, "config file": MODELS, "weights": YAMLS, "first": YAMLS, "second": YAMLS}
"""Key of an option → suffixes of files that it cannot take."""
OWN_FILES = {"data": YAMLS, "weights": MODELS}
"""Key of an option `by_suffix` → suffixes of the files that are taken for it."""


@dataclass(frozen=True)
class Advice:
    """What a command says about words that it cannot take. Each function returns a sentence, or an empty text.

    `words` sees the words without an option, and may refuse them. `unknown` gets the name of an unknown option, `several` the
    key of an option that takes one value, and all values that were given for it.
    """

    words: Callable[[Sequence[str]], None] = lambda words: None
    unknown: Callable[[str], str] = lambda name: ""
    several: Callable[[str, Sequence[str]], str] = lambda key, values: ""


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
    kinds that were not given by name. If the arity of such an option is ``each``, it takes all words that are left. What they
    do not take goes to an option `by_suffix`, when the suffix of the word is one of `OWN_FILES`.
    """

    key: str
    names: tuple[str, ...]
    arity: Arity = "one"
    bare: str | None = None
    positional: bool = False
    by_place: bool = False
    by_suffix: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.removeprefix('argument ')}. See `{self.prog} --help`.")


def parse_tokens(
    specs: Sequence[OptionSpec],
    tokens: Sequence[str],
    *,
    program: str,
    abbreviations: bool = False,
    advice: Advice = Advice(),
) -> dict[str, Any]:
    """The options given in `tokens`, as key → text, list of texts, or True for a flag. Options not given are absent.

    With `abbreviations` the first letters of a name are enough when they are unique, as in the reference's scripts.
    Raises `ConfigError` for an unknown option (naming the nearest one), a missing value, or a word that belongs to no option,
    with the `advice` of the command.
    """
    parser = _Parser(prog=program, add_help=False, allow_abbrev=abbreviations, argument_default=argparse.SUPPRESS)
    for spec in specs:
        _add(parser, spec)
    given, left = parser.parse_known_args(list(tokens))
    values = vars(given)
    words = [word for word in left if not word.startswith("-")]
    advice.words(words)
    unknown = [word for word in left if word.startswith("-") and word != "--"]
    if unknown:
        known = [name for spec in specs for name in spec.names]
        name = unknown[0].partition("=")[0]
        if hint := advice.unknown(name):
            raise ConfigError(f"Unknown option {name}.{hint}")
        raise ConfigError(f"Unknown option {name}.{nearest_name_hint(name, known)} See `{program} --help`.")
    named = dict(values)
    left = _placed(specs, words, values)
    if left:
        raise ConfigError(f"{_left_over(left, specs, values, named, advice)} See `{program} --help`.")
    return values


def _placed(specs: Sequence[OptionSpec], words: Sequence[str], values: dict[str, Any]) -> list[str]:
    """Put `words` without a name into `values`; returns those that belong to no option.

    A file goes to the first free option that can take a file of its suffix, so ``val data.yaml best.pt`` is understood, too.
    """
    left = []
    for word in words:
        spec = next((one for one in _by_place(specs, word) if one.arity == "each" or one.key not in values), None)
        if spec is None:
            left.append(word)
        elif spec.arity == "each":
            values[spec.key] = [*values.get(spec.key, []), word]
        else:
            values[spec.key] = word
    return left


def _by_place(specs: Sequence[OptionSpec], word: str) -> list[OptionSpec]:
    """The options whose value may stand without a name, and can be `word`."""
    suffix = PurePath(word).suffix.lower()
    placed = [
        spec for spec in specs if (spec.positional or spec.by_place) and suffix not in OTHER_FILES.get(spec.key, ())
    ]
    return [*placed, *(spec for spec in specs if spec.by_suffix and suffix in OWN_FILES[spec.key])]


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


def _left_over(
    left: Sequence[str],
    specs: Sequence[OptionSpec],
    values: Mapping[str, Any],
    named: Mapping[str, Any],
    advice: Advice,
) -> str:
    """What to say about the words `left`, which no option can take. `named` are the values that were given by name."""
    word = left[0]
    suffix = PurePath(word).suffix.lower()
    meant = next((name for name, suffixes in MEANT if suffix in suffixes), "")
    takers = [spec for spec in specs if meant in spec.names] or _by_place(specs, word)
    filled = [spec for spec in takers if spec.key in values and spec.arity != "each"]
    if not filled:
        known = meant in {name for spec in specs for name in spec.names}
        hint = f" Did you mean {meant} {word}?" if known else ""
        return f"Unexpected word {word!r}: options begin with --.{hint}"
    spec = filled[-1]
    given = [*(str(values[one.key]) for one in filled), *left] if spec.positional else [str(values[spec.key]), *left]
    more = advice.several(spec.key, given)
    if spec.key in named:
        return f"{spec.names[0]} is given twice: {word} and {named[spec.key]}.{more}"
    return f"Unexpected word {word!r}: {spec.names[0]} takes one value, and has {values[spec.key]}.{more}"
