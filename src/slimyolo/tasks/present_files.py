"""Files that a command needs are looked for before its task is imported: torch takes seconds, on a busy machine half a minute."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slimyolo.storage import in_home
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.common.weights import FROM_SCRATCH, refuse_missing_weights

__all__ = ["refuse_missing_files"]

FROM_NOTHING = ("train", "sparsify", "finetune", "compress")
"""Commands that can begin without weights, as their message says."""
LIGHT = ("plan show", "plan diff", "report", "data check", "data convert", "data synth", "completion")
"""Commands whose tasks import no torch: they answer at once themselves."""


def refuse_missing_files(settings: Config) -> None:
    """Raise the error that the task of these `settings` itself would raise, when a file does not exist that it needs.

    A run that goes on knows its own files, and looks for them itself. What exists is not read here.
    """
    plain: dict[str, Any] = dict(settings)
    if settings.command in LIGHT or plain.get("resume") is not None:
        return
    for name, refuse in CHECKS.items():
        values = plain.get(name)
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, (Path, str)):
                refuse(settings, Path(value))


def _refuse_weights(settings: Config, path: Path) -> None:
    refuse_missing_weights(path, otherwise=FROM_SCRATCH if _may_begin_without(settings) else "")


def _refuse_other_model(settings: Config, path: Path) -> None:
    refuse_missing_weights(path)


def _refuse_source(settings: Config, path: Path) -> None:
    """A pattern, a camera or an address is no file; `named_files` knows them."""
    source = str(dict(settings)["source"])
    if not os.path.exists(in_home(source)):
        from slimyolo.inference.sources import named_files  # OpenCV takes a while as well

        named_files(source)


def _refuse_dataset(settings: Config, path: Path) -> None:
    from slimyolo.data import read_dataset_yaml

    if not os.path.isfile(in_home(path)):
        read_dataset_yaml(path)


def _refuse_plan(settings: Config, path: Path) -> None:
    if not path.exists():
        from slimyolo.tasks.prune.plan import read_plan

        read_plan(path)


def _refuse_times(settings: Config, path: Path) -> None:
    if not path.exists():
        from slimyolo.tasks.latency.device.times import read_times

        read_times(path)


def _refuse_hyperparameters(settings: Config, path: Path) -> None:
    from slimyolo.tasks.train.hyperparameters import PRESETS, read_hyperparameters

    if str(path) not in PRESETS and not path.exists():
        read_hyperparameters(path)


def _may_begin_without(settings: Config) -> bool:
    return settings.command in FROM_NOTHING and dict(settings).get("epochs") != 0


CHECKS: Mapping[str, Callable[[Config, Path], None]] = {
    "data": _refuse_dataset,
    "weights": _refuse_weights,
    "file": _refuse_other_model,
    "first": _refuse_other_model,
    "second": _refuse_other_model,
    "teacher": _refuse_other_model,
    "against": _refuse_other_model,
    "hyp": _refuse_hyperparameters,
    "times": _refuse_times,
    "plan": _refuse_plan,
    "source": _refuse_source,
}
"""Setting → what is done with its path; each raises when there is nothing at that path."""
