"""`Config`, the settings of one command: frozen values, checked once, with errors that name the option.

A field is described once, by `option`: its help line, its group on the help screen, its other names, whether the short
help shows it. The command line, the recipe keys and the documentation are made from these descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from slimyolo.errors import ConfigError, nearest_name_hint, shown_value
from slimyolo.ranges import RANGES, in_range, numbers_in, range_sentence

__all__ = [
    "Config",
    "OptionFacts",
    "option",
    "option_facts",
    "option_name",
    "parsed_by",
    "refuse_unknown_keys",
]

ConfigType = TypeVar("ConfigType", bound="Config")


@dataclass(frozen=True, kw_only=True)
class OptionFacts:
    """What the help screens and the parser of the command line need to know of a field besides its type and default.

    | fact | what it says |
    |---|---|
    | `group` | the heading under which help shows the option |
    | `flag` | the option's name, when it differs from the field's name |
    | `names` | further names (``--img``) |
    | `metavar` | the word that stands for the value; None: the word of the type |
    | `positional` | the value may stand without the option's name; help shows it so |
    | `by_place` | the value may stand without the option's name; help shows it with its name |
    | `by_suffix` | the same, for a file whose suffix says that it can be nothing else |
    | `bare` | the value when the option is given without one (``--cache``) |
    | `shown_default` | what help prints as the default when it is computed |
    | `rare` | only ``--help-all`` shows the option: in every command, or in the commands named |
    | `lone_word` | a single word on the command line is not made a list (``--freeze 10``) |
    """

    group: str
    flag: str | None
    names: tuple[str, ...]
    metavar: str | None
    positional: bool
    by_place: bool
    by_suffix: bool
    bare: str | None
    shown_default: str | None
    rare: bool | tuple[str, ...]
    lone_word: bool


def option(
    default: Any = PydanticUndefined,
    help: str = "",
    *,
    group: str = "Options",
    flag: str | None = None,
    names: Sequence[str] = (),
    metavar: str | None = None,
    positional: bool = False,
    by_place: bool = False,
    by_suffix: bool = False,
    bare: str | None = None,
    shown_default: str | None = None,
    rare: bool | tuple[str, ...] = False,
    lone_word: bool = False,
    **limits: Any,
) -> Any:
    """A pydantic field with the `OptionFacts` of an option. `limits` are those of pydantic (``ge``, ``gt`` …).

    It takes more than eight arguments because each one is a fact about one option, given by name where the field stands.
    """
    facts = OptionFacts(
        group=group,
        flag=flag,
        names=tuple(names),
        metavar=metavar,
        positional=positional,
        by_place=by_place,
        by_suffix=by_suffix,
        bare=bare,
        shown_default=shown_default,
        rare=rare,
        lone_word=lone_word,
    )
    extra: dict[str, Any] = {"option": facts}
    if "default_factory" in limits:
        return Field(description=help, json_schema_extra=extra, **limits)
    return Field(default, description=help, json_schema_extra=extra, **limits)


def option_facts(field: FieldInfo) -> OptionFacts:
    """The facts that `option` was given for `field`."""
    extra: Any = field.json_schema_extra
    facts: OptionFacts = extra["option"]
    return facts


def option_name(field: str) -> str:
    """``batch_size`` → ``--batch-size``."""
    return "--" + field.replace("_", "-")


def parsed_by(parse: Callable[[Any], Any]) -> BeforeValidator:
    """Makes the value of a setting from what a user, a recipe or a record gives. `parse` raises `ValueError` for what it refuses.

    What it does not expect at all, such as a truth value where it goes through a list, is refused as well.
    """

    @wraps(parse)  # its name is read by what writes the types of the settings
    def parsed(value: Any) -> Any:
        try:
            return parse(value)
        except (AttributeError, OverflowError, TypeError):
            raise ValueError(f"got {shown_value(value)}, which is not of a kind that this option takes.") from None

    return BeforeValidator(parsed)


class Config(BaseModel):
    """The settings of a command: frozen, complete, and checked when made. Raises `ConfigError` that names the option.

    `command` is the name of the command that the settings belong to.
    """

    command: ClassVar[str] = ""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: Any) -> Any:
        if isinstance(data, Mapping):
            refuse_unknown_keys(data, tuple(cls.model_fields), cls.__name__)
            _refuse_truth_values(data, cls)
        try:
            config = handler(data)
        except ValidationError as error:
            raise ConfigError("\n".join(_sentences(error.errors(), cls))) from None
        except OverflowError:  # infinity where a whole number is expected
            raise ConfigError(f"A number for {cls.__name__} is infinite or too large. Give a smaller one.") from None
        for name in cls.model_fields:
            _refuse_out_of_range(name, getattr(config, name), cls)
        return config

    @property
    def reads_images(self) -> bool:
        """Whether a run with these settings reads images or runs a network, so that an image size matters."""
        return True

    def to_plain(self) -> dict[str, Any]:
        """JSON- and YAML-ready data; ``type(config)(**config.to_plain())`` is the same configuration."""
        return self.model_dump(mode="json")

    def changed(self: ConfigType, **values: Any) -> ConfigType:
        """A copy with other values, checked like a new one."""
        return type(self)(**{**self.model_dump(), **values})


def refuse_unknown_keys(data: Mapping[Any, Any], known: Sequence[str], what: str) -> None:
    """Raise `ConfigError` with the nearest known name when `data` holds a key that `known` does not."""
    for key in data:
        if key not in known:
            hint = nearest_name_hint(str(key), known)
            raise ConfigError(f"Unknown key {key!r} for {what}.{hint} Known keys: {', '.join(known)}.")


def _refuse_truth_values(data: Mapping[str, Any], config: type[Config]) -> None:
    """Raise `ConfigError` for a number that is true or false: YAML's ``yes`` would be 1 otherwise."""
    for name, value in data.items():
        kind = config.model_fields[name].annotation
        kinds = set(get_args(kind)) or {kind}
        if isinstance(value, bool) and kinds <= {int, float, type(None)}:
            flag = option_facts(config.model_fields[name]).flag
            raise ConfigError(f"{flag or option_name(name)}: got {str(value).lower()}, expected a number.")


def _refuse_out_of_range(name: str, value: Any, config: type[Config]) -> None:
    """Raise `ConfigError` unless all numbers in `value` are in the range of the setting `name`, see `slimyolo.ranges`."""
    wrong = [number for number in numbers_in(value) if name not in RANGES or not in_range(name, number)]
    if not wrong:
        return
    if name not in RANGES:
        raise AssertionError(f"the setting {name} of {config.__name__} has no range in slimyolo.ranges")
    flag = option_facts(config.model_fields[name]).flag
    raise ConfigError(f"{flag or option_name(name)}: {range_sentence(name, wrong[0])}.")


EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
}


def _sentences(items: Sequence[Any], config: type[Config]) -> list[str]:
    """The pydantic errors as sentences. Missing values that stand without an option share one, with the whole line to type."""
    fields = {name: option_facts(field) for name, field in config.model_fields.items()}
    missing = [str(item["loc"][0]) for item in items if item["type"] == "missing" and item["loc"]]
    bare = [name.upper() for name in missing if fields[name].positional]
    found = []
    if bare:
        line = " ".join(
            name.upper() for name, facts in fields.items() if facts.positional and _is_required(config, name)
        )
        verb = "are" if len(bare) > 1 else "is"
        found.append(f"{' and '.join(bare)} {verb} required: slimyolo {config.command} {line}.")
    others = [item for item in items if item["type"] != "missing" or not fields[str(item["loc"][0])].positional]
    return [*found, *(_sentence(item, config) for item in others)]


def _is_required(config: type[Config], name: str) -> bool:
    return config.model_fields[name].is_required()


def _sentence(item: Any, config: type[Config]) -> str:
    """One pydantic error as a sentence: the option, what was got, what was expected."""
    field = str(item["loc"][0]) if item["loc"] else "value"
    known_field = config.model_fields.get(field)
    facts = option_facts(known_field) if known_field is not None else None
    where, kind, got = (facts.flag if facts is not None else None) or option_name(field), item["type"], item["input"]
    if facts is not None and facts.positional:
        where = field.upper()
    if kind == "missing":
        value = facts.metavar.split()[0] if facts is not None and facts.metavar else "VALUE"
        return f"{where} is required: add {where} {value}."
    if kind == "value_error":
        return f"{where}: {str(item['msg']).removeprefix('Value error, ')}"
    if kind == "literal_error":
        known = [name.strip("'") for name in re.findall(r"'[^']*'", item["ctx"]["expected"])]
        return f"{where}: got {got!r}, expected one of {', '.join(known)}.{nearest_name_hint(str(got), known)}"
    if kind in EXPECTED:
        return f"{where}: got {got!r}, expected {EXPECTED[kind].format(**item.get('ctx', {}))}."
    message = str(item["msg"])
    return f"{where}: got {got!r}; {message[:1].lower()}{message[1:]}."
