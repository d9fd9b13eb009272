"""Settings of the ultralytics package for its tests. They run in an environment of their own (`make test-ultralytics`).

Elsewhere they are skipped: the package is not a dependency of slimyolo.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import make_set

os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_VERBOSE": "false"}


def _version() -> str | None:
    try:
        return metadata.version("ultralytics")
    except metadata.PackageNotFoundError:
        return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the package where it is absent; its own warnings are not errors of ours."""
    for item in items:
        if item.get_closest_marker("ultralytics") is None:
            continue
        item.add_marker(pytest.mark.filterwarnings("ignore"))
        if _version() is None:
            item.add_marker(pytest.mark.skip(reason="the ultralytics package is absent; run `make test-ultralytics`"))


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["YOLO_CONFIG_DIR"] = str(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Task → what `data=` takes: tiny rendered data sets."""
    root = tmp_path_factory.mktemp("sets")
    tasks = ("detect", "segment", "pose", "obb", "classify")
    return {task: str(make_set(root / task, task, pictures=16)) for task in tasks}


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Options of a quick training on a tiny data set: no augmentation, one optimizer step for each batch of four."""
    plain = dict.fromkeys(("mosaic", "scale", "translate", "hsv_h", "hsv_s", "hsv_v", "fliplr", "close_mosaic"), 0)
    return {
        "imgsz": 64,
        "batch": 4,
        "nbs": 4,
        "device": "cpu",
        "workers": 0,
        "plots": False,
        "verbose": False,
        "project": str(tmp_path / "runs"),
        "optimizer": "AdamW",
        "lr0": 0.01,
        "warmup_epochs": 1,
        **plain,
    }


@pytest.fixture
def checks(tmp_path: Path) -> dict[str, Any]:
    """Options of a validation."""
    return {
        "imgsz": 64,
        "device": "cpu",
        "workers": 0,
        "plots": False,
        "verbose": False,
        "project": str(tmp_path / "runs"),
    }
