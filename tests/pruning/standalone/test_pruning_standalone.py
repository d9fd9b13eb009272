"""Parity: a cut network that somebody without slimyolo loads gives the outputs of the network that was cut."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from their_network import PICTURE, Split, Theirs
from torch import nn

from slimyolo.errors import PruningError
from slimyolo.pruning import MacsShare, prune_module, write_standalone
from slimyolo.pruning.standalone.narrow import load_narrow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def dense() -> Theirs:
    torch.manual_seed(0)
    network = Theirs()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn(parameter.shape) * 0.3)
    return network.eval()


@pytest.fixture(scope="module")
def cut(dense: Theirs) -> Theirs:
    return prune_module(dense, PICTURE, MacsShare(0.5)).model


def loaded_elsewhere(kind: str, path: Path, cut: nn.Module, folder: Path) -> float:
    """The difference that a process without slimyolo finds."""
    pictures = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    wanted = folder / "wanted.pt"
    torch.save({"pictures": pictures, "outputs": cut(pictures).detach()}, wanted)
    ran = subprocess.run(
        [sys.executable, "without_slimyolo.py", kind, str(path), str(wanted)],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    found = re.fullmatch(r"difference (\S+)\n", ran.stdout)
    assert found is not None, ran.stdout + ran.stderr
    return float(found[1])


def test_weights_shapes_and_one_file_of_code_are_enough(dense: Theirs, cut: Theirs, tmp_path: Path) -> None:
    before = copy.deepcopy(cut.state_dict())
    folder = write_standalone(tmp_path / "smaller", cut, dense, PICTURE)
    assert sorted(path.name for path in folder.iterdir()) == ["narrow.py", "shapes.json", "weights.pt"]
    assert loaded_elsewhere("narrow", folder, cut, tmp_path) < 1e-6  # other processes may add in another order
    changed = {
        (item["module"], item["name"]) for item in json.loads((folder / "shapes.json").read_text())["attributes"]
    }
    assert {("split", "parts"), ("depth", "groups"), ("depth_norm", "num_groups"), ("stem", "out_channels")} <= changed
    assert all(torch.equal(value, before[name]) for name, value in cut.state_dict().items())


def test_the_loaded_network_is_like_the_cut_one_in_everything(dense: Theirs, cut: Theirs, tmp_path: Path) -> None:
    folder = write_standalone(tmp_path, cut, dense, PICTURE)
    fresh = Theirs().train()
    fresh.head.requires_grad_(False)
    loaded = load_narrow(fresh, folder)
    assert loaded is fresh
    assert loaded.training
    assert not loaded.head.weight.requires_grad
    assert loaded.stem.weight.requires_grad
    assert loaded.again.weight is loaded.wide.weight  # tied weights stay tied
    assert type(loaded.split.parts) is tuple
    assert loaded.split.parts == cut.split.parts
    torch.testing.assert_close(loaded.offset, cut.offset)
    assert {name: p.shape for name, p in loaded.named_parameters()} == {n: p.shape for n, p in cut.named_parameters()}
    loaded(torch.rand(2, 3, 8, 8)).sum().backward()
    assert loaded.stem.weight.grad is not None


def test_a_bias_that_the_cut_made_and_other_precisions_are_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Sigmoid(), nn.Conv2d(16, 4, 1, bias=False)).eval()
    cut = prune_module(dense, PICTURE, MacsShare(0.6)).model
    assert dense[2].bias is None
    assert cut[2].bias is not None
    cut[2].bias.requires_grad_(False)
    fresh = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Sigmoid(), nn.Conv2d(16, 4, 1, bias=False))
    loaded = load_narrow(fresh, write_standalone(tmp_path, cut, dense, PICTURE)).eval()
    assert torch.equal(loaded(PICTURE + 0.5), cut(PICTURE + 0.5))
    half = copy.deepcopy(cut).bfloat16()
    folder = write_standalone(tmp_path, half, copy.deepcopy(dense).bfloat16(), PICTURE.bfloat16())
    assert load_narrow(copy.deepcopy(dense).bfloat16(), folder)[0].weight.dtype is torch.bfloat16


def test_another_network_is_refused_with_the_differences(dense: Theirs, cut: Theirs, tmp_path: Path) -> None:
    folder = write_standalone(tmp_path, cut, dense, PICTURE)
    says = r"The files are for a Theirs as it was before the cut.*stem.weight: \(16, 3, 3, 3\) expected, \(32, 3, 3, 3\) here"
    with pytest.raises(ValueError, match=says):
        load_narrow(Theirs(32), folder)
    other = copy.deepcopy(dense)
    other.split = nn.Identity()
    with pytest.raises(PruningError, match=r"do not consist of the same modules; they differ at 'split'"):
        write_standalone(tmp_path, cut, other, PICTURE)


class Config:
    def __init__(self, width: int) -> None:
        self.width = width


class Hidden(nn.Module):
    """Its size is an attribute of an object that is no module, which the file of shapes cannot hold."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.config, self.layer = Config(width), nn.Linear(3, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).reshape(-1, self.config.width) * self.config.width


def test_values_in_foreign_objects_are_noticed(tmp_path: Path) -> None:
    cut = Hidden(8)
    cut.config.width = 4
    with pytest.raises(
        PruningError, match=r"neither tensors nor plain attributes; save it with torch.export or TorchScript"
    ):
        write_standalone(tmp_path, cut, Hidden(8), torch.zeros(2, 3))

    class Twice(Hidden):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) * self.config.width

    cut = Twice(8)
    cut.config.width = 4
    with pytest.raises(PruningError, match=r"gives other outputs than the cut one"):
        write_standalone(tmp_path, cut, Twice(8), torch.zeros(2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchscript", "export", "onnx"])
def test_a_file_of_its_own_runs_elsewhere(kind: str, cut: Theirs, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
    path = tmp_path / kind
    batch = {0: torch.export.Dim("batch")}
    example = torch.rand(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        if kind == "torchscript":
            torch.jit.save(torch.jit.trace(cut, example), path)
        elif kind == "export":
            path = path.with_suffix(".pt2")
            torch.export.save(torch.export.export(cut, (example,), dynamic_shapes=(batch,)), path)
        else:
            torch.onnx.export(cut, (example,), path, dynamo=True, dynamic_shapes=(batch,), verbose=False)
    assert loaded_elsewhere(kind, path, cut, tmp_path) < 1e-5


def test_the_split_is_cut_at_all(cut: Theirs) -> None:
    assert isinstance(cut.split, Split)
    assert sum(cut.split.parts) < 16
