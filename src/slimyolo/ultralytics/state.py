"""The state of a sparse run, kept beside the checkpoints of their trainer so that the run can be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from slimyolo.errors import TrainingError
from slimyolo.storage import atomic_file

__all__ = ["STATE_NAME", "read_state", "write_state"]

STATE_NAME = "slimyolo.state"


def write_state(
    folder: Path, epoch: int, state: dict[str, Any], earlier: dict[int, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Write the state after `epoch` and the one before it; returns both, to be handed in as `earlier` the next time.

    Their trainer writes last.pt and then calls us. If the program is killed between the two, last.pt is one epoch newer than
    the newest state; if it is killed while it writes last.pt, that file is one epoch older.
    """
    states = {key: value for key, value in earlier.items() if key == epoch - 1} | {epoch: state}
    with atomic_file(folder / STATE_NAME) as file:
        torch.save(states, file)
    return states


def read_state(folder: Path, epoch: int) -> dict[str, Any]:
    """The state after `epoch` (from 0). Raises `TrainingError` when there is none."""
    path = folder / STATE_NAME
    if not path.is_file():
        raise TrainingError(
            f"{path} is missing: the run to resume was not a sparse one, or its last.pt was moved without this file. "
            "Resume it with the trainer it began with, or start a new sparse run."
        )
    states: dict[int, dict[str, Any]] = torch.load(path, map_location="cpu", weights_only=True)
    if epoch not in states:
        raise TrainingError(
            f"{path} holds the states after the epochs {', '.join(str(key + 1) for key in states)}, but last.pt is one of "
            f"epoch {epoch + 1}. Start a new sparse run."
        )
    return states[epoch]
