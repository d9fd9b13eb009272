"""Where log lines of the tasks are printed: information on standard output, warnings on standard error.

A library prints nothing that nobody asked for, so this happens on the command line, and inside `speaking_aloud`.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from slimyolo.shown_text import one_shown_line, shown

__all__ = ["is_speaking", "speak", "speaking_aloud"]

log = logging.getLogger("slimyolo")


class _Plain(logging.Formatter):
    """Control characters in names never reach the terminal, see `slimyolo.shown_text`."""

    def format(self, record: logging.LogRecord) -> str:
        arguments = record.args
        if isinstance(arguments, tuple) and any(isinstance(one, PurePath) for one in arguments):
            record = copy.copy(record)
            record.args = tuple(one_shown_line(str(one)) if isinstance(one, PurePath) else one for one in arguments)
        return shown(super().format(record))


class _Facts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


def speak(*, quiet: bool = False, output_is_json: bool = False) -> None:
    """Print the log lines of slimyolo from now on, as the command line does.

    With `quiet`, only warnings are printed. With `output_is_json`, information goes to standard error, so that standard
    output holds only the JSON. When torchrun started several processes, only the first one prints everything; the others
    print only errors.
    """
    log.handlers.clear()
    first = os.environ.get("RANK", "0") == "0"
    log.setLevel(logging.ERROR if not first else logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    facts = logging.StreamHandler(sys.stderr if output_is_json else sys.stdout)
    warnings = logging.StreamHandler(sys.stderr)
    facts.addFilter(_Facts())
    warnings.setLevel(logging.WARNING)
    facts.setFormatter(_Plain("%(message)s"))
    warnings.setFormatter(_Plain("warning: %(message)s"))
    log.addHandler(facts)
    log.addHandler(warnings)


@contextmanager
def speaking_aloud() -> Iterator[None]:
    """Print log lines as the command line does, inside the block only; the program's own logging comes back after it."""
    before = list(log.handlers), log.level, log.propagate
    speak()
    try:
        yield
    finally:
        handlers, log.level, log.propagate = before
        log.handlers[:] = handlers
        log.setLevel(log.level)  # it also forgets which levels were enabled


def is_speaking() -> bool:
    """Whether information is printed on the terminal, so that progress may be drawn there, too."""
    ours = any(isinstance(one, _Facts) for handler in log.handlers for one in handler.filters)
    return ours and log.level <= logging.INFO
