"""Calls the task of a command from Python: settings by keyword, checked as on the command line; nothing is printed.

| on the command line | in Python |
|---|---|
| ``--batch-size 16`` | ``batch_size=16`` |
| ``--rect`` | ``rect=True`` |
| ``--resume``, ``--cache`` without a value | ``resume=True``, ``cache=True`` |
| ``--weights a.pt b.pt`` | ``weights=["a.pt", "b.pt"]``; one value needs no list |
| ``--hyp-set lr0=0.01 mosaic=0`` | ``hyp_set={"lr0": 0.01, "mosaic": 0}``, or a list of these texts |
| what the command prints | ``verbose=True`` |
"""

from __future__ import annotations

import inspect
import os
import textwrap
import typing
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from slimyolo.api.wording import naming_keywords, setting_names
from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.tasks.common.config import Config, option_facts
from slimyolo.tasks.common.speaking import speaking_aloud
from slimyolo.tasks.prepared import prepared
from slimyolo.tasks.settings import settings_of
from slimyolo.tasks.spellings import hyper_parameter, our_name

__all__ = ["keyword_parameters", "run_task", "with_settings_of"]

C = TypeVar("C", bound=Config)
R = TypeVar("R")
Function = TypeVar("Function", bound=Callable[..., Any])


def run_task(task: Callable[[C], R], kind: type[C], given: Mapping[str, Any], *, verbose: bool) -> R:
    """The result of `task` with settings of `kind`, made from the values `given` by keyword.

    Raises `ConfigError` for a name that is no setting (with the nearest one), and for a value that the command would refuse.
    """
    values = _values(kind, given)
    with speaking_aloud() if verbose else nullcontext(), naming_keywords(kind):
        settings = settings_of(kind, values)
        assert isinstance(settings, kind)  # narrows the type
        with prepared(settings) as complete:
            return task(complete)


def with_settings_of(kind: type[Config], *, without: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """A decorator for a function that takes the settings of `kind` by keyword.

    ``help(function)``, editors and notebooks then show every setting with its default and its help line. `without` names
    the settings that the function does not take, or has as parameters of its own.
    """

    def shown(function: Function) -> Function:
        own = inspect.signature(function)
        parameters = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
        settings = [one for one in keyword_parameters(kind) if one.name not in (*own.parameters, *without)]
        vars(function)["__signature__"] = own.replace(parameters=[*parameters, *settings])
        lines = [inspect.cleandoc(function.__doc__ or ""), "", f"The settings of ``slimyolo {kind.command}``:", ""]
        lines += [
            line for name, field in kind.model_fields.items() if name not in without for line in _row(name, field)
        ]
        function.__doc__ = "\n".join(lines)
        return function

    return shown


def keyword_parameters(kind: type[Config]) -> list[inspect.Parameter]:
    """The settings of `kind` as parameters by keyword, for a signature."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=False),
        )
        for name, field in kind.model_fields.items()
    ]


def _row(name: str, field: FieldInfo) -> list[str]:
    facts = option_facts(field)
    value = facts.shown_default
    if value is None and not field.is_required() and field.default not in (None, False, ()):
        value = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
    note = " (required)" if field.is_required() else f" [{value}]" if value else ""
    return textwrap.wrap(f"{name}: {field.description}{note}", 110, initial_indent="  ", subsequent_indent="      ")


def _values(kind: type[Config], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` as the settings take them: other names of an option, single values and mappings are brought into shape."""
    names = setting_names(kind)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in names:
            raise ConfigError(_no_setting(key, value, kind))
        field = names[key]
        if field in values:
            raise ConfigError(f"{field!r} is given twice: {key!r} is the same setting. Leave one out.")
        values[field] = _shaped(value, kind.model_fields[field], field, kind)
    return values


def _no_setting(key: str, value: Any, kind: type[Config]) -> str:
    function = f"slimyolo.{kind.command.replace(' ', '_')}"
    number, meant = hyper_parameter(key, kind), our_name(key, value, kind)
    if number is not None:
        hint = f" It is a hyper-parameter: hyp_set={{{number!r}: {value!r}}}."
    else:
        hint = f" Did you mean {meant!r}?" if meant is not None else nearest_name_hint(key, kind.model_fields)
    return f"{function} has no setting {key!r}.{hint} help({function}) lists them."


def _shaped(value: Any, field: FieldInfo, name: str, kind: type[Config]) -> Any:
    facts = option_facts(field)
    if _is_model(value):
        other = {"val": "evaluate"}.get(kind.command, kind.command)
        way = (
            f"slimyolo.{other}(model, …) takes a model in memory."
            if kind.command in ("val", "predict", "prune", "compare")
            else "Save it first: slimyolo.checkpoints.save_checkpoint('model.pt', model)."
        )
        raise ConfigError(f"{name}: got a {type(value).__name__}, expected the path of a file. {way}")
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is True and facts.bare is not None:
        return facts.bare
    if isinstance(value, Mapping):
        return [f"{key}={item}" for key, item in value.items()]
    single = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    if single and not field.metadata and typing.get_origin(field.annotation) is tuple:
        return (value,)
    return value


def _is_model(value: object) -> bool:
    """Whether `value` is a network or an opened file. Asked without importing torch, which a path does not need."""
    return callable(value) and not isinstance(value, (str, os.PathLike, type))
