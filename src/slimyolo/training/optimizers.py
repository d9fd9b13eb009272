"""Makes optimizers over groups of parameters: biases, weights (with weight decay), scales of normalisation layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import unwrap
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.training.musgd import MuSGD
from slimyolo.training.schedule import Settings

__all__ = [
    "OPTIMIZERS",
    "FittingOptimizer",
    "apply_settings_",
    "build_optimizer",
    "fitting_optimizer",
    "parameter_groups",
]

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_Groups = list[dict[str, object]]


def _without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """A subclass of `kind` that computes the same, and does not import torch's compiler.

    torch wraps some methods of optimizers so that a compiled program leaves them out, and imports its compiler for that: two
    seconds before the first step. No training compiles its optimizer, so the methods inside the wrappers do.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(unwrap(kind.step))
    return type(kind.__name__, (kind,), {**methods, "__module__": __name__, "__doc__": kind.__doc__})


_SGD, _ADAM, _ADAMW, _MUSGD = (_without_compiler(kind) for kind in (SGD, Adam, AdamW, MuSGD))


def _sgd(groups: _Groups, lr: float, momentum: float) -> Optimizer:
    return _SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)  # type: ignore[call-arg]


def _adam(groups: _Groups, lr: float, momentum: float) -> Optimizer:
    return _ADAM(groups, lr=lr, betas=(momentum, 0.999), fused=True)  # type: ignore[call-arg]


def _adamw(groups: _Groups, lr: float, momentum: float) -> Optimizer:
    return _ADAMW(groups, lr=lr, betas=(momentum, 0.999), fused=True)  # type: ignore[call-arg]


def _musgd(groups: _Groups, lr: float, momentum: float) -> Optimizer:
    return _MUSGD(groups, lr=lr, momentum=momentum)  # type: ignore[call-arg]


OPTIMIZERS: Mapping[str, Callable[[_Groups, float, float], Optimizer]] = {
    "SGD": _sgd,
    "Adam": _adam,
    "AdamW": _adamw,
    "MuSGD": _musgd,
}
_FASTER = 3.0  # times the learning rate
_LONG_RUN = 10_000  # optimizer steps


@dataclass(frozen=True)
class FittingOptimizer:
    """An optimizer by name, with its first learning rate and momentum."""

    name: str
    lr0: float
    momentum: float


def fitting_optimizer(images: int, batch_size: int, epochs: int, nc: int, nominal_batch: int = 64) -> FittingOptimizer:
    """The optimizer that ``--optimizer auto`` picks, by the rule of ultralytics 8.4.190.

    A run has ⌈images / max(batch, 64)⌉ · epochs steps. More than 10,000 steps: MuSGD with learning rate 0.01. Otherwise:
    AdamW with 0.002 · 5 / (4 + nc). The momentum is β₁ for AdamW; for MuSGD it is the momentum before the warm-up, which ends
    at the momentum of the hyper-parameters.
    """
    steps = math.ceil(images / max(batch_size, nominal_batch)) * epochs
    if steps > _LONG_RUN:
        return FittingOptimizer("MuSGD", 0.01, 0.9)
    return FittingOptimizer("AdamW", round(0.002 * 5 / (4 + nc), 6), 0.9)


def build_optimizer(
    model: nn.Module,
    name: str = "SGD",
    *,
    lr0: float = 0.01,
    momentum: float = 0.937,
    weight_decay: float = 0.0005,
    faster: Iterable[nn.Module] = (),
) -> Optimizer:
    """SGD (Nesterov), Adam, AdamW (fused kernels) or MuSGD over `parameter_groups` of `model`.

    `weight_decay` is the result of `scaled_weight_decay` and acts on the weights only. `momentum` is β₁ for Adam and AdamW.
    Parameters without a gradient are in their group too, so that a saved state fits whether layers are frozen or not. All
    parameters of the modules `faster` have three times the learning rate, in groups of their own after the others.
    Raises `ConfigError` for an unknown name or impossible numbers.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(
            f"Unknown optimizer {name!r}; expected one of {', '.join(OPTIMIZERS)}.{nearest_name_hint(name, OPTIMIZERS)}"
        )
    for label, value, top in (
        ("lr0", lr0, math.inf),
        ("momentum", momentum, 1.0),
        ("weight_decay", weight_decay, math.inf),
    ):
        if not (math.isfinite(value) and 0 <= value < top):
            raise ConfigError(
                f"{label} is {value}; it must be a number of 0 or more{' and below 1' if top == 1 else ''}."
            )
    fast = {id(parameter) for module in faster for parameter in module.parameters()}
    groups: _Groups = []
    for is_fast in (False, True) if fast else (False,):
        for rate, parameters in enumerate(parameter_groups(model)):
            chosen = [parameter for parameter in parameters if (id(parameter) in fast) == is_fast]
            decay = weight_decay if rate == 1 else 0.0
            groups.append(
                {"params": chosen, "weight_decay": decay, "rate": rate, "rate_factor": _FASTER if is_fast else 1.0}
            )
    return OPTIMIZERS[name](groups, lr0, momentum)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """(all biases, all other weights, scales of normalisation layers), each in the order of `model.modules()`.

    yolov5n has 60 biases (57 of batch normalisation, 3 of the head), 60 weights, 57 scales. A shared parameter is listed once.
    """
    biases: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if name == "bias":
                biases.append(parameter)
            elif name == "weight" and isinstance(module, _NORMALISATIONS):
                scales.append(parameter)
            else:
                weights.append(parameter)
    return biases, weights, scales


def apply_settings_(optimizer: Optimizer, settings: Settings) -> None:
    """Put learning rates and momentum into the optimizer's groups. Only SGD and MuSGD warm up momentum, as in the recipes.

    A group that was not made by `build_optimizer` gets the learning rate of its position; groups after the third get the
    third.
    """
    rates = settings.learning_rates
    for position, group in enumerate(optimizer.param_groups):
        rate = group.get("rate", min(position, len(rates) - 1))
        group["lr"] = rates[rate] * group.get("rate_factor", 1.0)
        if "momentum" in group:
            group["momentum"] = settings.momentum


def match_memory_layout_(optimizer: Optimizer) -> None:
    """Give the optimizer's buffers the strides of their parameters, because fused kernels read both as flat memory."""
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                buffers[name] = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)
