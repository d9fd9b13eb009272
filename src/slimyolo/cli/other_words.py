"""Answers people who type a command line as other programs take it, with the line to type here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.options import command_options
from slimyolo.cli.tokens import Advice
from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.tasks.common.config import option_facts, option_name
from slimyolo.tasks.spellings import COMMAND_WORDS, FILE_WORDS, TASK_WORDS, option_for, our_name

__all__ = ["advice_of", "is_family", "no_such_command", "refuse_other_style"]

PAIR = re.compile(r"([A-Za-z_][\w-]*)=(.*)", re.DOTALL)
OF_TASKS = ("task", "mode")  # keys of `yolo TASK MODE key=value` that the command itself answers


YAML_OPTIONS = "The YAML of an architecture goes to --cfg, one of options to --config."
SEVERAL: Mapping[tuple[str, str], str] = {
    ("val", "weights"): "To measure two on the same images: slimyolo compare {two} --data YAML.",
    ("predict", "weights"): "To see several side by side: slimyolo serve {all}.",
    ("predict", "source"): "Quote a pattern ('photos/*.jpg'), or the shell replaces it; or give a folder or a .txt list.",
    ("compare", "second"): "It compares two models; slimyolo bench --weights {all} times several.",
    ("compress", "weights"): "A chain begins with one.",
    ("compress", "data"): YAML_OPTIONS,
    ("train", "data"): YAML_OPTIONS,
    ("sparsify", "data"): YAML_OPTIONS,
    ("finetune", "data"): YAML_OPTIONS,
    ("prune", "data"): "The YAML of options goes to --config.",
    ("train", "weights"): "A training begins with one.",
    ("sparsify", "weights"): "A training begins with one.",
    ("finetune", "weights"): "A training begins with one.",
    ("iterate", "weights"): "A chain begins with one.",
    ("data convert", "folder"): "Put the files of one source into a folder, and convert this folder.",
    ("plan diff", "second"): "It compares two plans.",
}  # fmt: skip
"""(command, key of an option that takes one value) → what to type for several."""


def advice_of(command: Command, tokens: Sequence[str]) -> Advice:
    """What `command` says about words in `tokens`, all that follows it, which it cannot take."""
    return Advice(
        words=partial(refuse_other_style, command, tokens),
        unknown=partial(_meant_option, command, tokens),
        several=partial(_for_several, command),
    )


def _meant_option(command: Command, tokens: Sequence[str], name: str) -> str:
    """The hint for the unknown option `name`: our word for it, or the line without it where a file stands alone."""
    key = name.lstrip("-").replace("-", "_")
    ours = our_name(key, "", command.settings)
    alone = [option for option in command_options(command.settings) if option.spec.positional and option.required]
    if alone and (key in FILE_WORDS or ours in {option.spec.key for option in alone}):
        words = [word.removeprefix(f"{name}=") for word in tokens if word != name]
        stand = "s stand" if len(alone) > 1 else " stands"
        values = " ".join(option.value_word for option in alone)
        return f" {values}: the value{stand} without an option. Type: {shlex.join(['slimyolo', *command.name.split(), *words])}"
    if ours is None:
        return ""
    return f" Did you mean {option_facts(command.settings.model_fields[ours]).flag or option_name(ours)!r}?"


def _for_several(command: Command, key: str, values: Sequence[str]) -> str:
    """What to type for several `values` of an option that takes one."""
    said = SEVERAL.get((command.name, key), f"Type slimyolo {command.name} once for each.")
    return f" {said.format(two=shlex.join(values[:2]), all=shlex.join(values))}"


def is_family(word: str) -> bool:
    """Whether `word` is the first of several commands of two words, such as ``data``."""
    return any(command.name.startswith(f"{word} ") for command in COMMANDS)


def no_such_command(tokens: Sequence[str]) -> str:
    """The message for a command that does not exist. A word of other programs is answered with the command that does it."""
    names = [command.name for command in COMMANDS]
    word = tokens[0]
    if word == "yolo" and len(tokens) > 1:  # slimyolo yolo train data=…
        if tokens[1] in names:
            command = next(command for command in COMMANDS if command.name == tokens[1])
            return f"There is no command 'yolo'. Type: {_line(command, tokens[2:])[0]}"
        return no_such_command(tokens[1:])
    typed = " ".join(tokens[:2]) if is_family(word) else word
    following = tokens[1] if len(tokens) > 1 else ""
    meant = COMMAND_WORDS.get(following, following)
    if word in TASK_WORDS and meant in names:  # yolo detect train …
        if word != "detect":
            return f"slimyolo detects boxes; it has no task {word!r}."
        command = next(command for command in COMMANDS if command.name == meant)
        line = _line(command, tokens[2:])[0]
        return f"There is no command {word!r}: slimyolo detects, and nothing else. Type: {line}"
    if word in COMMAND_WORDS:
        hint = f" Did you mean {COMMAND_WORDS[word]!r}?"
    elif len(tokens) == 1 and is_family(word):
        own = " or ".join(repr(name) for name in names if name.startswith(f"{word} "))
        hint = f" Did you mean {own}?"
    else:
        hint = nearest_name_hint(typed, names)
    return f"There is no command {typed!r}.{hint} Commands: {', '.join(names)}."


def refuse_other_style(command: Command, tokens: Sequence[str], words: Sequence[str]) -> None:
    """Raise `ConfigError` with the line to type when one of `words` is ``key=value``, as the ultralytics package takes it.

    `tokens` is all that follows the command; `words` are those that stand without an option. The name of a file that exists
    is no pair.
    """
    pairs = [word for word in words if _is_pair(word, command)]
    if not pairs:
        return
    line, unknown = _line(command, tokens)
    left_out = f" There is no option for {', '.join(unknown)}." if unknown else ""
    raise ConfigError(f"{pairs[0]!r}: options are written --name value here, not name=value.{left_out} Type: {line}")


def _is_pair(word: str, command: Command) -> bool:
    match = PAIR.fullmatch(word)
    if match is None or Path(word).exists():
        return False
    return match[1] in OF_TASKS or option_for(match[1], match[2], command.settings) is not None


def _line(command: Command, tokens: Sequence[str]) -> tuple[str, list[str]]:
    """(the line to type, the keys for which there is no option)."""
    parts, unknown = [f"slimyolo {command.name}"], []
    for token in tokens:
        match = PAIR.fullmatch(token)
        if match is None:
            parts.append(shlex.quote(token))
            continue
        words = option_for(match[1], match[2], command.settings)
        if words is None:
            unknown += [match[1]] if match[1] not in OF_TASKS else []
        else:
            parts += [shlex.quote(word) for word in words]
    return " ".join(parts), unknown
