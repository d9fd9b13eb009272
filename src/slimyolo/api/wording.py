"""Errors and log lines in Python name keywords (``batch_size``) where the command line names options (``--batch-size``).

A task does not know who called it, so its messages name options. This is the one place where they are translated: every
public function of the API runs inside `naming_keywords`. A command line that a message tells people to type stays as it is.

| the command line says | Python says |
|---|---|
| ``--imgsz 100: …`` | ``imgsz=100: …`` |
| ``add --times FILE``, ``--weights a.pt`` | ``add times=…``, ``weights='a.pt'`` |
| ``add --runtime onnxruntime`` | ``add runtime='onnxruntime'`` |
| ``add --one2many`` | ``add one2many=True`` |
| ``Leave --half out`` | ``Leave half out`` |
| ``Type: slimyolo data check --data my.yaml`` | the same |
"""

from __future__ import annotations

import functools
import logging
import re
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from pydantic.fields import FieldInfo

from slimyolo.errors import SlimyoloError
from slimyolo.tasks.common.config import Config, option_facts, option_name
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig

__all__ = ["in_keywords", "naming_keywords", "setting_names", "with_keywords_of"]

P = ParamSpec("P")
R = TypeVar("R")

_COMMAND_LINE = re.compile(
    r"\b(?:slimyolo(?: [a-z]+)+|torchrun|pip install|trtexec)\b(?:[^\S\n]+(?:[^\s`]*[^\s`.,;:)]|…)(?=[\s`.,;:)]|$))*"
)
"""A command line in a sentence. It ends at the end of the line, at a backquote, and after a word with a punctuation mark."""
_OPTION = re.compile(r"(?P<said>\b(?:[Aa]dd|[Uu]se|[Gg]ive|[Tt]ry|with) )?--(?P<name>[a-z][a-z0-9-]*[a-z0-9])(?![\w-])")
_VALUE = re.compile(
    r"""[ ](?:(?P<amount> \d[\d.]*(?:ms|s|%|[KMG])(?!\w) )
    | (?P<numbers> \d+(?:\.\d+)?(?:[ ]\d+(?:\.\d+)?)* )(?!\S*[\w%/])
    | (?P<path> [\w.~-]*(?:/|\.(?:pt|onnx|json|ya?ml)\b)(?:[\w./~-]*\w)? )
    | (?P<metavar> [A-Z]{2,}(?:[ ]FILE)?\b )
    | (?P<word> [a-z][\w-]* ))""",
    re.VERBOSE,
)
_STAGES: tuple[type[Config], ...] = (
    SparsifyConfig,
    FinetuneConfig,
    PruneConfig,
    ValConfig,
    ExportConfig,
    PredictConfig,
)
_IN_PYTHON = re.compile(r"--[^().,;:]* \(in Python: ((?:[^()]|\([^()]*\))*)\)")
"""An option with the Python form beside it, as rooms write it that people also use without a command."""


@contextmanager
def naming_keywords(kind: type[Config]) -> Iterator[None]:
    """Inside the block, errors of slimyolo and lines of its log name the keywords of `kind` instead of options."""
    log = logging.getLogger("slimyolo")

    def translate(record: logging.LogRecord) -> bool:
        record.msg = in_keywords(str(record.msg), kind)
        if isinstance(record.args, tuple):
            record.args = tuple(
                in_keywords(str(one), kind) if isinstance(one, (str, SlimyoloError)) else one for one in record.args
            )
        return True

    log.addFilter(translate)
    try:
        yield
    except SlimyoloError as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (in_keywords(error.args[0], kind), *error.args[1:])
        raise
    finally:
        log.removeFilter(translate)


def with_keywords_of(kind: type[Config]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for a function in memory whose parameters are called as the settings of `kind`; see `naming_keywords`."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with naming_keywords(kind):
                return function(*args, **kwargs)

        return call

    return decorated


def in_keywords(message: str, kind: type[Config]) -> str:
    """`message` with the options of `kind` as keywords. The command lines in it stay."""
    if "--" not in message:
        return message
    message = _IN_PYTHON.sub(r"\1", message)
    parts, end = [], 0
    for line in _COMMAND_LINE.finditer(message):
        parts += [_prose(message[end : line.start()], kind), line[0]]
        end = line.end()
    return "".join((*parts, _prose(message[end:], kind)))


def setting_names(kind: type[Config]) -> dict[str, str]:
    """Every name of a setting → the setting: the field itself, and the names of its option (``names``, ``json``, ``img``)."""
    found = {name: name for name in kind.model_fields}
    for name, field in kind.model_fields.items():
        facts = option_facts(field)
        for other in (facts.flag or option_name(name), *facts.names):
            found.setdefault(other.lstrip("-").replace("-", "_"), name)
    return found


def _prose(text: str, kind: type[Config]) -> str:
    own, parts, end = setting_names(kind), [], 0
    for found in _OPTION.finditer(text):
        if found.start() < end:
            continue
        spelled = found["name"].replace("-", "_")
        holder, name = (kind, own[spelled]) if spelled in own else _elsewhere(spelled)
        if holder is None:
            continue
        value, after = _value(text[found.end() :], holder.model_fields[name], asked=found["said"] is not None)
        parts += [text[end : found.start()], found["said"] or "", name, value]
        end = found.end() + after
    return "".join((*parts, text[end:]))


def _value(following: str, field: FieldInfo, *, asked: bool) -> tuple[str, int]:
    """(``=…`` as Python writes the value of an option, the number of characters of `following` that this replaces)."""
    if field.annotation is bool:
        return ("=True" if asked else ""), 0
    found = _VALUE.match(following)
    if found is None:
        return "", 0
    if found["numbers"]:
        numbers = found["numbers"].split()
        return f"={numbers[0]}" if len(numbers) == 1 else f"=({', '.join(numbers)})", found.end()
    if found["metavar"]:
        return "=…", found.end()
    if said := found["amount"] or found["path"]:
        return f"={said!r}", found.end()
    return (f"={found['word']!r}", found.end()) if found["word"] in _choices(field.annotation) else ("", 0)


def _choices(annotation: Any) -> frozenset[str]:
    """The words that the type of a field lists."""
    if typing.get_origin(annotation) is typing.Literal:
        return frozenset(map(str, typing.get_args(annotation)))
    return frozenset(word for part in typing.get_args(annotation) for word in _choices(part))


def _elsewhere(spelled: str) -> tuple[type[Config] | None, str]:
    """(the settings of a stage of a chain, the setting in them) for an option of that stage; (None, "") for another word."""
    for kind in _STAGES:
        if (name := setting_names(kind).get(spelled)) is not None:
            return kind, name
    return None, ""
