"""Parity with files that ultralytics wrote (fixture d15 and published ones), and a table of cases on imitated files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imitating import imitate
from rule_filled import image_by_rule
from torch import Tensor, nn

from slimyolo.errors import CheckpointError
from slimyolo.families import load_checkpoint, read_architecture, summarise_checkpoint
from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Detector, TwoBranches, build_detector
from slimyolo.pruning import MacsShare, prune_module

TINY = ("tiny8_stripped", "tiny8_training", "tiny11_stripped", "tiny26_stripped", "tiny26_training")


def small(name: str, nc: int = 2) -> Detector:
    """The layers of a built-in network, narrow to be quick, with float16 values and used batch norms."""
    architecture = read_architecture(name)
    width = 0.25 if name.startswith(("yolo12", "yolov9")) else 0.125  # area attention needs 32 channels
    detector = build_detector(
        replace(architecture, width_multiple=width).with_classes(nc), names=["a", "b"][:nc], seed=3
    )
    with torch.no_grad():
        detector.train().heads(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return detector.half().float().eval()


def rows_of(detector: Detector) -> Tensor:
    with torch.no_grad():
        rows: Tensor = detector(torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(1)))
    return rows


# --- files of the package itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_d15_files_give_the_numbers(name: str, shared_folder: Path) -> None:
    folder = shared_folder / "fixtures" / "d15_checkpoints"
    expected = np.load(folder / "expected.npz")
    detector = load_checkpoint(folder / f"{name}.pt").detector()
    with torch.no_grad():
        raw = detector.heads(image_by_rule(1, (1, 3, 64, 96)))
    branches = raw._asdict() if isinstance(raw, TwoBranches) else {"one2many": raw}
    for branch, levels in branches.items():
        flat = torch.cat([level.flatten(2) for level in levels], 2)
        sides = 4 * head_of(detector).reg_max
        for kind, part in (("boxes", flat[:, :sides]), ("scores", flat[:, sides:])):
            compare(part, expected[f"{name}/{branch}/{kind}"])
    compare(detector.decode(branches["one2many"]).transpose(1, 2), expected[f"{name}/decoded"])


def compare(got: Tensor, expected: Any) -> None:
    assert float((got - torch.from_numpy(expected)).abs().max()) < 1e-4 * np.abs(expected).max()


def test_d15_files_are_described(shared_folder: Path) -> None:
    folder = shared_folder / "fixtures" / "d15_checkpoints"
    facts = json.loads((folder / "expected.json").read_text())["files"]
    for name in TINY:
        summary = summarise_checkpoint(folder / f"{name}.pt")
        assert summary.names == ("blue", "red")
        assert summary.strides_px == (8, 16, 32)
        assert summary.params + summary.training_params == facts[f"{name}.pt"]["params"]
        assert (summary.training_params > 0, summary.pruned) == (name.startswith("tiny26"), False)
        assert summary.provenance["version"] == "8.4.190"
        assert summary.epoch == (1 if name.endswith("training") else None)
        assert summary.provenance["train_args"]["imgsz"] == 96


def test_a_published_file_without_activation_in_its_pooling_block(shared_folder: Path) -> None:
    """Fine-tuned by 8.4.7, whose SPPF has no activation behind its first convolution: assuming SiLU is 42 px wrong."""
    folder = shared_folder / "weights"
    expected, facts = np.load(folder / "expected.npz"), json.loads((folder / "expected.json").read_text())
    checkpoint = load_checkpoint(folder / "smartrail_yolov8n_nc6.pt")
    detector = checkpoint.detector()
    assert list(checkpoint.names) == list(facts["smartrail_yolov8n_nc6.pt"]["names"].values())
    assert sum(item.numel() for item in detector.parameters()) == facts["smartrail_yolov8n_nc6.pt"]["params"]
    assert (detector.architecture.name, detector.family.name) == ("yolov8n", "yolov8")
    assert isinstance(detector.model[9].cv1.act, nn.Identity)  # type: ignore[union-attr]
    for name, about in facts["inputs"].items():
        with torch.no_grad():
            raw = detector.heads(image_by_rule(about["seed"], tuple(about["shape"])))
        flat = torch.cat([level.flatten(2) for level in raw], 2)
        step = 7 if name == "mid" else 1
        compare(flat[:, :64, ::step], expected[f"smartrail_yolov8n_nc6/{name}/boxes"])
        compare(flat[:, 64:], expected[f"smartrail_yolov8n_nc6/{name}/scores"])
        compare(detector.decode(raw).transpose(1, 2), expected[f"smartrail_yolov8n_nc6/{name}/decoded"])


def test_a_published_file_for_oriented_boxes_is_refused_by_name(shared_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"8\.2\.63 .*a model for oriented boxes \(obb\).*prune_module"):
        load_checkpoint(shared_folder / "weights" / "tau_fibrils_yolov8n_obb.pt")


# --- imitated files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("yolov8n", "yolo11n", "yolo12n", "yolo26n", "yolov10n"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("yolov8n-p6", "yolov5nu", "yolo11m", "yolo12l", "yolov9t", "yolov10s")
        ),
    ],
)
def test_files_of_every_family_are_read(tmp_path: Path, name: str) -> None:
    detector = small(name)
    task = (
        "ultralytics.nn.tasks.YOLOv10DetectionModel"
        if name.startswith("yolov10")
        else "ultralytics.nn.tasks.DetectionModel"
    )
    imitate(tmp_path / "a.pt", detector, task=task)
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert checkpoint.architecture.family == detector.family
    assert (checkpoint.widths, checkpoint.names, checkpoint.origin) == (None, ("a", "b"), "ultralytics")
    assert torch.equal(rows_of(checkpoint.detector()), rows_of(detector))


@pytest.mark.parametrize("name", ["yolov8n", pytest.param("yolo11n", marks=pytest.mark.slow)])
def test_files_pruned_elsewhere_are_read(tmp_path: Path, name: str) -> None:
    """Widths other than those of the rows are read from the tensors; the parts of a C2f may differ."""
    detector = small(name)
    cut = prune_module(detector, torch.zeros(1, 3, 64, 64), MacsShare(0.5)).model.half().float()
    imitate(tmp_path / "cut.pt", cut)
    checkpoint = load_checkpoint(tmp_path / "cut.pt")
    assert checkpoint.widths is not None
    assert torch.equal(rows_of(checkpoint.detector()), rows_of(cut))
    assert summarise_checkpoint(tmp_path / "cut.pt").pruned


@pytest.mark.parametrize(
    "options",
    [
        {"training": True},
        {"flat_names": True},  # the class names of 8.0.60
        {"yaml": {"scales": None, "scale": None, "depth_multiple": 0.33, "width_multiple": 0.125}},
        {"yaml": {"yaml_file": None}},
        {"yaml": {"nc": 80}},  # the number of classes of the YAML, not of the dataset
        {"yaml": {"end2end": False, "reg_max": 16}},
    ],
)
def test_other_forms_of_the_same_file(tmp_path: Path, options: dict[str, Any]) -> None:
    detector = small("yolov8n")
    imitate(tmp_path / "a.pt", detector, **options)
    read = load_checkpoint(tmp_path / "a.pt").detector()
    assert torch.equal(rows_of(read), rows_of(detector))


def no_activation_in_pooling(model: nn.Module) -> None:
    model.model[9].cv1.act = nn.Identity()  # type: ignore[index, union-attr]


def test_activations_are_read_module_by_module(tmp_path: Path) -> None:
    detector = small("yolov8n")
    imitate(tmp_path / "a.pt", detector, change=no_activation_in_pooling)
    no_activation_in_pooling(detector)
    read = load_checkpoint(tmp_path / "a.pt").detector()
    assert read.architecture.layers[9].args == (1024, 5, 3, False)
    assert torch.equal(rows_of(read), rows_of(detector))


def at(path: str, **attributes: Any) -> Callable[[nn.Module], None]:
    """Sets attributes of the module at `path` below the numbered layers."""

    def change(model: nn.Module) -> None:
        vars(model.get_submodule(f"model.{path}")).update(attributes)

    return change


def replaced(path: str, module: nn.Module) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        parent, _, name = f"model.{path}".rpartition(".")
        setattr(model.get_submodule(parent), name, module)

    return change


def authors_dialect(model: nn.Module) -> None:
    attention = model.get_submodule("model.6.m.0.0.attn")
    attention.qk = attention.qkv
    del attention.qkv


def fused(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
            module.bn = nn.Identity()


def without_yaml(model: nn.Module) -> None:
    model.yaml = "yolov8n.yaml"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("yolov8n", {"task": "ultralytics.nn.tasks.SegmentationModel"}, r"instance masks \(segment\)"),
        ("yolov8n", {"task": "ultralytics.nn.tasks.PoseModel"}, r"keypoints \(pose\)"),
        ("yolov8n", {"task": "ultralytics.nn.tasks.ClassificationModel"}, r"whole pictures \(classify\)"),
        ("yolov8n", {"change": without_yaml}, r"in a form that slimyolo does not know"),
        ("yolov8n", {"change": fused}, r"no batch norms: .*\(it was fused\)\. Give the checkpoint from before fusing"),
        ("yolo12n", {"change": authors_dialect}, r"YOLOv12 of its authors' own program"),
        (
            "yolov8n",
            {"change": at("2.m.0", add=False)},
            r"add False in its Bottleneck at model\.2\.m\.0, expected True",
        ),
        ("yolov8n", {"change": at("9", n=2)}, r"n 2 in its SPPF at model\.9, expected 3"),
        ("yolov8n", {"change": at("4", f=2)}, r"layer 4 reads 2, but its row says -1"),
        ("yolov8n", {"change": at("10", mode="bilinear")}, r"mode 'bilinear' in its Upsample at model\.10"),
        ("yolo11n", {"change": at("10.m.0.attn", num_heads=2)}, r"num_heads 2 in its Attention at model\.10"),
        ("yolo11n", {"change": at("10.m.0.attn", scale=0.5)}, r"scale 0\.5 in its Attention at model\.10"),
        (
            "yolo12n",
            {"change": at("6.m.0.0.attn", area=2)},
            r"area 2 in its AAttn at model\.6\.m\.0\.0\.attn, expected 4",
        ),
        ("yolov8n", {"change": replaced("4.cv1.act", nn.ReLU())}, r"has a ReLU at model\.4\.cv1\.act, expected a SiLU"),
        (
            "yolov8n",
            {"change": replaced("4.extra", nn.ReLU())},
            r"has a ReLU at model\.4\.extra, where nothing is expected",
        ),
        (
            "yolov8n",
            {"change": at("4.cv1.conv", padding=(1, 1))},
            r"padding \(1, 1\) at model\.4\.cv1\.conv, expected \(0, 0\)",
        ),
        ("yolov8n", {"change": at("4.cv1.bn", eps=1e-5)}, r"eps 1e-05 at model\.4\.cv1\.bn, expected 0\.001"),
        ("yolov8n", {"yaml": {"nc": 0}}, r"its `yaml` has 0 classes"),
        ("yolov8n", {"yaml": {"head": []}}, r"in a form that slimyolo does not know"),
        (
            "yolov8n",
            {"change": lambda model: setattr(model, "stride", torch.ones(3))},
            r"strides \[1\.0, 1\.0, 1\.0\], expected",
        ),
        (
            "yolov8n",
            {"change": lambda model: setattr(model, "names", {0: "a"})},
            r"2 classes, but its names are not a list of 2",
        ),
    ],
)
def test_what_would_compute_something_else_is_refused(
    tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    imitate(tmp_path / "a.pt", small(name), **options)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path / "a.pt")


def test_widths_that_do_not_fit_one_another_are_refused(tmp_path: Path) -> None:
    def wider(model: nn.Module) -> None:
        conv = model.get_submodule("model.3.conv")
        conv.weight = nn.Parameter(torch.zeros(conv.weight.shape[0] + 1, *conv.weight.shape[1:]))  # type: ignore[union-attr, index]

    imitate(tmp_path / "a.pt", small("yolov8n"), change=wider)
    with pytest.raises(CheckpointError, match=r"its layers do not fit one another"):
        load_checkpoint(tmp_path / "a.pt")
