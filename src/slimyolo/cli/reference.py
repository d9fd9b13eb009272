"""The command lines of the reference project's scripts, run by the commands of slimyolo.

``run_script("train.py")`` reads `sys.argv` as the reference's script does: with the same names, defaults and
abbreviations. The table of each script says what happens to every option. No option is silently ignored.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimyolo.cli import screens
from slimyolo.cli.commands import COMMANDS
from slimyolo.cli.main import leave, make_settings, run_safely
from slimyolo.cli.options import command_options
from slimyolo.cli.reference_tables import OPTIONAL_FILES, SCRIPTS, ReferenceOption, ReferenceScript
from slimyolo.cli.running import run_command
from slimyolo.cli.screens import heading, two_columns
from slimyolo.cli.tokens import OptionSpec, parse_tokens
from slimyolo.errors import ConfigError
from slimyolo.shown_text import shown
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.common.weights import same_file_of_newest_run

__all__ = ["run_script", "script_screen", "translate"]


def run_script(path: str) -> None:
    """Run reference script `path` (a key of `SCRIPTS`) with the words of `sys.argv`, and exit with its status."""
    leave(run_safely(lambda: _run(SCRIPTS[path], sys.argv[1:])))


def translate(script: ReferenceScript, tokens: Sequence[str]) -> tuple[Config, tuple[str, ...]]:
    """The settings that `tokens` mean, and notes on the given options that change nothing.

    Raises `ConfigError` for unknown options, and for options that slimyolo refuses.
    """
    specs = [OptionSpec(option.names[0], option.names, option.arity, option.bare) for option in script.options]
    try:
        given = parse_tokens(specs, tokens, program=f"python {script.path}", abbreviations=True)
    except ConfigError as error:
        raise ConfigError(f"{error}{_native_hint(script, tokens)}") from None
    values: dict[str, Any] = {}
    defaults: dict[str, Any] = dict(script.fixed)
    notes: list[str] = []
    for option in script.options:
        name, fate = option.names[0], option.fate
        if name not in given:
            if fate.kind == "works" and (default := _default(option)) is not None:
                defaults[fate.text] = default
            continue
        value = _checked(option, given[name])
        if name == "--weights":
            value = _of_newest_run(str(value), notes)
        if fate.kind == "works":
            values[fate.text] = value
        elif fate.kind == "harmless":
            notes.append(f"{name}: {fate.text}.")
        elif not _is_default(option, value):
            raise ConfigError(f"{name}: {fate.text}")
    return make_settings(script.settings, values, defaults), tuple(notes)


def script_screen(script: ReferenceScript) -> str:
    """The screen of ``python SCRIPT --help``: options that work, that change nothing, and that are refused."""
    what = f"python {script.path}: takes the reference's options and runs `slimyolo {script.settings.command}`"
    lines = [*textwrap.wrap(what, screens.WIDTH), ""]
    words = {option.spec.key: option.help for option in command_options(script.settings)}
    rows = {"works": "Options", "harmless": "Accepted, but without effect", "refused": "Refused"}
    for kind, title in rows.items():
        chosen = [option for option in script.options if option.fate.kind == kind]
        if not chosen:
            continue
        lines.append(heading(title))
        names: dict[str, list[str]] = {}
        for option in chosen:
            names.setdefault(_explanation(option, words), []).extend(option.names)
        lines += two_columns([(", ".join(named), text) for text, named in names.items()], 27)
    return "\n".join(lines)


def _run(script: ReferenceScript, tokens: Sequence[str]) -> int:
    if any(token in ("--help", "-h") for token in tokens):
        print(script_screen(script))
        return 0
    settings, notes = translate(script, tokens)
    for note in (*notes, *([f"note: {script.note}."] if script.note else ())):
        print(shown(note), file=sys.stderr)
    command = next(command for command in COMMANDS if command.settings is script.settings)
    return run_command(command, settings)


def _checked(option: ReferenceOption, value: Any) -> Any:
    if option.single and isinstance(value, list):
        if len(value) > 1:
            raise ConfigError(f"{option.names[0]}: got {len(value)} files, expected one: models are not combined.")
        return value[0]
    return value


def _of_newest_run(weights: str, notes: list[str]) -> str:
    """`weights`, or, when that run number does not exist here, the same file of the newest run."""
    if not weights or Path(weights).exists():
        return weights
    newest = same_file_of_newest_run(Path(weights))
    if newest is None:
        return weights
    notes.append(
        f"--weights {weights} does not exist; using {newest.as_posix()}, from the newest run that has this file."
    )
    return newest.as_posix()


def _default(option: ReferenceOption) -> Any:
    """The reference's default. None for options that stay unset: flags, and default files that do not exist."""
    if not option.default_applies or option.default is False or option.default == ():
        return None
    if option.names[0] in OPTIONAL_FILES and not Path(option.default).exists():
        return None
    return option.default


def _is_default(option: ReferenceOption, value: Any) -> bool:
    if option.names[0] == "--local_rank":
        return str(value) in ("-1", os.environ.get("LOCAL_RANK", "-1"))
    return str(value) == str(option.default)


def _native_hint(script: ReferenceScript, tokens: Sequence[str]) -> str:
    """A hint for an option that the reference's script does not know but the slimyolo command does."""
    command: Mapping[str, str] = {
        name: script.settings.command for option in command_options(script.settings) for name in option.spec.names
    }
    ours = {name for option in script.options for name in option.names}
    for token in tokens:
        name = token.partition("=")[0]
        if name in command and name not in ours:
            return f" {name} is an option of `slimyolo {command[name]}`."
    return ""


def _explanation(option: ReferenceOption, words: Mapping[str, str]) -> str:
    if option.fate.kind != "works":
        return option.fate.text
    shown = " ".join(map(str, option.default)) if isinstance(option.default, tuple) else str(option.default)
    unset = not option.default_applies or shown in ("", "None", "False")
    return words[option.fate.text] + ("" if unset else f" (default: {shown})")
