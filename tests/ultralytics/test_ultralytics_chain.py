"""Table of cases: for each task, sparsify, cut, fine-tune and export in the trainer of the ultralytics package."""

from __future__ import annotations

import csv
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slimyolo.pruning import MacsShare
from slimyolo.ultralytics import finetune_trainer, prune, sparse_trainer

pytestmark = [pytest.mark.ultralytics, pytest.mark.timeout(900)]

CASES = [
    ("yolov8n", "detect"),
    ("yolo11n", "detect"),
    ("yolo12n", "detect"),
    ("yolo26n", "detect"),  # two branches
    ("yolo11n-seg", "segment"),
    ("yolov8n-pose", "pose"),
    ("yolo11n-obb", "obb"),
    ("yolov8n-cls", "classify"),
]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_half_the_macs_cost_nothing(
    name: str, task: str, sets: dict[str, str], options: dict[str, Any], checks: dict[str, Any], tmp_path: Path
) -> None:
    import onnxruntime

    from ultralytics import YOLO

    data, half = sets[task], MacsShare(0.5)
    model = YOLO(f"{name}.yaml")
    epochs = 12 if name == "yolov8n" else 4  # one network learns what the pictures show; the others only begin to
    model.train(data=data, epochs=epochs, name="sparse", trainer=sparse_trainer(model, half), **options)
    assert _column(tmp_path / "runs" / "sparse" / "results.csv", "slimyolo/zero")[-1] >= 0.5
    before = _means(model.val(data=data, **checks))

    cut = prune(model, half, tmp_path / "cut.pt")
    assert cut.plan.silent(model.model)  # nothing but zeros was removed
    assert cut.report.after.macs <= 0.5 * cut.report.before.macs
    assert cut.report.exact
    assert cut.report.max_relative_difference < 1e-4  # masked ≡ cut
    after = _means(cut.model.val(data=data, **checks))
    # rounding may order two boxes of equal scores in another way, which counts in a network that hardly trained
    assert after == pytest.approx(before, abs=1e-4 if name == "yolov8n" else 2e-3)
    if name == "yolov8n":
        assert before["metrics/mAP50(B)"] > 0.05  # so the comparison says something

    theirs = {
        "torch",
        "torchvision",
        "ultralytics",
        "collections",
        "__builtin__",
        "builtins",
    }  # a classifier has transforms
    assert _modules_named_in(tmp_path / "cut.pt") <= theirs
    widths = _shapes(cut.model.model)
    cut.model.train(data=data, epochs=1, name="tuned", trainer=finetune_trainer(cut.model), **options)
    tuned = YOLO(tmp_path / "runs" / "tuned" / "weights" / "best.pt")
    assert _shapes(tuned.model) == widths
    assert all(0 <= value <= 1 for value in _means(tuned.val(data=data, **checks)).values())
    images = torch.rand(1, 3, 64, 64)
    session = onnxruntime.InferenceSession(tuned.export(format="onnx", imgsz=64), providers=["CPUExecutionProvider"])
    exported = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
    with torch.no_grad():
        expected = _first(YOLO(tmp_path / "runs" / "tuned" / "weights" / "best.pt").model.eval()(images))
    assert exported.shape == expected.shape
    assert float((exported - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def _first(outputs: Any) -> torch.Tensor:
    """The decoded rows, or the probabilities, among what a network returns."""
    return outputs if isinstance(outputs, torch.Tensor) else _first(outputs[0])


def _means(metrics: Any) -> dict[str, float]:
    """The means of average precision, or the accuracies, by the names of the package."""
    return {name: value for name, value in metrics.results_dict.items() if "mAP" in name or "accuracy" in name}


def _column(path: Path, name: str) -> list[float]:
    with path.open(newline="", encoding="utf-8") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _modules_named_in(path: Path) -> set[str]:
    """The top-level modules of all classes and functions that a pickled checkpoint imports when it is loaded."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read(next(entry for entry in archive.namelist() if entry.endswith("data.pkl")))
    named = [str(argument) for code, argument, _ in pickletools.genops(content) if code.name == "GLOBAL"]
    assert named
    return {name.split(" ")[0].split(".")[0] for name in named}
