"""Parity with the published yolov5n.pt (fixtures d2), and a table of cases on files laid out as YOLOv5 writes them.

The imitations are made from our own detector: its modules are given YOLOv5's class names while the file is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import CheckpointError, UnsafeCheckpointError
from slimyolo.families import load_checkpoint, read_architecture, read_tensors, summarise_checkpoint
from slimyolo.families.yolov5.anchors import set_anchors_
from slimyolo.models import Architecture, Detector, build_detector

NAMES = ("face", "face_mask")
SMALL = replace(read_architecture("yolov5n"), width_multiple=0.05)  # the layers of yolov5n, narrow to be quick
HOMES = {"Detect": "models.yolo", "Model": "models.yolo", "DetectionModel": "models.yolo"}


@contextmanager
def foreign_classes() -> Iterator[Callable[[str], type[nn.Module]]]:
    """Classes with YOLOv5's dotted names, which exist only inside the block."""
    modules: dict[str, ModuleType] = {}

    def make(dotted: str) -> type[nn.Module]:
        home, _, name = dotted.rpartition(".")
        for part in (home.partition(".")[0], home):
            modules.setdefault(part, ModuleType(part))
        if not hasattr(modules[home], name):
            setattr(modules[home], name, type(name, (nn.Module,), {"__module__": home, "__qualname__": name}))
        cls: type[nn.Module] = getattr(modules[home], name)
        return cls

    class Registered:
        def __call__(self, dotted: str) -> type[nn.Module]:
            cls = make(dotted)
            sys.modules.update(modules)
            return cls

    before = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("models", "ultralytics")
    }
    try:
        yield Registered()
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def imitate(
    path: Path,
    *,
    kind: str = "models.yolo.DetectionModel",
    names: Any = NAMES,
    ema_scale: float | None = None,
    change: Callable[[nn.Module], None] = lambda model: None,
    legacy: bool = False,
    extra: dict[str, Any] | None = None,
    bare: bool = False,
) -> Detector:
    """Write a file as YOLOv5 would for a small trained detector; returns ours with the values it should give."""
    reference = build_detector(SMALL.with_classes(2), names=list(NAMES), seed=5)
    set_anchors_(reference, reference.anchors + 0.5)  # as autoanchor leaves them: not those of the YAML
    reference.half().float()

    def foreign(scale: float = 1.0) -> nn.Module:
        ours = build_detector(reference.architecture, names=list(NAMES), seed=5)
        ours.load_state_dict(reference.state_dict())
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.mul_(scale)
        model = make(kind)()
        model.model = nn.Sequential(*ours.model)
        for module in list(model.modules()):
            if type(module).__module__.startswith("slimyolo."):
                name = type(module).__name__
                module.__class__ = make(f"{HOMES.get(name, 'models.common')}.{name}")
        model.yaml = yolov5_yaml(SMALL)  # type: ignore[assignment]
        model.names = names
        model.stride = torch.tensor([8.0, 16.0, 32.0])
        model.hyp = {"lr0": 0.01}  # type: ignore[assignment]
        model.yaml_file = "yolov5n_mask.yaml"  # type: ignore[assignment]
        change(model)
        return model.half()

    with foreign_classes() as make:
        content = {
            "epoch": 3,
            "best_fitness": np.array([0.25]),
            "model": foreign(),
            "ema": None if ema_scale is None else foreign(ema_scale),
            "updates": 120,
            "optimizer": None,
            "opt": {"epochs": 3, "save_dir": Path("runs/train/exp"), "rect": False},
            "git": {"remote": "here", "branch": "master"},
            "date": "2023-01-01T00:00:00",
            **(extra or {}),
        }
        torch.save(content["model"] if bare else content, path, _use_new_zipfile_serialization=not legacy)
    return reference


def yolov5_yaml(architecture: Architecture) -> dict[str, Any]:
    rows = architecture.to_plain()["layers"]
    rows = [[row[0][0] if len(row[0]) == 1 else row[0], *row[1:]] for row in rows]
    return {
        "nc": 2,
        "depth_multiple": 0.33,
        "width_multiple": SMALL.width_multiple,
        "anchors": 3,
        "ch": 3,
        "backbone": rows[:10],
        "head": rows[10:],
    }


def assert_tensors(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor.half().float() if tensor.is_floating_point() else tensor), name


# Published file


@pytest.mark.parametrize("case", ["random320", "image320"])
def test_the_published_file_gives_the_published_numbers(yolov5n_weights: Path, shared_folder: Path, case: str) -> None:
    fixtures = shared_folder / "fixtures"
    detector = load_checkpoint(yolov5n_weights).detector()
    expected = np.load(fixtures / f"d2_{case}.npz")
    if case == "random320":
        images = torch.from_numpy(np.load(fixtures / "d2_random_input_320.npy"))
    else:
        cv2 = pytest.importorskip("cv2")
        picture = cv2.imread(str(fixtures / f"d2_{case}_letterboxed.png"))[:, :, ::-1].transpose(2, 0, 1)
        images = torch.from_numpy(picture.copy()).float()[None] / 255
    with torch.no_grad():
        heads, decoded = detector.heads(images), detector(images)
    compared = 0
    for index, head in enumerate(heads):
        if f"head{index}" in expected:
            wanted = torch.from_numpy(expected[f"head{index}"])
            assert (head - wanted).abs().max() <= 1e-4 * wanted.abs().max()
            compared += 1
    wanted = torch.from_numpy(expected["decoded"])
    assert (decoded - wanted).abs().max() <= 2e-3  # pixels; the source's own fused against unfused differ as much
    torch.testing.assert_close(decoded[..., 4:], wanted[..., 4:], atol=1e-5, rtol=1e-4)
    assert compared == (3 if case == "random320" else 0)


def test_the_published_file_is_described(yolov5n_weights: Path) -> None:
    summary = summarise_checkpoint(yolov5n_weights)
    assert (summary.origin, summary.architecture, summary.nc, summary.params) == (
        "ultralytics",
        "yolov5n",
        80,
        1_872_157,
    )
    assert (summary.names[0], summary.names[-1], summary.strides_px) == ("person", "toothbrush", (8, 16, 32))
    assert summary.anchors_px[2][2] == (373, 326)
    assert (summary.pruned, summary.has_ema, summary.resumable, summary.epoch) == (False, False, False, None)
    assert summary.provenance["date"].startswith("2022-02-08")
    assert summary.provenance["hyp"]["lr0"] == 0.01


def test_the_published_file_becomes_one_of_ours(yolov5n_weights: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(yolov5n_weights)
    save_checkpoint(tmp_path / "a.pt", checkpoint.detector(), provenance=checkpoint.provenance)
    again = load_checkpoint(tmp_path / "a.pt")
    assert again.names == checkpoint.names
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())
    assert again.provenance["class"] == "models.yolo.Model"


# Files laid out as YOLOv5 writes them


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models.yolo.Model", list(NAMES)),  # v6.x
        ("models.yolo.DetectionModel", dict(enumerate(NAMES))),  # v7.0
        ("models.yolo.DetectionModel", {1: "face_mask", 0: "face"}),  # order of the mapping does not count
    ],
)
def test_trained_files_of_both_versions_are_read(tmp_path: Path, kind: str, names: Any, legacy: bool) -> None:
    expected = imitate(tmp_path / "best.pt", kind=kind, names=names, legacy=legacy)
    checkpoint = load_checkpoint(tmp_path / "best.pt")
    assert_tensors(checkpoint.tensors, expected.state_dict())
    assert checkpoint.names == NAMES
    assert checkpoint.architecture.name == "yolov5n_mask"
    assert checkpoint.widths is None
    detector = checkpoint.detector()
    torch.testing.assert_close(detector.anchors, expected.anchors, rtol=1e-3, atol=0)
    torch.testing.assert_close(torch.tensor(checkpoint.architecture.anchors), detector.anchors)
    about = checkpoint.provenance
    assert (about["epoch"], about["best_fitness"], about["class"]) == (3, 0.25, kind)
    assert about["opt"] == {"epochs": 3, "save_dir": "runs/train/exp", "rect": False}
    assert not [name for name in sys.modules if name.partition(".")[0] == "models"]


def test_an_unstripped_file_gives_both_copies(tmp_path: Path) -> None:
    expected = imitate(tmp_path / "last.pt", ema_scale=0.5)
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    assert_tensors(checkpoint.tensors, expected.state_dict())
    assert checkpoint.ema is not None
    weight = checkpoint.ema["model.0.conv.weight"]
    assert torch.equal(weight, (expected.state_dict()["model.0.conv.weight"] * 0.5).half().float())
    assert torch.equal(checkpoint.detector().model[0].conv.weight, weight)
    assert torch.equal(read_tensors(tmp_path / "last.pt")["model.0.conv.weight"], weight)


def test_a_model_saved_without_a_dict_is_read(tmp_path: Path) -> None:
    imitate(tmp_path / "a.pt", bare=True)
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert checkpoint.names == NAMES
    assert checkpoint.provenance.keys() == {"program", "class", "hyp"}


def replaced_activation(model: nn.Module) -> None:
    model.model[0].act = nn.ReLU()  # type: ignore[index, union-attr]


def dilated(model: nn.Module) -> None:
    model.model[1].conv.dilation = (2, 2)  # type: ignore[index, union-attr]


def other_eps(model: nn.Module) -> None:
    model.model[1].bn.eps = 1e-5  # type: ignore[index, union-attr]


def no_yaml(model: nn.Module) -> None:
    model.yaml = None  # type: ignore[assignment]


def yaml_activation(model: nn.Module) -> None:
    model.yaml["activation"] = "nn.ReLU()"  # type: ignore[index]


def yaml_unknown_activation(model: nn.Module) -> None:
    model.yaml["activation"] = "nn.Mosh()"  # type: ignore[index]


def with_leaky_relu(model: nn.Module) -> None:
    """As YOLOv5 7.0 makes it of ``activation: nn.LeakyReLU(0.1)``: one module, shared by all convolutions."""
    model.yaml["activation"] = "nn.LeakyReLU(0.1)"  # type: ignore[index]
    shared = nn.LeakyReLU(0.1)
    for module in model.modules():
        if hasattr(module, "act"):
            module.act = shared


def other_slope(model: nn.Module) -> None:
    with_leaky_relu(model)
    model.model[1].act = nn.LeakyReLU(0.2)  # type: ignore[index, union-attr]


def yaml_evaluated(model: nn.Module) -> None:
    model.yaml["depth_multiple"] = "__import__('os').system('touch OWNED')"  # type: ignore[index]


def yaml_unknown_module(model: nn.Module) -> None:
    model.yaml["backbone"][0][2] = "os.system"  # type: ignore[index]


def no_anchors(model: nn.Module) -> None:
    del model.model[24].anchors  # type: ignore[index, union-attr]


def other_widths(model: nn.Module) -> None:
    model.model[0].conv.weight = nn.Parameter(torch.zeros(9, 3, 6, 6))  # type: ignore[index, union-attr]


def folded(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "bn"):
            module.conv.bias = nn.Parameter(torch.zeros(module.conv.out_channels))  # type: ignore[union-attr]
            del module.bn


def test_an_activation_that_the_file_names_is_read(tmp_path: Path) -> None:
    reference = imitate(tmp_path / "leaky.pt", change=with_leaky_relu)
    assert reference.set_activation_("nn.LeakyReLU(0.1)") > 50
    detector = load_checkpoint(tmp_path / "leaky.pt").detector().eval()
    assert detector.architecture.activation == "LeakyReLU(0.1)"
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(detector(images), reference.eval()(images))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "models.yolo.SegmentationModel"}, "holds a models.yolo.SegmentationModel, not a detector"),
        ({"kind": "models.yolo.ClassificationModel"}, "not a detector"),
        ({"kind": "models.experimental.Ensemble"}, "not a detector"),
        (
            {"kind": "ultralytics.nn.tasks.DetectionModel", "extra": {"version": "8.0.20"}},
            r"ultralytics package 8\.0\.20 .*DetectionModel\) in a form that slimyolo does not know.*Supported are detection",
        ),
        (
            {"kind": "ultralytics.nn.tasks.OBBModel", "extra": {"version": "8.2.63"}},
            r"8\.2\.63 .*OBBModel\), a model for oriented boxes \(obb\).*slimyolo\.pruning\.prune_module",
        ),
        ({"change": replaced_activation}, r"activation ReLU at model\.0\.act, expected SiLU, as its `yaml` says"),
        ({"change": dilated}, r"dilation \(2, 2\) at model\.1\.conv, expected \(1, 1\)"),
        ({"change": other_eps}, r"eps 1e-05 at model\.1\.bn, expected 0\.001"),
        ({"change": no_yaml}, "does not say its architecture"),
        ({"change": yaml_activation}, r"activation SiLU at model\.0\.act, expected ReLU, as its `yaml` says"),
        (
            {"change": yaml_unknown_activation},
            r"a detector that slimyolo does not know: .*should be one of SiLU, .*got 'nn\.Mosh",
        ),
        ({"change": other_slope}, r"activation LeakyReLU at model\.1\.act, expected LeakyReLU, .*, with slope 0\.1"),
        ({"change": yaml_evaluated}, "describes a detector that slimyolo does not know: .*depth_multiple"),
        ({"change": yaml_unknown_module}, "does not describe a detector: .*unknown module 'os.system'"),
        ({"change": no_anchors}, "has no anchors"),
        ({"change": other_widths}, r"model\.0\.conv\.weight is \[9, 3, 6, 6\], expected \[8, 3, 6, 6\]"),
        ({"change": folded}, "it was fused"),
        ({"names": ["one"]}, "2 classes, but its names are not a list of 2"),
        ({"names": {0: "a", 2: "b"}}, "names are not a list of 2"),
    ],
)
def test_models_that_would_compute_something_else_are_refused(
    tmp_path: Path, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    imitate(tmp_path / "other.pt", **options)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(tmp_path / "other.pt")
    assert "other.pt" in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.pt"]


def test_a_model_with_a_call_hidden_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (eval, ("open('OWNED', 'w')",))

    def hide(model: nn.Module) -> None:
        model.model[3].hook = Evil()  # type: ignore[index, union-attr]

    monkeypatch.chdir(tmp_path)
    imitate(tmp_path / "evil.pt", change=hide)
    with pytest.raises(UnsafeCheckpointError, match=r"`(builtins|__builtin__)\.eval`.*Nothing in it was run"):
        load_checkpoint(tmp_path / "evil.pt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pt"]


def test_a_giant_plan_is_not_built(tmp_path: Path) -> None:
    def giant(model: nn.Module) -> None:
        model.yaml["width_multiple"] = 90.0  # type: ignore[index]

    imitate(tmp_path / "giant.pt", change=giant)
    with pytest.raises(CheckpointError, match="far larger than it can be"):
        load_checkpoint(tmp_path / "giant.pt")


def test_one_storage_claimed_by_many_tensors_does_not_multiply(tmp_path: Path) -> None:
    def shared(model: nn.Module) -> None:
        storage = torch.zeros(100_000, dtype=torch.int64)  # integers stay shared when the model becomes float16
        for index in range(200):
            model.register_buffer(f"extra{index}", storage)

    imitate(tmp_path / "shared.pt", change=shared)
    with pytest.raises(CheckpointError, match="more elements than bytes"):
        load_checkpoint(tmp_path / "shared.pt")


def test_long_metadata_is_left_out(tmp_path: Path) -> None:
    text = "x" * 300_000
    imitate(tmp_path / "a.pt", extra={"opt": {f"key{index}": text for index in range(50)}})
    opt = load_checkpoint(tmp_path / "a.pt").provenance["opt"]
    assert sum(len(value) for value in opt.values()) < 1_010_000
    assert opt["key49"] == "(left out: too long)"
