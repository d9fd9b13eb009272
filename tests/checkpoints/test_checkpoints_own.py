"""Round trips and a table of cases: our own checkpoint format."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import CheckpointError, StorageError
from slimyolo.families import load_checkpoint, parse_architecture, read_architecture, read_tensors, summarise_checkpoint
from slimyolo.families.yolov5.anchors import set_anchors_
from slimyolo.models import Detector, LayerWidth, build_detector, widths_of
from slimyolo.storage import to_plain

SMALL = """
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors: [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119]]
backbone:
  - [-1, 1, Conv, [32, 6, 2, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 3, C3, [64]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
head:
  - [[3, 4], 1, Detect, [nc, anchors]]
"""


@pytest.fixture
def detector() -> Detector:
    made = build_detector(parse_architecture(SMALL, "small"), names=["face", "face_mask"], seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, tensor in made.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return made.eval()


def pruned(detector: Detector) -> Detector:
    """The same architecture with the first convolution cut to five channels and a bias added, as folding does."""
    widths = dict(widths_of(detector))
    widths["model.0.conv"] = replace(widths["model.0.conv"], outputs=5, bias=True)
    widths["model.0.bn"] = LayerWidth(5, 5, 1, True)
    widths["model.1.conv"] = replace(widths["model.1.conv"], inputs=5)
    return build_detector(detector.architecture, names=detector.names, widths=widths, seed=3).eval()


def outputs(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return found


def assert_same(first: nn.Module, second: nn.Module) -> None:
    a, b = first.state_dict(), second.state_dict()
    assert list(a) == list(b)
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_detector_survives_the_file_bit_for_bit(tmp_path: Path, detector: Detector) -> None:
    save_checkpoint(tmp_path / "weights" / "best.pt", detector, provenance={"data": Path("data/mask.yaml")})
    checkpoint = load_checkpoint(tmp_path / "weights" / "best.pt")
    again = checkpoint.detector()
    assert_same(again, detector)
    assert torch.equal(outputs(again), outputs(detector))
    assert not again.training
    assert checkpoint.origin == "slimyolo"
    assert checkpoint.widths is None
    assert again.names == ("face", "face_mask")
    assert checkpoint.architecture == detector.architecture
    assert torch.equal(checkpoint.anchors, detector.anchors)
    assert checkpoint.provenance["data"] == "data/mask.yaml"
    assert {"slimyolo", "torch", "saved"} <= set(checkpoint.provenance)


def test_a_pruned_detector_survives_and_can_be_saved_again(tmp_path: Path, detector: Detector) -> None:
    cut = pruned(detector)
    save_checkpoint(tmp_path / "a.pt", cut)
    first = load_checkpoint(tmp_path / "a.pt")
    assert first.widths is not None
    assert first.widths == widths_of(cut)
    assert torch.equal(outputs(first.detector()), outputs(cut))
    save_checkpoint(tmp_path / "b.pt", first.detector())
    assert_same(load_checkpoint(tmp_path / "b.pt").detector(), cut)


def test_new_anchors_are_never_lost(tmp_path: Path, detector: Detector) -> None:
    pixels = detector.anchors * 1.37 + 0.123
    set_anchors_(detector, pixels)
    save_checkpoint(tmp_path / "a.pt", detector)
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    torch.testing.assert_close(checkpoint.anchors, pixels)
    torch.testing.assert_close(checkpoint.detector().anchors, pixels)
    torch.testing.assert_close(torch.tensor(checkpoint.architecture.anchors), pixels)


def test_the_file_is_plain_data_for_torch_too(tmp_path: Path, detector: Detector) -> None:
    training = {"epoch": 3, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}}
    save_checkpoint(tmp_path / "a.pt", pruned(detector), training=training)
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert (content["format"], content["version"]) == ("slimyolo.checkpoint", 1)
    assert content["training"]["epoch"] == 3
    json.dumps(content["architecture"])


def test_the_average_is_preferred_and_both_are_kept(tmp_path: Path, detector: Detector) -> None:
    ema = copy.deepcopy(detector)
    with torch.no_grad():
        for parameter in ema.parameters():
            parameter.mul_(0.5)
    save_checkpoint(tmp_path / "a.pt", detector, ema=ema)
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert_same(checkpoint.detector(), ema)
    assert_same(checkpoint.detector(prefer_ema=False), detector)


def test_half_precision_is_stored_as_float32(tmp_path: Path, detector: Detector) -> None:
    save_checkpoint(tmp_path / "a.pt", copy.deepcopy(detector).half())
    tensors = load_checkpoint(tmp_path / "a.pt").tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32, torch.int64}
    assert torch.equal(tensors["model.0.conv.weight"], detector.state_dict()["model.0.conv.weight"].half().float())


def test_channels_last_and_shared_storages_do_not_change_or_swell_the_file(tmp_path: Path, detector: Detector) -> None:
    save_checkpoint(tmp_path / "a.pt", detector)
    other = copy.deepcopy(detector).to(memory_format=torch.channels_last)
    flat = torch.zeros(1_000_000)
    bias = other.model[0].bn.bias
    flat[:8] = bias.detach()
    bias.data = flat[:8]
    save_checkpoint(tmp_path / "b.pt", other)
    assert_same(load_checkpoint(tmp_path / "b.pt").detector(), detector)
    assert abs((tmp_path / "a.pt").stat().st_size - (tmp_path / "b.pt").stat().st_size) < 10_000


def test_training_state_comes_back_exactly(tmp_path: Path, detector: Detector) -> None:
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    detector.train()
    sum(head.sum() for head in detector.heads(torch.rand(2, 3, 64, 64))).backward()  # type: ignore[union-attr]
    optimizer.step()
    training = {
        "epoch": 7,
        "best_fitness": np.float64(0.25),
        "optimizer": optimizer.state_dict(),
        "torch_generator": torch.get_rng_state(),
        "python_generator": random.Random(3).getstate(),
        "numpy": np.arange(3),
        "none": None,
        "odd float": [float("inf"), 1e-300],
        "strided": torch.arange(6.0).reshape(2, 3).t(),
    }
    save_checkpoint(tmp_path / "last.pt", detector, training=training)
    got = load_checkpoint(tmp_path / "last.pt").training
    assert got is not None
    assert (got["epoch"], got["best_fitness"], got["none"], got["odd float"]) == (7, 0.25, None, [float("inf"), 1e-300])
    assert torch.equal(got["torch_generator"], torch.get_rng_state())
    random.Random().setstate(got["python_generator"])
    assert torch.equal(got["numpy"], torch.arange(3))
    assert got["strided"].stride() == (1, 3)
    again = torch.optim.SGD(detector.parameters(), lr=1.0)
    again.load_state_dict(got["optimizer"])
    for index, state in optimizer.state_dict()["state"].items():
        assert torch.equal(state["momentum_buffer"], got["optimizer"]["state"][index]["momentum_buffer"])


def test_building_from_a_file_leaves_the_random_state_alone(tmp_path: Path, detector: Detector) -> None:
    save_checkpoint(tmp_path / "a.pt", detector)
    before = torch.get_rng_state()
    load_checkpoint(tmp_path / "a.pt").detector()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_summary_says_what_it_is(tmp_path: Path, detector: Detector) -> None:
    cut = pruned(detector)
    save_checkpoint(
        tmp_path / "a.pt",
        cut,
        ema=cut,
        training={"epoch": 4},
        provenance={"metrics": {"map50": 0.5}, "mask": torch.ones(2)},
    )
    summary = summarise_checkpoint(tmp_path / "a.pt")
    assert (summary.origin, summary.architecture, summary.nc, summary.names) == ("slimyolo", "small", 2, detector.names)
    assert summary.params == sum(parameter.numel() for parameter in cut.parameters())
    assert (summary.pruned, summary.pruned_layers) == (True, 3)
    assert summary.batchnorm_channels_dense - summary.batchnorm_channels == 3
    assert summary.strides_px == (8, 16)
    assert summary.anchors_px[0][0] == (10, 13)
    assert (summary.has_ema, summary.resumable, summary.epoch, summary.metrics) == (True, True, 4, {"map50": 0.5})
    assert summary.file_size_bytes == (tmp_path / "a.pt").stat().st_size
    json.dumps(to_plain(summary))
    dense = tmp_path / "b.pt"
    save_checkpoint(dense, detector)
    plain = summarise_checkpoint(dense)
    assert (plain.pruned, plain.pruned_layers, plain.has_ema, plain.resumable, plain.epoch) == (
        False,
        0,
        False,
        False,
        None,
    )


# What is refused


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"optimizer": {"hook": print}}, r"training\.optimizer\.hook is a builtin_function"),
        ({"list": [1, object()]}, r"training\.list\[1\] is a object"),
        ({"module": nn.Conv2d(1, 1, 1)}, r"training\.module is a Conv2d"),
        ({"keys": {(1, 2): 3}}, r"training\.keys has a tuple as a key"),
    ],
)
def test_only_plain_data_is_saved(tmp_path: Path, detector: Detector, training: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        save_checkpoint(tmp_path / "a.pt", detector, training=training)
    assert not list(tmp_path.iterdir())


def test_a_fused_detector_is_not_saved(tmp_path: Path, detector: Detector) -> None:
    with pytest.raises(CheckpointError, match=r"was it fused\?"):
        save_checkpoint(tmp_path / "a.pt", detector.fused())


def test_an_average_of_something_else_is_not_saved(tmp_path: Path, detector: Detector) -> None:
    with pytest.raises(CheckpointError, match="The tensors of `ema` differ"):
        save_checkpoint(tmp_path / "a.pt", detector, ema=nn.Conv2d(1, 1, 1))


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "last.pt", detector)
    before = (tmp_path / "last.pt").read_bytes()

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match="No space left"):
        save_checkpoint(tmp_path / "last.pt", detector)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def content(tmp_path: Path, detector: Detector) -> dict[str, Any]:
    """The dict of a good file, to be spoilt."""
    save_checkpoint(tmp_path / "good.pt", detector)
    loaded: dict[str, Any] = torch.load(tmp_path / "good.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("version", 3, "written by a newer slimyolo .*pip install --upgrade slimyolo"),
        ("version", "1", "not a checkpoint"),
        ("format", "slimyolo.plan", "of the kind 'slimyolo.plan', not a checkpoint"),
        ("names", None, "'names' is nothing, expected a list"),
        ("names", ["one"], "2 classes but 1 name"),
        ("names", [1, 2], "class names are not text"),
        ("tensors", [], "'tensors' is a list, expected a dict"),
        ("tensors", {"a": 1}, "'tensors' is not a mapping of names to tensors"),
        ("ema", {1: torch.zeros(1)}, "'ema' is not a mapping"),
        ("training", 3, "'training' is a int"),
        ("provenance", "me", "'provenance' is a str"),
        ("anchors", torch.zeros(5), "does not describe a detector: .*anchors"),
        ("anchors", torch.zeros(2, 3, 2), "does not describe a detector: .*above 0"),
        ("architecture", {"name": "x"}, "does not describe a detector: .*lacks nc"),
        ("widths", {"model.0.conv": 7}, "does not describe a detector: Widths entry"),
    ],
)
def test_spoilt_entries_are_named(tmp_path: Path, content: dict[str, Any], key: str, value: Any, words: str) -> None:
    torch.save({**content, key: value}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(tmp_path / "bad.pt")
    assert "bad.pt" in str(caught.value)


def test_tensors_that_do_not_fit_are_listed(tmp_path: Path, content: dict[str, Any]) -> None:
    tensors = dict(content["tensors"])
    tensors["model.0.conv.weight"] = torch.zeros(7, 3, 6, 6)
    tensors["model.9.extra"] = torch.zeros(1)
    del tensors["model.1.bn.bias"]
    torch.save({**content, "tensors": tensors}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "bad.pt").detector()
    for words in ("model.1.bn.bias is missing", "model.9.extra is not of", r"[7, 3, 6, 6], expected [8, 3, 6, 6]"):
        assert words in str(caught.value)


@pytest.mark.parametrize("claim", ["wide", "deep", "long", "wide and pruned"])
def test_claims_of_giant_architectures_are_not_built(tmp_path: Path, content: dict[str, Any], claim: str) -> None:
    architecture = copy.deepcopy(content["architecture"])
    if claim.startswith("wide"):
        architecture["width_multiple"] = 100
    elif claim == "deep":
        architecture["depth_multiple"] = 100.0
        architecture["layers"][2][1] = 1000
    else:
        architecture["layers"] = (
            architecture["layers"][:5] + [[-1, 1, "Conv", [8]]] * 5000 + architecture["layers"][-1:]
        )
    widths = {"model.0.conv": {"inputs": 3, "outputs": 8, "groups": 1, "bias": False}} if "pruned" in claim else None
    torch.save({**content, "architecture": architecture, "widths": widths}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"claims an architecture of .* blocks|far larger than it can be"):
        load_checkpoint(tmp_path / "bad.pt").detector()


def test_a_state_dict_alone_is_named_and_its_tensors_can_be_read(tmp_path: Path, detector: Detector) -> None:
    state = detector.state_dict()
    for index, value in enumerate((state, {"state_dict": state, "epoch": 3}, {"model": state, "epoch": 3})):
        path = tmp_path / f"{index}.pth"
        torch.save(value, path)
        with pytest.raises(
            CheckpointError, match=r"holds tensors alone \(\d+, the first is 'model\.0\.conv\.weight'\)"
        ):
            load_checkpoint(path)
        tensors = read_tensors(path)
        assert all(torch.equal(tensors[name], tensor) for name, tensor in state.items())


def test_safetensors_are_named_and_can_be_read(tmp_path: Path, detector: Detector) -> None:
    save_file({name: tensor.half() for name, tensor in detector.state_dict().items()}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="safetensors file: tensors without an architecture"):
        load_checkpoint(tmp_path / "a.safetensors")
    assert read_tensors(tmp_path / "a.safetensors")["model.0.conv.weight"].dtype == torch.float32
    (tmp_path / "b.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"Cannot read .*b\.safetensors"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"Cannot read .*c\.safetensors"):
        read_tensors(tmp_path / "c.safetensors")


def test_tensors_of_our_own_files_can_be_read(tmp_path: Path, detector: Detector) -> None:
    save_checkpoint(tmp_path / "a.pt", detector)
    assert read_tensors(tmp_path / "a.pt").keys() == detector.state_dict().keys()


@pytest.mark.parametrize("value", [{"epoch": 1, "lr": [0.1]}, [1, 2], "text", None, {}, {"a": {}}])
def test_other_torch_files_are_described(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of a detector: it holds "):
        load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of a detector"):
        read_tensors(tmp_path / "a.pt")


def test_a_family_model_is_small_on_disk_and_quick_to_read(tmp_path: Path) -> None:
    detector = build_detector(read_architecture("yolov5n"), seed=0)
    save_checkpoint(tmp_path / "a.pt", detector)
    elements = sum(tensor.numel() for tensor in detector.state_dict().values())
    assert (tmp_path / "a.pt").stat().st_size < elements * 4 * 1.1
    assert_same(load_checkpoint(tmp_path / "a.pt").detector(), detector)
