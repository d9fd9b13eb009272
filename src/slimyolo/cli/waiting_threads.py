"""How long the threads of OpenMP that wait for each other spin before they sleep."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

__all__ = ["bound_spinning"]

SPIN_COUNT = "GOMP_SPINCOUNT"
BOUND = "10000"
"""Turns of the loop in which a thread waits: some ten microseconds. GNU's library makes 300,000 of its own accord."""
_CHOSEN_BY_USER = ("OMP_WAIT_POLICY", SPIN_COUNT, "KMP_BLOCKTIME")


def bound_spinning(variables: MutableMapping[str, str] = os.environ) -> None:
    """Bound the spinning, unless the user's environment says something about it. Works before torch is imported only.

    When another program holds a processor, threads that spin without a bound wait for it at full speed, and a training step
    takes several times longer (``benchmarks/spinning.py``). Only the command line calls this: a program that uses the API
    owns its environment.
    """
    if not any(name in variables for name in _CHOSEN_BY_USER):
        variables[SPIN_COUNT] = BOUND
