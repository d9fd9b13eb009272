"""``--resume`` of a run of several steps (`compress`, `iterate`, `sensitivity`): which run, and with which settings.

The run folder keeps the settings, so ``slimyolo compress --resume`` is enough. Options that are given must have the values
of the run, except those that cannot change the result.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from slimyolo.errors import ConfigError, StorageError
from slimyolo.tasks.common.config import Config, option_name
from slimyolo.tasks.common.runs.run_paths import STARTED_IN, same_value, seen_from_here
from slimyolo.tasks.common.runs.same_settings import CHECKED_BY_CONTENT, FREE_IN_STAGES

__all__ = [
    "NEWEST",
    "SETTINGS_FILES",
    "find_run",
    "given_name",
    "refuse_other_data",
    "resumed_stages",
    "settings_of_run",
]

log = logging.getLogger("slimyolo")

NEWEST = "newest"
SETTINGS_FILES = {"compress": "chain.json", "iterate": "iterate.json", "sensitivity": "sensitivity.json"}
"""The file in a run folder that keeps the settings of each command."""
SPLITS = ("train", "val", "test")
WRITTEN_OUTSIDE = ("resume", "json_file", "plan_out")
AnyConfig = TypeVar("AnyConfig", bound=Config)


def given_name(config: Any) -> str | None:
    """``--name`` when it was given, else None."""
    return str(config.name) if "name" in config.model_fields_set else None


def find_run(command: str, where: str, project: Path, name: str | None, what: str = "run") -> Path:
    """The folder of the run to continue: `where` if it is a folder; else ``project/name``; else, with no name, the newest run.

    Raises `ConfigError` when it does not exist, or is not a run of `command`.
    """
    file = SETTINGS_FILES[command]
    if where != NEWEST:
        folder = Path(where)
        if folder.suffix in (".yaml", ".yml"):
            raise ConfigError(f"--resume: got {where}, expected the folder of a run. Write the recipe before --resume.")
        if not (folder / file).is_file():
            why = f"it holds no {file}" if folder.exists() else "it does not exist"
            raise ConfigError(f"--resume: {folder} is no run of slimyolo {command}: {why}.")
        return folder
    runs = sorted(project.glob(f"*/{file}"), key=_last_change)
    names = ", ".join(run.parent.name for run in runs) or "none"
    if name is not None:
        if not (project / name / file).is_file():
            raise ConfigError(
                f"--resume: there is no {what} {name!r} with a {file} in {project} (runs there: {names}). Leave --resume out to "
                "start a new run."
            )
        return project / name
    if not runs:
        raise ConfigError(
            f"--resume: there is no run of slimyolo {command} in {project}. Give its folder, --resume FOLDER, or leave "
            "--resume out to start a new one."
        )
    return runs[-1].parent


def resumed_stages(kind: type[AnyConfig], given: Mapping[str, Any]) -> AnyConfig:
    """The configuration of the run to continue, with ``resume`` set to its folder. `given` holds the options of the command
    line. Raises `ConfigError` when an option that decides the result differs from that of the run.

    Files outside the run folder, into which the run wrote (``--json``), are not written again unless they are given: the
    folder may come from somebody else.
    """
    where = NEWEST if given["resume"] is True else str(given["resume"])
    project = Path(str(given.get("project", kind.model_fields["project"].default)))
    name = str(given["name"]) if "name" in given else None
    folder = find_run(kind.command, where, project, name)
    log.info("resume: %s", folder)
    stored = _stored_settings(folder, kind)
    own = {"project": folder.parent, "name": folder.name, "resume": folder}
    free = {key: given[key] for key in given if key in (*FREE_IN_STAGES, *CHECKED_BY_CONTENT) and key not in own}
    run = settings_of_run(kind, {**stored, **own}, free, folder / SETTINGS_FILES[kind.command])
    asked = kind(**{**stored, **given, **own})
    for key in given:
        before, now = getattr(run, key), getattr(asked, key)
        if key not in (*FREE_IN_STAGES, *CHECKED_BY_CONTENT) and not same_value(before, now):
            raise ConfigError(
                f"--resume continues {folder}, which was started with {option_name(key)} {before}; got {now}. Leave "
                f"{option_name(key)} out, or leave --resume out to start a new run."
            )
    return run


def refuse_other_data(folder: Path, data: Path) -> None:
    """Raise `ConfigError` unless `data` has the content with which the run in `folder` began, as its records say."""
    from slimyolo.data import read_dataset_yaml, read_split  # not at the top: `--help` must answer at once

    known = _fingerprints(folder)
    dataset = read_dataset_yaml(data)
    differing = [name for name, before in known.items() if read_split(dataset, name).fingerprint != before]
    if differing or not known:
        why = (
            f"its {differing[0]} split has other images or labels"
            if differing
            else "no stage has noted its content yet"
        )
        raise ConfigError(
            f"--resume continues {folder} with the same data; got {data}: {why}. Give --data with the same content, or leave "
            "--resume out to start a new run."
        )


def _fingerprints(folder: Path) -> dict[str, str]:
    """Split → the fingerprint that the records of the stages hold."""
    from slimyolo.storage import open_record  # not at the top: it imports torch, and `--help` must answer at once

    found: dict[str, str] = {}
    for record in sorted(folder.glob("*/record.json")):
        try:
            splits = open_record(record, "")["provenance"]["data"]["splits"].named()
            found |= {name: about["fingerprint"].text() for name, about in splits.items() if name in SPLITS}
        except StorageError:
            continue
    return found


def settings_of_run(
    kind: type[AnyConfig], stored: Mapping[str, Any], free: Mapping[str, Any], source: Path
) -> AnyConfig:
    """The settings of a run as it was started, with the options in `free` that may change. `source` is the file of `stored`.

    Raises `ConfigError`, which names `source` when its values are wrong.
    """
    try:
        return kind(**{**stored, **free})
    except ConfigError as error:
        if not free:
            raise ConfigError(f"--resume: {source} holds settings that no run was started with. {error}") from None
        settings_of_run(kind, stored, {}, source)  # raises when the stored values alone are wrong
        raise


def _stored_settings(folder: Path, kind: type[Config]) -> dict[str, Any]:
    from slimyolo.storage import RecordValue, open_record  # not at the top, as in `_fingerprints`

    path = folder / SETTINGS_FILES[kind.command]
    try:
        record = open_record(path, "Start a new run.")
        about = record.get("provenance") or record
        settings, started_in = about["settings"].settings(), about.optional(STARTED_IN, RecordValue.text)
    except StorageError as error:
        raise ConfigError(f"--resume: {path}, which says how the run was started, cannot be read. {error}") from None
    known = {key: value for key, value in settings.items() if key in kind.model_fields and key not in WRITTEN_OUTSIDE}
    return seen_from_here(known, kind, started_in)


def _last_change(file: Path) -> float:
    """When the run of this settings file was last written to."""
    places = [file, *file.parent.glob("*.json"), *file.parent.glob("*/weights/last.pt")]
    return max(os.stat(place).st_mtime for place in places)
