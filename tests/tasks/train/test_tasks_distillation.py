"""Table of cases: fine-tuning a cut detector with its base as teacher, and going on with it exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slimyolo.errors import ConfigError
from slimyolo.families import load_checkpoint
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.config import FinetuneConfig, TrainConfig
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.resume import find_resumable, resumed_config
from slimyolo.tasks.train.saving import CheckpointWriter

QUICK: dict[str, Any] = {"imgsz": 64, "batch_size": 4, "workers": 0, "cache": "ram", "noautoanchor": True}


def test_a_cut_detector_learns_from_its_base_and_resumes_exactly(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path, imgsz=64))

    def config(name: str) -> FinetuneConfig:
        return FinetuneConfig(
            data=tiny_data, weights=cut.weights, epochs=2, teacher=base_run.best, project=tmp_path, name=name, **QUICK
        )

    whole = finetune(config("whole"))
    assert whole.size.params == cut.after.params  # the projectors are not kept
    original = CheckpointWriter.save

    def save_then_die(self: Any, report: Any) -> None:
        original(self, report)
        assert {"response", "feature"} <= set(report.losses)
        if report.epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointWriter, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        finetune(config("killed"))
    monkeypatch.setattr(CheckpointWriter, "save", original)
    last = tmp_path / "killed" / "weights" / "last.pt"
    beside = (load_checkpoint(last).training or {})["beside"]["tensors"]
    assert beside
    assert all(name.endswith("weight") for name in beside)
    resumed = finetune(resumed_config(FinetuneConfig, find_resumable(last, tmp_path), {}))
    first, second = (load_checkpoint(record.last).tensors for record in (whole, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"distill": "respons", "teacher": "t.pt"}, r"--distill: got 'respons', expected response or feature, or both"),
        ({"distill": ""}, r"--distill: got ''"),
        ({"distill": "feature"}, r"--distill needs a teacher: add --teacher FILE"),
        ({"distill_response": 2}, r"--distill-response needs a teacher"),
        ({"teacher": "t.pt", "distill_feature": 0}, r"--distill-feature: got 0, expected more than 0"),
    ],
)
def test_options_of_distillation(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TrainConfig(data="d.yaml", cfg="yolov5n", **given)


def test_terms_come_as_one_word_or_several() -> None:
    for given in ("feature,response", ["feature", "response"], ("response", "feature")):
        assert TrainConfig(data="d.yaml", cfg="yolov5n", teacher="t.pt", distill=given).distill == (
            "response",
            "feature",
        )
