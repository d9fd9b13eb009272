"""The ``slimyolo`` command: find the command, make its settings, run it, turn errors into exit statuses."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from slimyolo import __version__
from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.crashes import tell_crashes
from slimyolo.cli.ctrl_c import noting_ctrl_c
from slimyolo.cli.options import CONFIG_FILE, command_options, given_values, read_config_file
from slimyolo.cli.other_words import advice_of, is_family, no_such_command
from slimyolo.cli.running import run_command
from slimyolo.cli.screens import command_screen, family_screen, overview_screen
from slimyolo.cli.standard_streams import fill_closed_numbers, lasting_streams, lost_output
from slimyolo.cli.system_errors import system_sentence
from slimyolo.cli.tokens import parse_tokens
from slimyolo.errors import ConfigError, SlimyoloError
from slimyolo.shown_text import shown
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.common.speaking import speak
from slimyolo.tasks.settings import settings_of

__all__ = ["leave", "main", "make_settings", "run_command_line", "run_safely"]

HELP, HELP_ALL, QUIET = ("--help", "-h"), "--help-all", ("--quiet", "-q")
FAILED, INTERRUPTED = 2, 130


def main() -> None:
    """Entry point of ``slimyolo`` and ``python -m slimyolo``."""
    fill_closed_numbers()
    tell_crashes()
    leave(run_safely(lambda: run_command_line(sys.argv[1:])))


def leave(status: int) -> NoReturn:
    """End the process with `status`, as `sys.exit` does. It does not unload torch, which would take half a second."""
    wait_for_threads: Callable[[], None] = vars(threading)["_shutdown"]  # the interpreter's own first step at its end
    wait_for_threads()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(
            OSError, AttributeError, ValueError
        ):  # closed, or None when it was closed from the start
            stream.flush()
    os._exit(status)


def run_safely(action: Callable[[], int]) -> int:
    """Run `action` and return its exit status. A `SlimyoloError` is printed on stderr (status 2); Ctrl-C gives 130."""
    with lasting_streams() as streams, noting_ctrl_c() as interrupted:
        speak()
        try:
            status = action()
        except (KeyboardInterrupt, Exception) as error:
            return _ending(error, bool(interrupted))
        lost = lost_output(streams)
        if lost is not None:
            print(f"slimyolo: {lost}", file=sys.stderr)
    return FAILED if lost is not None and status == 0 else status


def _ending(error: BaseException, interrupted: bool) -> int:
    if interrupted or isinstance(error, KeyboardInterrupt):
        print("slimyolo: stopped.", file=sys.stderr)
        if isinstance(error, KeyboardInterrupt) and error.args and str(error):
            print(shown(f"Go on with: {error}"), file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, SlimyoloError):
        print(shown(f"slimyolo: {error}"), file=sys.stderr)
        return FAILED
    sentence = system_sentence(error)
    if sentence is not None:
        print(shown(f"slimyolo: {sentence}"), file=sys.stderr)
        return FAILED
    raise error


def run_command_line(tokens: Sequence[str]) -> int:
    """Run ``slimyolo TOKENS``; returns the exit status. Raises `SlimyoloError` on wrong input."""
    if not tokens or tokens[0] in (*HELP, HELP_ALL, "help"):
        print(_screen(tokens[1:]))
        return 0
    if tokens[0] in ("--version", "-V"):
        print(f"slimyolo {__version__}")
        return 0
    if len(tokens) == 2 and tokens[1] in (*HELP, HELP_ALL) and is_family(tokens[0]):
        print(family_screen(tokens[0]))
        return 0
    command, rest = _find(tokens)
    if any(token in (*HELP, HELP_ALL) for token in rest):
        print(command_screen(command, everything=HELP_ALL in rest))
        return 0
    quiet = any(token in QUIET for token in rest)
    rest = [token for token in rest if token not in QUIET]
    specs = [option.spec for option in command_options(command.settings)]
    given = parse_tokens(
        specs,
        rest,
        program=f"slimyolo {command.name}",
        advice=advice_of(command, rest),
    )
    path = given.pop(CONFIG_FILE, None)
    recipe = read_config_file(path, command.settings, given) if path is not None else {}
    settings = make_settings(command.settings, {**recipe, **given})
    speak(quiet=quiet, output_is_json=settings.to_plain().get("json_file") == "-")
    return run_command(command, settings)


def make_settings(kind: type[Config], given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Config:
    """Make the settings of one run from the words `given` on the command line, as `settings_of` does."""
    return settings_of(kind, given_values(kind, given), defaults)


def _screen(words: Sequence[str]) -> str:
    """The help screen for a command, for the first word of some, or of all commands."""
    if not words:
        return overview_screen(__version__)
    return family_screen(words[0]) if len(words) == 1 and is_family(words[0]) else command_screen(_find(words)[0])


def _find(tokens: Sequence[str]) -> tuple[Command, list[str]]:
    for command in COMMANDS:
        words = command.name.split()
        if list(tokens[: len(words)]) == words:
            return command, list(tokens[len(words) :])
    if tokens[0] in QUIET:
        raise ConfigError(f"Write {tokens[0]} after the command: slimyolo COMMAND … {tokens[0]}.")
    raise ConfigError(no_such_command(tokens))
