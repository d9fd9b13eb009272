"""``--resume`` of a training: the options with which it was started are kept in its folder and read back.

``opt.yaml`` in a run folder holds the command, its whole configuration and the working directory. A resumed run uses exactly
these. Options that are given on the command line must have the same values, except those that cannot change the result, and
except the place of the dataset.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from slimyolo.errors import ConfigError, StorageError
from slimyolo.tasks.common.config import option_name
from slimyolo.tasks.common.runs.resuming import settings_of_run
from slimyolo.tasks.common.runs.run_paths import STARTED_IN, same_value, seen_from_here
from slimyolo.tasks.common.runs.same_settings import CHECKED_BY_CONTENT, FREE_TO_CHANGE
from slimyolo.tasks.train.config import TrainConfig

__all__ = ["NEWEST", "OPTIONS_FILE", "find_resumable", "resumed_config", "write_options"]

OPTIONS_FILE, HYPER_PARAMETERS_FILE = "opt.yaml", "hyp.yaml"
TEXTS = ("command", STARTED_IN)
NEWEST = "newest"
AnyTrainConfig = TypeVar("AnyTrainConfig", bound=TrainConfig)


def write_options(folder: Path, config: TrainConfig) -> None:
    """Write `config` to ``opt.yaml`` in a run folder, so that the run can be resumed."""
    from slimyolo.storage import write_text  # not at the top: it imports torch, and `--help` must answer at once

    plain = {"command": config.command, STARTED_IN: os.getcwd(), **config.to_plain()}
    write_text(folder / OPTIONS_FILE, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def find_resumable(where: str | Path, project: Path) -> Path:
    """The checkpoint to resume: file `where`, the ``last.pt`` of run folder `where`, or the newest one in `project`.

    Raises `ConfigError` when there is none.
    """
    if str(where) == NEWEST:
        found = sorted(project.glob("*/weights/last.pt"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise ConfigError(
                f"--resume: there is no run to resume in {project} (looked for */weights/last.pt). Give the checkpoint, "
                "such as --resume runs/train/exp3/weights/last.pt."
            )
        return found[-1]
    path = Path(where)
    if path.is_dir():
        path = path / "weights" / "last.pt"
    if not path.is_file():
        raise ConfigError(f"--resume: there is no checkpoint {path}. Give the last.pt of a run, or its folder.")
    return path


def resumed_config(kind: type[AnyTrainConfig], checkpoint: Path, given: Mapping[str, Any]) -> AnyTrainConfig:
    """The configuration with which `checkpoint`'s run was started, with `resume` set to it.

    `given` holds the options of the command line. ``data`` may lead to another place: the training compares the content
    with what the checkpoint says. Relative paths of a run that was started in another working directory lead to the same
    files. Raises `ConfigError` when the run belongs to another command, or when an option that decides the result differs
    from that of the run.
    """
    path, options = _read_options(checkpoint)
    command, started_in = options.pop("command", kind.command), options.pop(STARTED_IN, None)
    if command != kind.command:
        raise ConfigError(f"--resume: {checkpoint} belongs to a run of `{command}`; resume it with that command.")
    stored = seen_from_here({**kind.OF_OLDER_RUNS, **options}, kind, started_in)
    stored["hyp"] = _hyper_parameters(stored.get("hyp"), checkpoint)
    free = (*FREE_TO_CHANGE, *CHECKED_BY_CONTENT)
    own = {**stored, "resume": checkpoint}
    run = settings_of_run(kind, own, {key: given[key] for key in given if key in free and key != "resume"}, path)
    asked = kind(**{**own, **given, "resume": checkpoint})
    for key in given:
        before, now = getattr(run, key), getattr(asked, key)
        if key not in free and not same_value(before, now):
            raise ConfigError(
                f"--resume goes on exactly as the run began, with {option_name(key)} {before}; got {now}. Leave "
                f"{option_name(key)} out, or start a new run with --weights {checkpoint}."
            )
    return run


def _hyper_parameters(stored: Any, checkpoint: Path) -> Any:
    """The stored value of ``--hyp``. When it was a file that is no longer there, ``hyp.yaml`` of the run has its values."""
    copy = checkpoint.parent.parent / HYPER_PARAMETERS_FILE
    is_file = isinstance(stored, str) and Path(stored).suffix in (".yaml", ".yml")
    return str(copy) if is_file and not Path(stored).is_file() and copy.is_file() else stored


def _read_options(checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """The file of the options, and the options."""
    from slimyolo.storage import RecordValue, read_yaml  # not at the top, as in `write_options`

    path = checkpoint.parent.parent / OPTIONS_FILE
    again = f"Start a new run from the checkpoint instead: --weights {checkpoint}."
    try:
        options = RecordValue(read_yaml(path), path, again)
        return path, {**options.settings(), **{key: options[key].text() for key in TEXTS if options.has(key)}}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"--resume: cannot read {path}, which says how the run was started: {error}. {again}"
        ) from None
    except StorageError as error:
        raise ConfigError(f"--resume: {error}") from None
