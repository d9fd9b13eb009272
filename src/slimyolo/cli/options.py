"""The options of a command, read from its configuration: one description gives option, recipe key and help line."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from slimyolo.cli.tokens import Arity, OptionSpec
from slimyolo.errors import ConfigError
from slimyolo.tasks.common.options import Config, option_name, refuse_unknown_keys

__all__ = ["CONFIG_FILE", "CommandOption", "command_options", "read_config_file"]

CONFIG_FILE = "config file"
SMALL_COMMAND = 8  # with fewer options a file of them helps nobody
VALUE_WORDS: Mapping[Any, str] = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
VALUE_WORDS_BY_FIELD = {
    "data": "YAML", "hyp": "YAML", "cfg": "YAML", "weights": "FILE", "file": "FILE", "json_file": "[FILE]",
    "percent": "SHARE", "params": "SHARE", "macs": "SHARE", "floor": "SHARE", "reach": "SHARE", "device": "DEVICE",
    "imgsz": "N", "classes": "N …", "freeze": "N …", "format": "FORMAT …", "hyp_set": "K=V …", "source": "SOURCE",
    "distill": "TERM …", "teacher": "FILE", "time": "2h",
    "folder": "FOLDER", "project": "FOLDER", "resume": "[FILE]", "cache": "[ram]", "name": "NAME", "file_name": "NAME",
    "masked_file_name": "NAME", "output": "PATH", "class_names": "NAME …", "runs": "RUN …",
    "latency": "MS|SHARE", "max_drop": "X", "keep": "PATTERN …", "floor_of": "PATTERN=SHARE …",
    "cap": "PATTERN=SHARE …", "runtime": "RUNTIME", "precision": "PRECISION",
}  # fmt: skip
PAIRS = ("imgsz",)  # one number or two


@dataclass(frozen=True)
class CommandOption:
    """One option as parsed (`spec`) and as shown: group, value word, help, default."""

    spec: OptionSpec
    group: str
    value_word: str
    help: str
    default: str
    required: bool
    choices: tuple[str, ...] = ()


def command_options(kind: type[Config]) -> tuple[CommandOption, ...]:
    """The options of the command with settings `kind`, in the order of its fields; last ``--config``, or RECIPE."""
    options = [_from_field(name, field) for name, field in kind.model_fields.items()]
    if len(options) < SMALL_COMMAND:
        return tuple(options)
    groups = [option.group for option in options]
    recipe = kind.command == "compress"
    spec = OptionSpec(CONFIG_FILE, ("--config",), positional=recipe)
    words = "YAML file with these options as keys; options given here win"
    place = "Output" if "Output" in groups else groups[-1]
    return (*options, CommandOption(spec, place, "RECIPE" if recipe else "YAML", words, "", False))


def read_config_file(path: str, kind: type[Config]) -> dict[str, Any]:
    """The values in a recipe: a YAML mapping with the option names, in ``snake_case`` or ``kebab-case``, as keys."""
    from slimyolo.storage import read_yaml  # not at the top: it brings torch along, and `--help` must answer at once

    try:
        plain = read_yaml(Path(path))
    except OSError as error:
        raise ConfigError(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The recipe {path} is not a YAML file: {error}") from None
    if not isinstance(plain, dict):
        raise ConfigError(f"The recipe {path} holds no options: expected lines such as `percent: 0.4`.")
    values = {str(key).replace("-", "_"): value for key, value in plain.items()}
    refuse_unknown_keys(values, tuple(kind.model_fields), f"the recipe {path}")
    return values


def _from_field(name: str, field: FieldInfo) -> CommandOption:
    extra: Any = field.json_schema_extra
    parts, sequence = _parts(field.annotation)
    first = extra["names"][0] if name.endswith(("_file", "_output")) and extra["names"] else option_name(name)
    names = tuple(dict.fromkeys((first, *extra["names"])))
    arity: Arity = "one"
    if bool in parts:
        arity = "flag"
    elif extra["bare"] is not None:
        arity = "maybe"
    elif name in PAIRS:
        arity = "many"
    elif sequence:
        arity = "each"
    choices = [str(item) for part in parts for item in (typing.get_args(part) if _is_literal(part) else ())]
    counted = parts == [int] and not sequence  # whatever it is called: --runs N of bench, RUN … of report
    word = "|".join(choices) if choices and extra["bare"] is None else VALUE_WORDS_BY_FIELD.get(name, "")
    word = VALUE_WORDS[int] if counted else word
    if not word:
        word = next((VALUE_WORDS[part] for part in parts if part in VALUE_WORDS), "VALUE")
    spec = OptionSpec(name, names, arity, extra["bare"], extra["positional"])
    required = field.is_required()
    return CommandOption(
        spec, extra["group"], "" if arity == "flag" else word, field.description or "", _default(field, extra), required,
        tuple(choices),
    )  # fmt: skip


def _default(field: FieldInfo, extra: Mapping[str, Any]) -> str:
    if extra["shown_default"] is not None:
        return str(extra["shown_default"])
    value = field.default
    if value is PydanticUndefined or value is None or value is False or value == ():
        return ""
    if isinstance(value, tuple):
        return " ".join(str(item) for item in dict.fromkeys(value))
    return str(value)


def _parts(annotation: Any) -> tuple[list[Any], bool]:
    """The plain types inside an annotation, and whether it is a sequence."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    if origin is tuple:
        return [typing.get_args(annotation)[0]], True
    if origin is None or _is_literal(annotation):
        return [annotation], False
    inner = [_parts(part) for part in typing.get_args(annotation)]
    return [part for parts, _ in inner for part in parts], any(sequence for _, sequence in inner)


def _is_literal(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Literal
