"""Table of cases: activations by name; closed formula: what a detector with another one computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ModelError
from slimyolo.families import FAMILIES, load_checkpoint, parse_architecture, read_architecture, summarise_checkpoint
from slimyolo.models import Architecture, Conv, build_detector
from slimyolo.pruning import ChannelShare, prune_module

SMALL = replace(read_architecture("yolov5n"), width_multiple=0.05).with_classes(2)
ROWS = """\
nc: 1
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [10, 13]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
head:
  - [[0], 1, Detect, [nc, anchors]]
"""


@pytest.mark.parametrize(
    ("written", "name", "kind"),
    [
        ("SiLU", "SiLU", nn.SiLU),
        ("nn.SiLU()", "SiLU", nn.SiLU),
        ("hardswish", "Hardswish", nn.Hardswish),
        ("torch.nn.Hardswish(inplace=True)", "Hardswish", nn.Hardswish),
        (" relu ", "ReLU", nn.ReLU),
        ("nn.ReLU6()", "ReLU6", nn.ReLU6),
        ("nn.LeakyReLU()", "LeakyReLU(0.01)", nn.LeakyReLU),
        ("nn.LeakyReLU(0.1, inplace=True)", "LeakyReLU(0.1)", nn.LeakyReLU),
        ("LeakyReLU(negative_slope=1e-1)", "LeakyReLU(0.1)", nn.LeakyReLU),
    ],
)
def test_an_activation_is_known_by_any_of_its_names(written: str, name: str, kind: type[nn.Module]) -> None:
    architecture = SMALL.with_activation(written)
    assert architecture.activation == name
    assert Architecture.from_plain(architecture.to_plain(), FAMILIES) == architecture
    detector = build_detector(architecture, seed=0)
    convolutions = [module for module in detector.modules() if isinstance(module, Conv)]
    assert {type(convolution.act) for convolution in convolutions} == {kind}
    assert len({id(convolution.act) for convolution in convolutions}) == len(convolutions)
    if kind is nn.LeakyReLU:
        slope = float(name[len("LeakyReLU(") : -1])
        assert {convolution.act.negative_slope for convolution in convolutions} == {slope}


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Tanhh",
        "nn.ReLU(0.5)",
        "nn.LeakyReLU(2)",
        "nn.LeakyReLU(1e)",
        "nn.LeakyReLU(-0.1)",
        "os.system('x')",
        None,
        3,
    ],
)
def test_an_unknown_activation_names_those_that_are_known(written: object) -> None:
    with pytest.raises(
        ModelError, match=r"yolov5n: the activation should be one of SiLU, Hardswish, ReLU, ReLU6 or Leaky"
    ):
        replace(SMALL, activation=written)  # type: ignore[arg-type]


def test_silu_is_not_written_down() -> None:
    assert "activation" not in SMALL.to_plain()
    assert SMALL.with_activation("relu").to_plain()["activation"] == "ReLU"


def test_a_yaml_may_name_it() -> None:
    architecture = parse_architecture("activation: nn.ReLU()\n" + ROWS, name="small")
    assert architecture.activation == "ReLU"
    assert parse_architecture(ROWS, name="small") == architecture.with_activation("SiLU")
    with pytest.raises(ModelError, match=r"In small: small: the activation should be .* got 'nn\.Swish\(\)'"):
        parse_architecture("activation: nn.Swish()\n" + ROWS, name="small")
    with pytest.raises(ModelError, match=r"unknown key 'activatoin'\. Did you mean 'activation'"):
        parse_architecture("activatoin: nn.ReLU()\n" + ROWS, name="small")


def test_a_detector_computes_with_it() -> None:
    """Hardswish(x) = x · clamp(x + 3, 0, 6) / 6, behind every convolution; parts without an activation stay without."""
    detector = build_detector(SMALL, seed=3).eval()
    plain = detector.model[0]
    assert isinstance(plain, Conv)
    bare = Conv(3, 4, activation=False)
    detector.model[0].spare = bare  # type: ignore[union-attr]
    count = sum(isinstance(module, Conv) for module in detector.modules()) - 1
    assert detector.set_activation_("hardswish") == count
    assert isinstance(bare.act, nn.Identity)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 8 - 4
    with torch.no_grad():
        inside = plain.bn(plain.conv(images))
        assert torch.allclose(plain(images), inside * (inside + 3).clamp(0, 6) / 6, atol=1e-6)


@pytest.mark.parametrize("activation", ["hardswish", "relu", "relu6", "nn.LeakyReLU(0.1)"])
def test_fusing_cutting_and_saving_keep_it(activation: str, tmp_path: Path) -> None:
    detector = build_detector(SMALL.with_activation(activation), names=["a", "b"], seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert isinstance(values, torch.Tensor)
                values.copy_(torch.rand(values.shape, generator=generator) + 0.2)
            module.weight.data[: len(module.weight) // 3] = 0  # these emit constants
    detector.eval()
    images = torch.rand(1, 3, 64, 64, generator=generator)
    with torch.no_grad():
        expected = detector(images)
        assert torch.allclose(detector.fused()(images), expected, atol=1e-3)
        cut = prune_module(detector, images, ChannelShare(0.2)).model
        assert torch.allclose(cut(images), expected, rtol=1e-4, atol=1e-3)
        save_checkpoint(tmp_path / "cut.pt", cut, provenance={})
        again = load_checkpoint(tmp_path / "cut.pt").detector().eval()
        assert torch.equal(again(images), cut(images))
    assert again.architecture == detector.architecture
    assert summarise_checkpoint(tmp_path / "cut.pt").activation == detector.architecture.activation
