"""What the tasks log becomes what a person reads: facts on standard output, warnings on standard error."""

from __future__ import annotations

import logging
import os
import sys

__all__ = ["speak"]


class _Facts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


def speak() -> None:
    """Print what slimyolo logs. Called by the command line alone: a program that uses the API decides for itself.

    Of processes that torchrun started together only the first one speaks; the others print their errors.
    """
    log = logging.getLogger("slimyolo")
    log.handlers.clear()
    log.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    log.propagate = False
    facts, warnings = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    facts.addFilter(_Facts())
    warnings.setLevel(logging.WARNING)
    warnings.setFormatter(logging.Formatter("warning: %(message)s"))
    log.addHandler(facts)
    log.addHandler(warnings)
