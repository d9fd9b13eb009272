"""Table of cases: interrupted runs, accumulated gradients, frozen layers, the plain trainer, files without slimyolo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.pruning import ChannelShare, MacsShare, ParamsShare
from slimyolo.ultralytics import finetune_trainer, prune, sparse_trainer

pytestmark = [pytest.mark.ultralytics, pytest.mark.timeout(600)]

HALF = MacsShare(0.5)


class Stopped(Exception):
    """Thrown into a run, as a power cut would end it."""


def stop_after(epoch: int) -> Any:
    """A callback that ends a run when the checkpoint of `epoch` (from 1) has been written."""

    def stop(trainer: Any) -> None:
        if trainer.epoch + 1 == epoch:
            raise Stopped

    return stop


def zeros(network: nn.Module) -> dict[str, torch.Tensor]:
    """BatchNorm layer → which of its γ are exactly zero."""
    return {
        name: layer.weight.detach() == 0 for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)
    }


@pytest.fixture
def data(sets: dict[str, str]) -> str:
    return sets["detect"]


@pytest.fixture(scope="module")
def cut_file(sets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """yolov8n from scratch with two classes, cut to half the MACs without any training."""
    from ultralytics import YOLO

    folder = tmp_path_factory.mktemp("cut")
    model = YOLO("yolov8n.yaml")
    train = {"imgsz": 64, "batch": 16, "device": "cpu", "workers": 0, "plots": False, "val": False, "verbose": False}
    model.train(data=sets["detect"], epochs=1, project=str(folder / "runs"), **train)
    prune(model, HALF, folder / "cut.pt")
    return folder / "cut.pt"


def test_a_sparse_run_goes_on_where_it_stopped(data: str, options: dict[str, Any], tmp_path: Path) -> None:
    from ultralytics import YOLO

    model = YOLO("yolov8n.yaml")
    model.add_callback("on_fit_epoch_end", stop_after(2))
    with pytest.raises(Stopped):
        model.train(data=data, epochs=5, name="sparse", trainer=sparse_trainer(model, HALF), **options)
    weights = tmp_path / "runs" / "sparse" / "weights"
    gone = zeros(YOLO(weights / "last.pt").model)
    assert any(bool(mask.any()) for mask in gone.values())

    again = YOLO(weights / "last.pt")
    again.train(resume=True, trainer=sparse_trainer(again, HALF))
    kept = zeros(YOLO(weights / "best.pt").model)  # stripped and halved at the end: zeros are zeros in float16
    assert all(bool(kept[name][mask].all()) for name, mask in gone.items())
    result = prune(again, HALF, tmp_path / "cut.pt")
    assert result.plan.silent(again.model)
    assert result.report.after.macs <= 0.5 * result.report.before.macs


def test_a_fine_tuning_of_a_cut_network_goes_on(
    cut_file: Path, data: str, options: dict[str, Any], tmp_path: Path
) -> None:
    from ultralytics import YOLO

    cut = YOLO(cut_file)
    parameters = sum(one.numel() for one in cut.model.parameters())
    cut.add_callback("on_fit_epoch_end", stop_after(1))
    with pytest.raises(Stopped):
        cut.train(data=data, epochs=2, name="tuned", trainer=finetune_trainer(cut), **options)
    again = YOLO(tmp_path / "runs" / "tuned" / "weights" / "last.pt")
    again.train(resume=True, trainer=finetune_trainer(again))
    assert sum(one.numel() for one in again.model.parameters()) == parameters


def test_accumulated_gradients_and_best_epoch(data: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Steps are rarer than batches; epochs before the target do not count as best, however well they do."""
    from ultralytics import YOLO

    fitness: list[float] = []
    best: list[float] = []

    def worse_and_worse(trainer: Any) -> None:
        fitness.append(trainer.fitness)
        best.append(trainer.best_fitness)

    model = YOLO("yolov8n.yaml")
    model.add_callback("on_model_save", worse_and_worse)
    accumulating = options | {"nbs": 16, "warmup_epochs": 0}
    model.train(
        data=data, epochs=6, name="sparse", trainer=sparse_trainer(model, ChannelShare(0.3), reach=0.5), **accumulating
    )
    assert best[:3] == fitness[:3]
    gone = zeros(model.model)
    counted = sum(int(mask.sum()) for mask in gone.values()) / sum(mask.numel() for mask in gone.values())
    assert counted == pytest.approx(0.3, abs=0.03)
    assert prune(model, ChannelShare(0.3), tmp_path / "cut.pt").plan.silent(model.model)


def test_frozen_layers_stay_whole(data: str, options: dict[str, Any], tmp_path: Path) -> None:
    from ultralytics import YOLO

    model = YOLO("yolov8n.yaml")
    model.train(
        data=data, epochs=3, freeze=5, name="sparse", trainer=sparse_trainer(model, ParamsShare(0.7)), **options
    )
    gone = zeros(model.model)
    assert not any(bool(mask.any()) for name, mask in gone.items() if int(name.split(".")[1]) < 5)
    assert any(bool(mask.any()) for mask in gone.values())
    assert prune(model, ParamsShare(0.7), tmp_path / "cut.pt").plan.silent(model.model)


def test_a_run_that_is_too_short_says_so(
    data: str,
    options: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from ultralytics import YOLO

    model = YOLO("yolov8n.yaml")
    late = options | {"nbs": 64, "batch": 16}  # one batch an epoch, no step after the ramp
    model.add_callback("on_train_epoch_end", lambda trainer: setattr(trainer, "stop", True))
    model.train(data=data, epochs=4, name="sparse", trainer=sparse_trainer(model, HALF), **late)
    assert "slimyolo: WARNING: the run ended before the target" in capsys.readouterr().out
    prune(model, HALF, tmp_path / "cut.pt")
    assert "This cut removes channels that are not at zero" in caplog.text


def test_the_plain_trainer_refuses_a_cut_network(cut_file: Path, data: str, options: dict[str, Any]) -> None:
    from ultralytics import YOLO

    with pytest.raises(KeyError, match=r"This network was cut by slimyolo.*trainer=finetune_trainer\(model\)"):
        YOLO(cut_file).train(data=data, epochs=1, **options)


def test_a_cut_network_has_the_classes_that_it_has(
    cut_file: Path, sets: dict[str, str], options: dict[str, Any]
) -> None:
    from ultralytics import YOLO

    other = Path(sets["detect"]).with_name("other.yaml")
    other.write_text(
        Path(sets["detect"]).read_text(encoding="utf-8").replace("1: green", "1: green\n  2: blue"), encoding="utf-8"
    )
    cut = YOLO(cut_file)
    with pytest.raises(ConfigError, match=r"has 2 classes \(red, green\), but the dataset has 3 \(red, green, blue\)"):
        cut.train(data=str(other), epochs=1, trainer=finetune_trainer(cut), **options)
    empty = YOLO("yolov8n.yaml")
    with pytest.raises(ConfigError, match=r"made from a YAML file. Open the cut network"):
        empty.train(data=sets["detect"], epochs=1, trainer=finetune_trainer(empty), **options)


def test_a_second_round_starts_from_a_cut_network(
    cut_file: Path, data: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """With a trainer class of the user's own, whose methods are kept."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    from ultralytics import YOLO

    seen = []

    class MyTrainer(DetectionTrainer):
        def validate(self) -> Any:
            seen.append(self.epoch)
            return super().validate()

    cut = YOLO(cut_file)
    dense = sum(one.numel() for one in cut.model.parameters())
    cut.train(data=data, epochs=3, name="sparse", trainer=sparse_trainer(MyTrainer, MacsShare(0.8)), **options)
    assert seen
    again = prune(cut, MacsShare(0.8), tmp_path / "again.pt")
    assert again.plan.silent(cut.model)
    assert sum(one.numel() for one in again.model.model.parameters()) < dense


def test_the_file_needs_no_slimyolo(cut_file: Path, data: str, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['slimyolo'] = None\n"
        "from ultralytics import YOLO\n"
        f"model = YOLO({str(cut_file)!r})\n"
        f"model.val(data={data!r}, imgsz=64, device='cpu', workers=0, plots=False, project={str(tmp_path)!r})\n"
        "print('PARAMETERS', sum(one.numel() for one in model.model.parameters()))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "PARAMETERS" in run.stdout, run.stderr[-2000:]


def test_the_command_line_reads_the_file(cut_file: Path, data: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "slimyolo"]
    shown = subprocess.run([*command, "inspect", str(cut_file)], capture_output=True, text=True, check=False)
    assert "Pruned        yes" in shown.stdout, shown.stderr
    checked = subprocess.run(
        [*command, "val", "--weights", str(cut_file), "--data", data, "--imgsz", "64"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert checked.returncode == 0, checked.stderr


def test_what_is_no_yolo_is_refused(cut_file: Path, tmp_path: Path) -> None:
    from ultralytics import YOLO

    fused = YOLO(cut_file)
    fused.fuse()
    with pytest.raises(ConfigError, match=r"no BatchNorm layer: it was fused for inference"):
        prune(fused, HALF, tmp_path / "cut.pt")
    with pytest.raises(ConfigError, match=r"the name of the file must end in .pt"):
        prune(YOLO(cut_file), HALF, tmp_path / "cut.onnx")
