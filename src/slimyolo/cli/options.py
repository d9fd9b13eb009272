"""The options of a command, read from its configuration. One description makes the option, recipe key and help line."""

from __future__ import annotations

import shlex
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from slimyolo.cli.tokens import Arity, OptionSpec
from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, OptionFacts, option_facts, option_name, refuse_unknown_keys

__all__ = ["CONFIG_FILE", "CommandOption", "command_options", "given_values", "read_config_file"]

CONFIG_FILE = "config file"
SMALL_COMMAND = 8  # a command with fewer options has no --config: a file for so few options helps nobody
RECIPES = ("compress",)  # commands whose recipe stands without --config
METAVARS: Mapping[Any, str] = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


@dataclass(frozen=True, kw_only=True)
class CommandOption:
    """One option: how it is parsed (`spec`) and how help shows it.

    `value_word` stands for the value on the help screen. Only ``--help-all`` shows `rare` options.
    """

    spec: OptionSpec
    group: str
    value_word: str
    help: str
    default: str = ""
    required: bool = False
    rare: bool = False
    choices: tuple[str, ...] = ()


def command_options(kind: type[Config]) -> tuple[CommandOption, ...]:
    """The options of the command with settings `kind`, in the order of its fields. ``--config`` or RECIPE comes last."""
    options = [_from_field(name, field, kind.command) for name, field in kind.model_fields.items()]
    if len(options) < SMALL_COMMAND:
        return tuple(options)
    groups = [option.group for option in options]
    recipe = kind.command in RECIPES
    config_file = CommandOption(
        spec=OptionSpec(CONFIG_FILE, ("--config",), positional=recipe),
        group="Output" if "Output" in groups else groups[-1],
        value_word="RECIPE" if recipe else "YAML",
        help="YAML file whose keys are these options; the command line overrides it",
        rare=not recipe and any(option.rare for option in options),
    )
    return (*options, config_file)


def given_values(kind: type[Config], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values `given` on the command line, as the fields of `kind` take them.

    A list that holds one word becomes that word where the field says so (`OptionFacts.lone_word`).
    """
    values = dict(given)
    for name, field in kind.model_fields.items():
        value = values.get(name)
        if option_facts(field).lone_word and isinstance(value, list) and len(value) == 1:
            values[name] = value[0]
    return values


def read_config_file(path: str, kind: type[Config], given: Collection[str] = ()) -> dict[str, Any]:
    """The values in a recipe: a YAML mapping with the option names, in ``snake_case`` or ``kebab-case``, as keys.

    `given` are the settings on the command line. Where a recipe stands without ``--config``, the YAML of a dataset may stand in
    its place when no ``data`` is given.
    """
    from slimyolo.storage import read_yaml  # not at the top: it imports torch, and `--help` must answer at once

    try:
        plain = read_yaml(Path(path))
    except OSError as error:
        raise ConfigError(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The recipe {path} is not a YAML file: {error}") from None
    if not isinstance(plain, dict):
        raise ConfigError(f"The recipe {path} holds no options: expected lines such as `percent: 0.4`.")
    values = {str(key).replace("-", "_"): value for key, value in plain.items()}
    if "names" in values and "train" in values:
        if "data" not in given and kind.command in RECIPES:
            return {"data": path}
        raise ConfigError(
            f"{path} is the YAML of a dataset, and not a recipe, whose keys are options. "
            f"Type: slimyolo {kind.command} --data {shlex.quote(path)}"
        )
    refuse_unknown_keys(values, tuple(kind.model_fields), f"the recipe {path}")
    return values


def _from_field(name: str, field: FieldInfo, command: str) -> CommandOption:
    facts = option_facts(field)
    types, several = _parts(field.annotation)
    choices = tuple(str(item) for one in types if _is_literal(one) for item in typing.get_args(one))
    arity: Arity = "one"
    if bool in types:
        arity = "flag"
    elif facts.bare is not None:
        arity = "maybe"
    elif several:
        arity = "each"
    elif facts.lone_word:
        arity = "many"
    names = tuple(dict.fromkeys((facts.flag or option_name(name), *facts.names)))
    return CommandOption(
        spec=OptionSpec(
            key=name,
            names=names,
            arity=arity,
            bare=facts.bare,
            positional=facts.positional,
            by_place=facts.by_place,
            by_suffix=facts.by_suffix,
        ),
        group=facts.group,
        value_word="" if arity == "flag" else _value_word(facts, types, choices),
        help=field.description or "",
        default=_default(field, facts),
        required=field.is_required(),
        rare=facts.rare if isinstance(facts.rare, bool) else command in facts.rare,
        choices=choices,
    )


def _value_word(facts: OptionFacts, types: Sequence[Any], choices: Sequence[str]) -> str:
    """The word that stands for the value: the word that the field names, else its choices, else the word of its type."""
    if facts.metavar is not None:
        return facts.metavar
    if choices and facts.bare is None:
        return "|".join(choices)
    return next((METAVARS[one] for one in types if one in METAVARS), "VALUE")


def _default(field: FieldInfo, facts: OptionFacts) -> str:
    if facts.shown_default is not None:
        return facts.shown_default
    value = field.default
    if value is PydanticUndefined or value is None or value is False or value == ():
        return ""
    if isinstance(value, tuple):
        return " ".join(str(item) for item in dict.fromkeys(value))
    return str(value)


def _parts(annotation: Any) -> tuple[list[Any], bool]:
    """The plain types inside an annotation, and whether it takes any number of values."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    if origin is tuple:
        first, *others = typing.get_args(annotation)
        return [first], others == [Ellipsis]
    if origin is None or _is_literal(annotation):
        return [annotation], False
    inner = [_parts(part) for part in typing.get_args(annotation)]
    return [part for parts, _ in inner for part in parts], any(several for _, several in inner)


def _is_literal(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Literal
