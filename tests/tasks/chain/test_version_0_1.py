"""Golden: what slimyolo 0.1.0 wrote (a small chain on rendered images) is read and gives the numbers that 0.1.0 gave.

``tests/data/v0_1`` holds: ``sparse.pt`` and ``pruned.pt``, checkpoints (the second with three quarters of its channels
removed); ``exp``, the run folder of ``slimyolo compress recipe.yaml`` without weights and pictures; ``expected.json``, outputs
that version 0.1.0 computed for two random images.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.options import read_config_file
from slimyolo.families import FAMILIES, load_checkpoint, read_architecture, summarise_checkpoint
from slimyolo.models import Detector, build_detector
from slimyolo.pruning import replay_plan
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.prune.plan import read_plan
from slimyolo.tasks.report import report
from slimyolo.tasks.report_config import ReportConfig
from slimyolo.tasks.train.config import SparsifyConfig, TrainConfig
from slimyolo.tasks.train.hyperparameters import read_hyperparameters
from slimyolo.tasks.train.resume import resumed_config

OLD = Path(__file__).parents[2] / "data" / "v0_1"
EXPECTED: Mapping[str, Any] = json.loads((OLD / "expected.json").read_text())


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder in which the packed files are unpacked."""
    folder = tmp_path_factory.mktemp("version") / "v0_1"
    shutil.copytree(OLD, folder)
    for packed in folder.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def check(detector: Detector, expected: Mapping[str, Any], images: Tensor) -> None:
    """Compare names, anchors, size and outputs with those that version 0.1.0 recorded."""
    assert list(detector.names) == expected["names"]
    assert detector.anchors.tolist() == expected["anchors"]
    assert sum(parameter.numel() for parameter in detector.parameters()) == expected["parameters"]
    with torch.no_grad():
        rows, heads = detector(images), detector.heads(images)
    assert list(rows.shape) == expected["shape"]
    assert rows.double().sum().item() == pytest.approx(expected["sum"], rel=1e-6)
    for index, row in expected["rows"].items():
        assert rows[0, int(index)].tolist() == pytest.approx(row, rel=1e-4, abs=1e-5)
    assert [head.double().abs().sum().item() for head in heads] == pytest.approx(expected["head_sums"], rel=1e-6)


@pytest.mark.parametrize(("name", "narrowed"), [("sparse", False), ("pruned", True)])
def test_checkpoints_give_the_same_outputs(name: str, narrowed: bool, unpacked: Path, images: Tensor) -> None:
    checkpoint = load_checkpoint(unpacked / f"{name}.pt")
    assert checkpoint.architecture.family is FAMILIES["yolov5"]  # the file names no family
    assert (checkpoint.widths is not None) == narrowed
    assert checkpoint.provenance["slimyolo"] == "0.1.0"
    assert torch.equal(checkpoint.anchors, torch.tensor(EXPECTED[name]["anchors"]))
    check(checkpoint.detector(), EXPECTED[name], images)
    summary = summarise_checkpoint(unpacked / f"{name}.pt")
    assert (summary.params, summary.pruned) == (EXPECTED[name]["parameters"], narrowed)


@pytest.mark.parametrize("name", ["sparse", "pruned"])
def test_what_is_saved_anew_has_the_form_that_0_1_reads(name: str, unpacked: Path, tmp_path: Path) -> None:
    before = torch.load(unpacked / f"{name}.pt", weights_only=True)
    save_checkpoint(tmp_path / "again.pt", load_checkpoint(unpacked / f"{name}.pt").detector())
    after = torch.load(tmp_path / "again.pt", weights_only=True)
    assert list(after) == list(before)
    same = ("format", "version", "architecture", "widths", "names")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert torch.equal(after["anchors"], before["anchors"])
    assert list(after["tensors"]) == list(before["tensors"])


def test_the_plan_is_replayed_to_the_same_cut(unpacked: Path, images: Tensor) -> None:
    plan = read_plan(unpacked / "exp" / "pruned")
    sparse = load_checkpoint(unpacked / "sparse.pt").detector()
    result = replay_plan(sparse, plan, torch.zeros(1, 3, 64, 64), forward=Detector.heads)
    check(result.model, EXPECTED["pruned by plan"], images)
    record = json.loads((unpacked / "exp" / "pruned" / "record.json").read_text())
    assert result.report.after.params == record["after"]["params"] == EXPECTED["pruned by plan"]["parameters"]


def test_the_run_folder_is_reported(unpacked: Path, tmp_path: Path) -> None:
    record = report(ReportConfig(runs=(unpacked / "exp",), output=tmp_path / "report.html"))
    page = Path(record.page).read_text(encoding="utf-8")
    table = json.loads((unpacked / "exp" / "table.json").read_text())
    for row in table:
        assert row["stage"] in page
        assert f"{row['params']:,}" in page or f"{row['params'] / 1e6:.2f}" in page


def test_the_recipe_is_read(unpacked: Path) -> None:
    stored = json.loads((unpacked / "exp" / "chain.json").read_text())["settings"]
    config = CompressConfig(**read_config_file(str(unpacked / "recipe.yaml"), CompressConfig))
    now = {**json.loads(json.dumps(config.to_plain())), "name": "exp"}
    assert stored.pop("resume") is False  # a switch then; now a folder may follow, and None means that none was given
    assert now["resume"] is None
    assert {key: now[key] for key in stored if key in now} == stored  # no setting was lost or reads otherwise


@pytest.mark.parametrize(("stage", "kind"), [("base", TrainConfig), ("sparse", SparsifyConfig)])
def test_a_run_can_be_resumed_with_its_settings(stage: str, kind: type[TrainConfig], unpacked: Path) -> None:
    last = unpacked / "exp" / stage / "weights" / "last.pt"
    config = resumed_config(kind, last, {})
    assert (config.epochs, config.imgsz, config.batch_size, config.optimizer) == (2, 64, 4, "AdamW")
    values = read_hyperparameters(unpacked / "exp" / stage / "hyp.yaml")
    assert (values.lr0, values.momentum, values.mosaic) == (0.002, 0.9, 0.5)


def test_the_architecture_is_read(unpacked: Path) -> None:
    architecture = read_architecture(unpacked / "tiny.yaml")
    assert architecture.layers == load_checkpoint(unpacked / "sparse.pt").architecture.layers
    detector = build_detector(architecture, seed=0)
    assert sum(parameter.numel() for parameter in detector.parameters()) == EXPECTED["sparse"]["parameters"]
