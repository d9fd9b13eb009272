"""Where log lines of the tasks are printed: information on standard output, warnings on standard error."""

from __future__ import annotations

import logging
import os
import sys

__all__ = ["speak"]


class _Facts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


def speak(*, quiet: bool = False, output_is_json: bool = False) -> None:
    """Print the log lines of slimyolo. Only the command line calls this; a program that uses the API configures its own log.

    With `quiet`, only warnings are printed. With `output_is_json`, information goes to standard error, so that standard
    output holds only the JSON. When torchrun started several processes, only the first one prints everything; the others
    print only errors.
    """
    log = logging.getLogger("slimyolo")
    log.handlers.clear()
    first = os.environ.get("RANK", "0") == "0"
    log.setLevel(logging.ERROR if not first else logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    facts = logging.StreamHandler(sys.stderr if output_is_json else sys.stdout)
    warnings = logging.StreamHandler(sys.stderr)
    facts.addFilter(_Facts())
    warnings.setLevel(logging.WARNING)
    warnings.setFormatter(logging.Formatter("warning: %(message)s"))
    log.addHandler(facts)
    log.addHandler(warnings)
