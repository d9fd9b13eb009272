"""Where the log of the tasks goes: facts to standard output, warnings to standard error."""

from __future__ import annotations

import logging
import os
import sys

__all__ = ["speak"]


class _Facts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


def speak(*, quiet: bool = False, output_is_json: bool = False) -> None:
    """Print what slimyolo logs. Called by the command line alone: a program that uses the API decides for itself.

    With `quiet` only warnings are printed; with `output_is_json` facts go to standard error, so that standard output
    holds nothing but the JSON. Of processes that torchrun started together only the first one speaks; the others print
    their errors.
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
