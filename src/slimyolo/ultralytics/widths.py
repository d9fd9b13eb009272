"""Keeps the widths of a cut network in their trainer, which otherwise builds the network anew from its YAML at full width."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import nn

from slimyolo.checkpoints.pickled_model import UNCUT_BACKBONE
from slimyolo.errors import ConfigError
from slimyolo.shown_text import counted
from slimyolo.ultralytics.theirs import Yolo, input_channels, refuse_spawning, trainer_class

__all__ = ["finetune_trainer", "given_network", "guard_", "is_guarded"]

_GUARD = (
    "This network was cut by slimyolo, and the trainer would build it anew at full width. "
    "Train it with: from slimyolo.ultralytics import finetune_trainer; model.train(..., trainer=finetune_trainer(model))"
)


def finetune_trainer(model: Yolo | type) -> type:
    """A trainer class that trains the network which it is given, and does not build another one from a YAML.

    ``model.train(..., trainer=finetune_trainer(model))`` trains a cut network (of slimyolo or of another program); with
    ``resume=True`` it continues such a run. `model` is the `YOLO` that will be trained, or a trainer class of your own.
    """
    base: Any = trainer_class(model)

    class FinetuneTrainer(base):  # type: ignore[misc]  # the class is the user's own
        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
            if not isinstance(weights, nn.Module):
                raise ConfigError(
                    "There is no network to fine-tune: this YOLO was made from a YAML file. "
                    'Open the cut network: model = YOLO("cut.pt").'
                )
            return given_network(weights, self.data)

        def train(self) -> Any:
            refuse_spawning(self)
            return super().train()

    return named_after(FinetuneTrainer, base)


def named_after(made: type, base: type) -> type:
    """`made` with a name that says which trainer it extends, such as FinetuneDetectionTrainer."""
    made.__name__ = made.__qualname__ = made.__name__.removesuffix("Trainer") + base.__name__
    return made


def fits(network: nn.Module, data: dict[str, Any]) -> bool:
    """Whether a network has the classes (by name), the keypoints and the input channels of a dataset."""
    return (
        _names(network.names) == _names(data["names"])
        and _keypoints(network, data)
        and input_channels(network) == data.get("channels", input_channels(network))
    )


def given_network(network: nn.Module, data: dict[str, Any]) -> nn.Module:
    """A copy of a network for training on `data`, whatever its widths are. Raises `ConfigError` when it has other outputs."""
    have, want = _names(network.names), _names(data["names"])
    if len(have) != len(want) or not _keypoints(network, data):
        raise ConfigError(
            f"The network has {counted(len(have), 'class', 'classes')} ({_shown(have)}), but the dataset has {len(want)} "
            f"({_shown(want)})"
            f"{'' if _keypoints(network, data) else ' and other keypoints'}. The head of a cut network is not remade. "
            "Train the dense network on this dataset first, then sparsify and cut it."
        )
    copy = deepcopy(network).float()
    copy.requires_grad_(True)
    return copy


def guard_(network: nn.Module) -> None:
    """Make their trainer stop with a sentence, instead of building this cut network at full width without a word.

    The first row of the network's `yaml` gets a sentence in place of a class name. Nothing but building a network reads it.
    """
    if is_guarded(network):
        return
    plan: Any = deepcopy(network.yaml)
    backbone = plan["backbone"]
    plan[UNCUT_BACKBONE] = deepcopy(backbone)
    backbone[0] = [backbone[0][0], backbone[0][1], _GUARD, backbone[0][3]]
    network.yaml = plan


def is_guarded(network: nn.Module) -> bool:
    """Whether `guard_` marked this network as cut."""
    plan: Any = network.yaml
    return UNCUT_BACKBONE in plan


def _names(names: Any) -> list[str]:
    return [str(name) for name in (names.values() if isinstance(names, dict) else names)]


def _shown(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _keypoints(network: nn.Module, data: dict[str, Any]) -> bool:
    return "kpt_shape" not in data or list(network.kpt_shape) == list(data["kpt_shape"])  # type: ignore[arg-type]
