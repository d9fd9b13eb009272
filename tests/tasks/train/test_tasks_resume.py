"""Table of cases: with which settings a run goes on, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimyolo.errors import ConfigError
from slimyolo.tasks.train.config import SparsifyConfig, TrainConfig
from slimyolo.tasks.train.resume import find_resumable, resumed_config, write_options

TRAIN = {"data": "d.yaml", "cfg": "yolov5n"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "exp"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "last.pt").touch()
    write_options(folder, TrainConfig(**TRAIN, epochs=7, project=tmp_path / "runs"))
    return folder


def test_a_run_goes_on_with_its_own_settings(run: Path) -> None:
    checkpoint = find_resumable("newest", run.parent)
    assert checkpoint == find_resumable(run, run.parent) == run / "weights" / "last.pt"
    config = resumed_config(TrainConfig, checkpoint, {"workers": 1, "epochs": "7"})
    assert (config.epochs, config.workers, config.resume, config.cfg) == (7, 1, checkpoint, "yolov5n")


def test_a_run_does_not_go_on_differently(run: Path) -> None:
    checkpoint = run / "weights" / "last.pt"
    with pytest.raises(ConfigError, match="with --epochs 7; got 9"):
        resumed_config(TrainConfig, checkpoint, {"epochs": 9})
    with pytest.raises(ConfigError, match="belongs to a run of `train`"):
        resumed_config(SparsifyConfig, checkpoint, {})


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run to resume"):
        find_resumable("newest", tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint"):
        find_resumable(tmp_path / "none.pt", tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "last.pt").touch()
    with pytest.raises(ConfigError, match=r"opt.yaml, which says how the run was started"):
        resumed_config(TrainConfig, tmp_path / "weights" / "last.pt", {})
    (tmp_path / "opt.yaml").write_text("[]")
    with pytest.raises(ConfigError, match="holds no options"):
        resumed_config(TrainConfig, tmp_path / "weights" / "last.pt", {})
