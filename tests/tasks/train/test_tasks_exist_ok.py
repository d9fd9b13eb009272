"""Table of cases: a training with ``--exist-ok`` in the folder of an earlier run, stopped in its first epoch and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from slimyolo.families import load_checkpoint
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.resume import find_resumable, resumed_config
from slimyolo.tasks.train.saving import CheckpointWriter
from slimyolo.tasks.train.train import train

QUICK: dict[str, Any] = {"imgsz": 64, "batch_size": 4, "workers": 0, "noautoanchor": True, "noplots": True}


def test_weights_of_the_earlier_run_are_not_taken_for_new_ones(
    base_run: TrainRecord,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "exp"
    shutil.copytree(base_run.folder, folder)
    (folder / "weights" / "mine.pt").write_bytes(b"not ours")
    (folder / "weights" / "epoch1.pt").write_bytes(b"of the earlier run")
    earlier = (folder / "weights" / "best.pt").read_bytes()
    config = TrainConfig(
        data=tiny_data, weights=folder / "weights" / "best.pt", epochs=1, project=tmp_path, exist_ok=True, **QUICK
    )
    original = CheckpointWriter.begin

    def begin_then_stop(self: CheckpointWriter, snapshot: Any) -> None:
        original(self, snapshot)
        raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointWriter, "begin", begin_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.setattr(CheckpointWriter, "begin", original)
    weights = folder / "weights"
    assert "the weights of the earlier run are in" in caplog.text
    assert not any((folder / name).exists() for name in ("record.json", "results.csv", "curves.json"))
    assert sorted(path.name for path in weights.glob("*.pt")) == ["last.pt", "mine.pt"]
    assert sorted(path.name for path in (weights / "earlier").iterdir()) == ["best.pt", "epoch1.pt", "last.pt"]
    assert (weights / "earlier" / "best.pt").read_bytes() == earlier
    assert load_checkpoint(weights / "last.pt").training is not None
    record = train(resumed_config(TrainConfig, find_resumable("newest", tmp_path), {}))
    assert record.epochs_done == 1
    assert not (weights / "earlier").exists()
    assert (weights / "mine.pt").exists()
