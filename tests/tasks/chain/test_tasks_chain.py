"""Table of cases: the commands run one after another on a tiny rendered dataset; the files of each are checked."""

from __future__ import annotations

import csv
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slimyolo
from slimyolo.errors import ConfigError, ModelError, TrainingError
from slimyolo.families import load_checkpoint
from slimyolo.pruning import ChannelShare
from slimyolo.tasks.chain.compress import compress
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.resume import find_resumable, resumed_config
from slimyolo.tasks.train.saving import CheckpointWriter
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train

QUICK: dict[str, Any] = {
    "imgsz": 64,
    "batch_size": 4,
    "workers": 0,
    "cache": "ram",
    "noautoanchor": True,
    "noplots": True,
}


def test_a_training_leaves_its_files(base_run: TrainRecord) -> None:
    folder = Path(base_run.folder)
    assert {"opt.yaml", "hyp.yaml", "results.csv", "record.json"} <= {path.name for path in folder.iterdir()}
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name in ("best.pt", "last.pt"):
        content = torch.load(folder / "weights" / name, weights_only=True)
        assert content["training"] is None
        assert content["names"] == ["face", "face_mask"]
    assert json.loads((folder / "record.json").read_text())["epochs_done"] == 2


def test_a_second_run_gets_another_folder(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    config = PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path, imgsz=64)
    assert [Path(prune(config).weights).parent.name for _ in range(2)] == ["exp", "exp2"]


@pytest.mark.parametrize(
    ("method", "extra"),
    [
        ("share", {"percent": 0.4}),
        ("reference", {"sr": 0.01, "policy": "skip-shortcuts"}),
        ("soft-threshold", {"sr": 0.001}),
    ],
)
def test_sparse_training_shrinks(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path, method: str, extra: dict[str, Any]
) -> None:
    config = SparsifyConfig(
        data=tiny_data, weights=base_run.best, epochs=3, method=method, project=tmp_path, **{**QUICK, **extra}
    )
    record = sparsify(config)
    before, after = (_gammas(path) for path in (base_run.best, record.best))
    if method == "share":
        assert record.zero_share >= 0.4
        assert (after == 0).float().mean() >= 0.4  # the averaged weights too
    else:
        assert after.abs().sum() < before.abs().sum()


def test_the_cut_of_a_sparse_model_changes_nothing(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    sparse = sparsify(
        SparsifyConfig(data=tiny_data, weights=base_run.best, epochs=3, percent=0.4, project=tmp_path, **QUICK)
    )
    record = prune(
        PruneConfig(weights=sparse.best, percent=0.4, project=tmp_path / "cut", data=tiny_data, imgsz=64, workers=0)
    )
    dense, cut = slimyolo.load(sparse.best), slimyolo.load(record.weights)
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        pairs = list(zip(dense.heads(images), cut.heads(images), strict=True))
    for before, after in pairs:
        assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
    assert record.metrics_before is not None  # rounding may move a score over the threshold of an untrained model
    assert record.metrics_after is not None
    assert record.metrics_after.map50 == pytest.approx(record.metrics_before.map50, abs=0.01)
    assert record.after.params < 0.8 * record.before.params
    assert torch.equal(dense.anchors, cut.anchors)
    assert dense.names == cut.names


def test_a_pruned_checkpoint_goes_into_every_command(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    cut = prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path, imgsz=64))
    tuned = finetune(FinetuneConfig(data=tiny_data, weights=cut.weights, epochs=1, project=tmp_path / "ft", **QUICK))
    assert tuned.size.params == cut.after.params
    checked = ValConfig(weights=tuned.best, data=tiny_data, imgsz=64, workers=0, noplots=True, project=tmp_path / "val")
    measured = validate(checked)
    assert measured.size.params == cut.after.params
    again = prune(PruneConfig(weights=tuned.best, percent=0.3, project=tmp_path, imgsz=64))
    assert again.after.params < cut.after.params
    sparser = sparsify(SparsifyConfig(data=tiny_data, weights=again.weights, epochs=1, project=tmp_path / "s", **QUICK))
    assert sparser.size.params == again.after.params


def test_fine_tuning_with_another_activation(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="slimyolo")
    cut = prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path, imgsz=64))
    given: dict[str, Any] = dict(data=tiny_data, epochs=1, project=tmp_path / "ft", **QUICK)
    tuned = finetune(FinetuneConfig(weights=cut.weights, activation="hardswish", **given))
    assert "activation: SiLU is replaced by Hardswish in 57 layers" in caplog.text
    assert tuned.size == cut.after
    architecture = load_checkpoint(tuned.best).architecture
    assert architecture.activation == "Hardswish"
    again = finetune(FinetuneConfig(weights=tuned.best, cfg="yolov5n", **given))  # the checkpoint's stays
    assert load_checkpoint(again.best).architecture == architecture
    yaml = tmp_path / "relu.yaml"
    table = resources.files("slimyolo.families.yolov5").joinpath("yolov5-p5.yaml").read_text(encoding="utf-8")
    table = table.replace("depth_multiple: 1.0", "depth_multiple: 0.33").replace(
        "width_multiple: 1.0", "width_multiple: 0.25"
    )
    yaml.write_text(f"activation: nn.ReLU()\n{table}", encoding="utf-8")
    named = finetune(FinetuneConfig(weights=base_run.best, cfg=str(yaml), **given))  # unless the YAML names one
    assert load_checkpoint(named.best).architecture.activation == "ReLU"


def test_a_pruned_checkpoint_takes_other_classes(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    cut = prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path, imgsz=64))
    data = tmp_path / "three.yaml"
    data.write_text(tiny_data.read_text().replace("nc: 2", "nc: 3").replace("path: .", f"path: {tiny_data.parent}"))
    text = data.read_text()
    data.write_text(text if "2:" in text else text.rstrip() + "\n  2: other\n")
    record = finetune(FinetuneConfig(data=data, weights=cut.weights, epochs=1, project=tmp_path / "ft", **QUICK))
    assert slimyolo.load(record.best).nc == 3


def test_interrupted_training_resumes_to_the_same_weights(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> SparsifyConfig:
        return SparsifyConfig(
            data=tiny_data, weights=None, cfg="yolov5n", epochs=3, percent=0.3, project=tmp_path, name=name, **QUICK
        )

    whole = sparsify(config("whole"))
    original = CheckpointWriter.save

    def save_then_die(self: Any, report: Any) -> None:
        original(self, report)
        if report.epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointWriter, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        sparsify(config("cut"))
    monkeypatch.setattr(CheckpointWriter, "save", original)
    checkpoint = find_resumable("newest", tmp_path)
    assert checkpoint.parent.parent.name == "cut"
    resumed = sparsify(resumed_config(SparsifyConfig, checkpoint, {}))
    assert Path(resumed.folder).name == "cut"
    first, second = load_checkpoint(whole.last), load_checkpoint(resumed.last)
    assert all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())


def test_a_finished_run_cannot_be_resumed(base_run: TrainRecord, tiny_data: Path) -> None:
    config = resumed_config(TrainConfig, Path(base_run.last), {})
    with pytest.raises(TrainingError, match=r"holds no state to resume from.*--weights"):
        train(config)


def test_compress_makes_a_table_and_resumes(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = dict(
        data=tiny_data,
        weights=base_run.best,
        epochs=0,
        sparse_epochs=2,
        finetune_epochs=1,
        percent=0.3,
        project=tmp_path,
        name="chain",
        export=(),  # the end has tests of its own, test_tasks_chain_ending.py
        **QUICK,
    )
    record = compress(CompressConfig(**settings))
    assert [row.stage for row in record.rows] == ["base", "sparse", "pruned", "finetuned"]
    folder = Path(record.folder)
    page = (folder / "report.html").read_text()
    assert all(f">{row.stage}<" in page for row in record.rows)
    table = (folder / "table.md").read_text()
    assert sum(line.startswith("|") for line in table.splitlines()) == 6
    assert "mAP by the rule yolov5" in table
    assert "GFLOPs @64" in table
    rows = json.loads((folder / "table.json").read_text())
    (folder / "table.json").write_text(json.dumps(rows[:3]))  # as if the last stage had not ended
    shutil.rmtree(folder / "finetuned")
    resumed = compress(CompressConfig(**settings, resume=True))
    assert resumed.folder == record.folder
    assert [row.stage for row in resumed.rows] == ["base", "sparse", "pruned", "finetuned"]
    with pytest.raises(ConfigError, match=r"--resume continues .*, which was started with --percent 0.3"):
        compress(CompressConfig(**{**settings, "percent": 0.5}, resume=True))
    with pytest.raises(ConfigError, match="there is no chain 'other'"):
        compress(CompressConfig(**{**settings, "name": "other"}, resume=True))


def test_python_api(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    detector = slimyolo.load(base_run.best)
    assert not detector.training
    image = np.full((120, 80, 3), 114, np.uint8)
    (found,) = slimyolo.predict(detector, image, imgsz=64, conf=0.001, iou=0.5)
    assert found.boxes.shape == (len(found.scores), 4)
    metrics = slimyolo.evaluate(base_run.best, tiny_data, imgsz=64)
    assert metrics.images == 4
    assert 0 <= metrics.map50_95 <= metrics.map50 <= 1
    result = slimyolo.prune(detector, target=ChannelShare(0.3), imgsz=64)
    result.save(tmp_path / "cut.pt")
    again = slimyolo.load(tmp_path / "cut.pt")
    probe = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(result.model.heads(probe), again.heads(probe), strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"imgsz": 100}, ConfigError, r"--imgsz 100 is not a multiple of 32.*Use 96"),
        ({"freeze": (30,)}, ConfigError, r"--freeze 30: the model has layers 0 to 24"),
        ({"sync_bn": True}, ConfigError, r"--sync-bn synchronises several processes"),
        ({"device": "cuda:7"}, ConfigError, r"--device cuda:7: this machine has \d+ CUDA devices"),
        ({"precision": "fp16", "device": "cpu"}, ConfigError, r"--precision fp16 needs a GPU"),
        ({"cfg": "yolov5z"}, ModelError, r"yolov5z"),
    ],
)
def test_wrong_settings_are_refused_before_a_run_folder_is_made(
    tiny_data: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    settings = {**QUICK, "data": tiny_data, "cfg": "yolov5n", "epochs": 1, "project": tmp_path / "runs", **change}
    with pytest.raises(error, match=message):
        train(TrainConfig(**settings))
    assert not (tmp_path / "runs").exists()


def test_a_dataset_of_other_classes_is_refused(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "one.yaml"
    data.write_text(f"path: {tiny_data.parent}\ntrain: images/train\nval: images/val\nnames: [face, mask, hat]\n")
    with pytest.raises(ConfigError, match=r"detects 2 classes \(face, face_mask\), but .* has 3"):
        validate(ValConfig(weights=base_run.best, data=data, imgsz=64, workers=0, project=tmp_path))
    with pytest.raises(ConfigError, match=r"detects 2 classes, .* has 3"):
        prune(PruneConfig(weights=base_run.best, data=data, imgsz=64, project=tmp_path))
    with pytest.raises(ModelError, match=r"The detector has 2 classes, .* has 3"):
        slimyolo.evaluate(base_run.best, data, imgsz=64)


def test_prune_checks_cfg_and_dry_run_writes_nothing(base_run: TrainRecord, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--cfg yolov5n6 has \d+ layers.*leave --cfg out"):
        prune(PruneConfig(weights=base_run.best, cfg="yolov5n6", project=tmp_path / "runs", imgsz=64))
    record = prune(PruneConfig(weights=base_run.best, dry_run=True, project=tmp_path / "runs", imgsz=64))
    assert record.weights == ""
    assert not (tmp_path / "runs").exists()


def _gammas(path: str) -> torch.Tensor:
    tensors = load_checkpoint(path).tensors
    return torch.cat([value for name, value in tensors.items() if name.endswith("bn.weight")])
