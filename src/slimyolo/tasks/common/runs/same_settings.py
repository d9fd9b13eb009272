"""Which settings must stay the same when a command continues a run that was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option_name
from slimyolo.tasks.common.runs.run_paths import same_value

__all__ = ["CHECKED_BY_CONTENT", "FREE_IN_STAGES", "FREE_TO_CHANGE", "refuse_other_settings", "settings_that_stay"]

FREE_TO_CHANGE = ("device", "cpu_threads", "workers", "cache", "noplots", "resume", "project")
"""Settings that cannot change the result."""
CHECKED_BY_CONTENT = ("data",)
"""Settings that may name another place, as long as the content there is the same."""
FREE_IN_STAGES = (*FREE_TO_CHANGE, "name", "exist_ok", "export", "json_file")
"""The same for a run of several stages, which is identified by its folder. Files may be exported later,
in other formats, and the record may be written to another place."""


def settings_that_stay(config: Config, *free: str) -> dict[str, Any]:
    """The settings of `config` that must not change on resume: all but those in `FREE_IN_STAGES` and in `free`."""
    return {key: value for key, value in config.to_plain().items() if key not in (*FREE_IN_STAGES, *free)}


def refuse_other_settings(folder: Path, stored: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` when one of `settings` differs from the one `stored` when the run in `folder` began."""
    for key, value in settings.items():
        if not same_value(stored.get(key), value):
            raise ConfigError(
                f"--resume continues {folder}, which was started with {option_name(key)} {stored.get(key)}; got {value}. "
                "Use the same options, or leave --resume out to start a new run."
            )
