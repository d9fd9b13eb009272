"""Makes the settings of one run from the values that a person gave, on the command line or in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.common.runs.resuming import resumed_stages
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.resume import find_resumable, resumed_config

__all__ = ["settings_of"]


def settings_of(kind: type[Config], given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Config:
    """Settings of `kind` with the values `given`. `defaults` are those of a reference script.

    With ``resume`` they are the settings with which the run was started. Raises `ConfigError`.
    """
    values = dict(given)
    where = values.get("resume")
    if issubclass(kind, TrainConfig) and where not in (None, "", False):
        project = {**(defaults or {}), **values}.get("project", kind.model_fields["project"].default)
        del values["resume"]
        return resumed_config(kind, find_resumable(str(where), Path(project)), values)
    if issubclass(kind, (CompressConfig, IterateConfig, SensitivityConfig)) and where not in (None, "", False):
        return resumed_stages(kind, values)
    return kind(**{**(defaults or {}), **values})
