"""Narrows a freshly built network to the shapes of a cut one and loads its weights. It needs nothing but torch.

    from narrow import load_narrow

    network = load_narrow(MyNetwork(), "folder").eval()

`folder` holds `weights.pt` and `shapes.json`, which `slimyolo.pruning.write_standalone` wrote beside this file. MyNetwork is
the class of the network before the cut, built with the arguments of that time. Nothing in the files is executed.
This file may be copied, changed and passed on together with the weights (Apache-2.0).
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["load_narrow", "shapes_of"]


def load_narrow(network: nn.Module, folder: Any) -> nn.Module:
    """Give `network` the shapes and the weights in `folder`, and return it; it keeps its mode, device and `requires_grad`.

    Raises ValueError, which names the differences, when the network is not the one that was cut.
    """
    told = json.loads((Path(folder) / "shapes.json").read_text(encoding="utf-8"))
    saved = torch.load(Path(folder) / "weights.pt", map_location="cpu", weights_only=True)
    _check(network, {name: tuple(shape) for name, shape in told["dense"].items()}, told["network"])
    tensors = {**saved["state"], **saved["buffers"]}
    made: dict[int, nn.Parameter] = {}
    old: list[Any] = []  # kept until the end, so that no new parameter gets the id of an old one
    for path, part in network.named_modules():
        leading = f"{path}." if path else ""
        for key, parameter in list(part._parameters.items()):
            value = tensors.get(leading + key)
            if value is None or (parameter is not None and parameter.shape == value.shape):
                continue
            if id(parameter) not in made or parameter is None:
                old.append(parameter)
                made[id(parameter)] = _parameter_like(value, parameter, part)
            part._parameters[key] = made[id(parameter)]
        for key, buffer in list(part._buffers.items()):
            value = tensors.get(leading + key)
            if value is not None and (
                buffer is None or buffer.shape != value.shape or leading + key in saved["buffers"]
            ):
                part._buffers[key] = value.clone().to(buffer.device if buffer is not None else value.device)
    for change in told["attributes"]:
        owner = network.get_submodule(change["module"])
        held = getattr(owner, change["name"], None)
        setattr(owner, change["name"], _like(held, change["value"]))
    for name, value in saved["constants"].items():
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, value.clone())
    network.load_state_dict(saved["state"])
    return network


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter and buffer by name, also of buffers that a state_dict leaves out."""
    parameters = network.named_parameters(remove_duplicate=False)
    buffers = network.named_buffers(remove_duplicate=False)
    return {name: tuple(value.shape) for pairs in (parameters, buffers) for name, value in pairs}


def _check(network: nn.Module, wanted: dict[str, tuple[int, ...]], name: str) -> None:
    found = shapes_of(network)
    wrong = [
        f"{key}: {wanted.get(key, 'missing')} expected, {found.get(key, 'missing')} here"
        for key in [*wanted, *(key for key in found if key not in wanted)]
        if wanted.get(key) != found.get(key)
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(
            f"The files are for a {name} as it was before the cut, but this {type(network).__name__} has other tensors: "
            f"{'; '.join(wrong[:5])}{more}. Build it with the arguments of that time."
        )


def _parameter_like(value: torch.Tensor, old: Any, part: nn.Module) -> nn.Parameter:
    """A parameter of the shape and type of `value` on the device of `old`, or of its module where there was none."""
    if old is None:
        beside = next(part.parameters(), value)
        return nn.Parameter(torch.empty_like(value, device=beside.device), requires_grad=beside.requires_grad)
    return nn.Parameter(torch.empty_like(value, device=old.device), requires_grad=old.requires_grad)


def _like(held: Any, value: Any) -> Any:
    """`value` as JSON holds it, with lists in the types that `held` has there."""
    if isinstance(value, list) and isinstance(held, (list, tuple)):
        kept = [*held, *[None] * len(value)]
        return type(held)([_like(kept[place], item) for place, item in enumerate(value)])
    if isinstance(value, dict) and isinstance(held, dict):
        return {key: _like(held.get(key), item) for key, item in value.items()}
    return value
