"""What every command's configuration shares: frozen values, checked once, with errors that name the option.

A field is described once, by `option`: its help, its group on the help screen and its other names. The command line,
the recipe keys and the documentation are made from these descriptions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticUndefined

from slimyolo.errors import ConfigError, nearest_name_hint

__all__ = [
    "IMAGE_SIZE_NAMES",
    "Config",
    "Device",
    "ImageSize",
    "LayerIndices",
    "Precision",
    "Share",
    "json_option",
    "option",
    "option_name",
    "refuse_unknown_keys",
    "workers_option",
]

IMAGE_SIZE_NAMES = ("--img", "--img-size")
ConfigType = TypeVar("ConfigType", bound="Config")
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def option(
    default: Any = PydanticUndefined,
    help: str = "",
    *,
    group: str = "Options",
    names: Sequence[str] = (),
    positional: bool = False,
    bare: str | None = None,
    shown_default: str | None = None,
    **limits: Any,
) -> Any:
    """A pydantic field with what a help screen needs.

    `names` are further option names (``"--img"``); `bare` is the value of the option given without one (``--cache``);
    `shown_default` is what help prints when the default is computed; `limits` are pydantic's (``ge``, ``gt`` …).
    """
    extra: dict[str, Any] = {
        "group": group,
        "names": list(names),
        "positional": positional,
        "bare": bare,
        "shown_default": shown_default,
    }
    if "default_factory" in limits:
        return Field(description=help, json_schema_extra=extra, **limits)
    return Field(default, description=help, json_schema_extra=extra, **limits)


def workers_option(group: str) -> Any:
    """The field for the number of loader processes: as many as there are processors, at most 8."""
    return option(
        help="loader processes",
        group=group,
        ge=0,
        default_factory=lambda: min(8, os.cpu_count() or 1),
        shown_default="processors, up to 8",
    )


def json_option(group: str) -> Any:
    """The field for ``--json [FILE]``: None no, ``-`` standard output, else a file."""
    return option(
        None, "print the result as JSON instead, or write it to FILE", group=group, names=("--json",), bare="-"
    )


def option_name(field: str) -> str:
    """``batch_size`` → ``--batch-size``."""
    return "--" + field.replace("_", "-")


class Config(BaseModel):
    """A command's settings: frozen, complete, checked when made. Raises `ConfigError` naming the option.

    `command` is the name of the command that the settings belong to.
    """

    command: ClassVar[str] = ""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: Any) -> Any:
        if isinstance(data, Mapping):
            refuse_unknown_keys(data, tuple(cls.model_fields), cls.__name__)
        try:
            return handler(data)
        except ValidationError as error:
            raise ConfigError("\n".join(_sentence(item, cls) for item in error.errors())) from None

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


def _sentence(item: Any, config: type[Config]) -> str:
    """One pydantic complaint as: option, what was got, what was expected."""
    field = str(item["loc"][0]) if item["loc"] else "value"
    where, kind, got = option_name(field), item["type"], item["input"]
    if kind == "missing":
        extra: Any = config.model_fields[field].json_schema_extra
        if extra["positional"]:
            return f"{field.upper()} is required: slimyolo {config.command} {field.upper()}."
        return f"{where} is required: add {where} VALUE."
    if kind == "value_error":
        return f"{where}: {str(item['msg']).removeprefix('Value error, ')}"
    if kind == "literal_error":
        known = [name.strip("'") for name in re.findall(r"'[^']*'", item["ctx"]["expected"])]
        return f"{where}: got {got!r}, expected one of {', '.join(known)}.{nearest_name_hint(str(got), known)}"
    if kind in EXPECTED:
        return f"{where}: got {got!r}, expected {EXPECTED[kind].format(**item.get('ctx', {}))}."
    message = str(item["msg"])
    return f"{where}: got {got!r}; {message[:1].lower()}{message[1:]}."


def parse_share(value: Any) -> Any:
    """A share of a whole: 0.4, "0.4" or "40%" → 0.4. Refuses what is not above 0 and below 1."""
    if value is None:
        return None
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = float("nan")
    if isinstance(value, bool) or not 0 < share < 1:
        raise ValueError(
            f"got {value!r}, expected a share above 0 and below 1, such as 0.4 or 40%.{_share_hint(share)}"
        )
    return share


def _share_hint(share: float) -> str:
    if share == 0:
        return " 0 would change nothing."
    if 2 <= share < 100:
        return f" Did you mean {share / 100:g}?"
    return ""


def parse_device(value: Any) -> Any:
    """What users type for a device → ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``."""
    text = str(value).strip().lower() if value is not None else ""
    if text in ("", "auto"):
        return "auto"
    if text in ("cpu", "cuda", "mps"):
        return text
    if text.isdigit():
        return f"cuda:{text}"
    if text.startswith("cuda:") and text[5:].isdigit():
        return text
    if "," in text:
        count = len(text.split(","))
        raise ValueError(
            f"got {value!r}: one process uses one device. For {count} devices start "
            f"`CUDA_VISIBLE_DEVICES={text} torchrun --nproc_per_node {count} -m slimyolo train …` without --device."
        )
    raise ValueError(f"got {value!r}, expected auto, cpu, mps, cuda, cuda:N or a number such as 0.")


def parse_image_size(value: Any) -> Any:
    """320, "320", [320] or [256, 320] → (height, width)."""
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    try:
        sizes = [int(part) for part in parts]
    except (TypeError, ValueError):
        sizes = []
    if not 1 <= len(sizes) <= 2 or min(sizes) < 32:
        raise ValueError(f"got {value!r}, expected one number, or height and width, of at least 32 pixels.")
    return (sizes[0], sizes[-1])


def parse_layers(value: Any) -> Any:
    """A number n → the first n layers; a list → those layers; sorted, without repeats."""
    try:
        single = isinstance(value, (int, str)) and not isinstance(value, bool)
        layers = range(int(value)) if single else sorted({int(item) for item in value or ()})
        if (single and int(value) < 0) or any(layer < 0 for layer in layers):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"got {value!r}, expected a number of layers (10) or layer indices (0 1 2).") from None
    return tuple(layers)


Share = Annotated[float, BeforeValidator(parse_share)]
Device = Annotated[str, BeforeValidator(parse_device)]
ImageSize = Annotated[tuple[int, int], BeforeValidator(parse_image_size)]
LayerIndices = Annotated[tuple[int, ...], BeforeValidator(parse_layers)]
