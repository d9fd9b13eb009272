"""timm without torchvision: architectures to try the engine on, with random weights, scales and statistics.

timm is a development dependency, installed without its own dependencies (`pip install --no-deps timm`). It imports
torchvision for transforms, one frozen norm and drawing, none of which is used here; stand-ins that have the imported names
and nothing else let it load. Where torchvision is installed it is left alone.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "QUICK", "build", "find_timm", "input_of", "randomise_everything_"]

# name -> side of the input: small, where the architecture allows it
ARCHITECTURES = {
    "convnext_atto": 64,
    "coatnet_nano_rw_224": 224,
    "cs3darknet_s": 64,
    "cspdarknet53": 64,
    "cspresnet50": 64,
    "cspresnext50": 64,
    "darknet53": 64,
    "densenet121": 64,
    "dla34": 64,
    "dla60_res2net": 64,
    "dpn48b": 64,
    "edgenext_xx_small": 64,
    "efficientformerv2_s0": 224,
    "efficientnet_b0": 64,
    "efficientvit_b0": 64,
    "ese_vovnet19b_dw": 64,
    "fasternet_t0": 64,
    "fastvit_t8": 64,
    "gernet_s": 64,
    "ghostnet_100": 64,
    "ghostnetv2_100": 64,
    "hardcorenas_a": 64,
    "hgnetv2_b0": 64,
    "hrnet_w18_small": 64,
    "inception_next_atto": 64,
    "inception_resnet_v2": 128,
    "inception_v3": 128,
    "inception_v4": 128,
    "lcnet_050": 64,
    "levit_conv_128s": 224,
    "mixnet_s": 64,
    "mnasnet_small": 64,
    "mobilenetv2_100": 64,
    "mobilenetv3_small_100": 64,
    "mobilenetv4_conv_small": 64,
    "mobileone_s0": 64,
    "mobilevit_xxs": 64,
    "poolformer_s12": 64,
    "regnetx_002": 64,
    "regnety_002": 64,
    "regnetz_005": 64,
    "repghostnet_050": 64,
    "repvgg_a0": 64,
    "repvit_m0_9": 64,
    "res2net50_26w_4s": 64,
    "res2next50": 64,
    "resnest14d": 64,
    "resnet18": 64,
    "resnet50": 64,
    "resnet50_gn": 64,
    "resnetblur50": 64,
    "resnetv2_18": 64,
    "resnext50_32x4d": 64,
    "rexnet_100": 64,
    "selecsls42b": 64,
    "seresnet50": 64,
    "skresnet18": 64,
    "starnet_s1": 64,
    "swiftformer_xs": 64,
    "test_vit": 160,
    "tf_efficientnetv2_b0": 64,
    "tresnet_m": 64,
    "vgg11_bn": 64,
    "visformer_tiny": 224,
    "xception41": 64,
}
QUICK = ("lcnet_050", "ghostnet_100", "regnety_002", "res2net50_26w_4s", "test_vit")

_STUBS = (
    "torchvision",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.utils",
    "torchvision.datasets",
)
_OPERATORS: list[Any] = []  # a torch library lives as long as this holds it


def find_timm() -> Any:
    """The timm module, or None where it is not installed."""
    if importlib.util.find_spec("timm") is None:
        return None
    if "torchvision" not in sys.modules:
        if importlib.util.find_spec("torchvision") is None:
            _install_stubs()
        elif not _OPERATORS:
            _declare_operators()
    import timm

    return timm


class _Names(type):
    """Class attributes that nobody defined are their own names (members of an enumeration)."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return name


class _Stub(types.ModuleType):
    """A module that has every name: a class without content."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Names(name, (nn.Module,), {})
        setattr(self, name, made)
        return made


def _install_stubs() -> None:
    for path in _STUBS:
        module = _Stub(path)
        module.__path__ = []
        parent, _, leaf = path.rpartition(".")
        sys.modules[path] = module
        if parent:
            setattr(sys.modules[parent], leaf, module)


def _declare_operators() -> None:
    """A torchvision built for another torch asks for these when imported."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _OPERATORS.append(library)


def build(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """A timm model in eval mode whose scales, shifts and statistics are random, so that constants matter."""
    torch.manual_seed(seed)
    model: nn.Module = find_timm().create_model(name, pretrained=False, **options)
    return randomise_everything_(model, seed)


def input_of(name: str) -> Tensor:
    """A batch of one for an architecture of the table."""
    side = ARCHITECTURES[name]
    return torch.zeros(1, 3, side, side)


def randomise_everything_(model: nn.Module, seed: int) -> nn.Module:
    """Random γ, β, running statistics, biases and loose parameters, of a size that keeps deep networks finite."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, scale: float) -> Tensor:
        return torch.randn(like.shape, generator=generator) * scale

    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase) and part.running_mean is not None:
                part.running_mean.copy_(normal(part.running_mean, 0.3))
                part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) + 0.5)
            if isinstance(part, (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)):
                if part.weight is not None:
                    part.weight.copy_(torch.rand(part.weight.shape, generator=generator) + 0.5)
                if part.bias is not None:
                    part.bias.copy_(normal(part.bias, 0.5))
            elif isinstance(part, (nn.modules.conv._ConvNd, nn.Linear)):
                if part.bias is not None:
                    part.bias.copy_(normal(part.bias, 0.2))
            else:  # layer scales, gammas, tokens
                for name, tensor in part.named_parameters(recurse=False):
                    if name not in {"weight", "bias"} or tensor.ndim < 2:
                        tensor.add_(normal(tensor, 0.2))
    return model.eval()
