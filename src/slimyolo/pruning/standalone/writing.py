"""Writes a cut network so that whoever has its class and torch can load it, without slimyolo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning.standalone import narrow
from slimyolo.pruning.surgery.check import unseen_inputs, verify
from slimyolo.tracing.running import Forward, calling, forward_of

__all__ = ["write_standalone"]

_INTERNAL = frozenset(vars(nn.Module()))
_LEAVES = (bool, int, float, str, type(None))


def write_standalone(
    folder: Path | str, cut: nn.Module, dense: nn.Module, example_inputs: Any, *, forward: Forward | None = None
) -> Path:
    """Write `weights.pt`, `shapes.json` and `narrow.py` into `folder`, and return the folder.

    `cut` is the network after the cut (and any fine-tuning), `dense` a network of the same class as it was before the cut,
    with any weights. `narrow.py` is the code that makes a freshly built dense network equal to the cut one: it gives tensors
    their new shapes, changes the attributes that hold sizes, and loads the weights. What was written is loaded again and
    compared on inputs like `example_inputs`. Neither network is changed.

    Raises `PruningError` when `cut` is not a cut of `dense`, or when the loaded network gives other outputs.
    """
    folder = Path(folder)
    parts = _pairs(cut, dense)
    document = {
        "format": "slimyolo standalone network",
        "version": 1,
        "network": type(dense).__name__,
        "dense": {name: list(shape) for name, shape in narrow.shapes_of(dense).items()},
        "attributes": [
            {"module": path, "name": name, "value": value}
            for path, smaller, whole in parts
            for name, value in _changed(smaller, whole).items()
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shapes.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    torch.save(_weights(cut, parts), folder / "weights.pt")
    (folder / "narrow.py").write_text(Path(narrow.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    _compare(folder, cut, dense, example_inputs, forward)
    return folder


def _pairs(cut: nn.Module, dense: nn.Module) -> list[tuple[str, nn.Module, nn.Module]]:
    """(path, module of the cut network, module of the dense one) of all modules."""
    smaller, whole = dict(cut.named_modules()), dict(dense.named_modules())
    kinds = [{path: type(part) for path, part in parts.items()} for parts in (smaller, whole)]
    if kinds[0] != kinds[1]:
        different = next(path for path in {**kinds[1], **kinds[0]} if kinds[0].get(path) is not kinds[1].get(path))
        raise PruningError(
            f"The cut network and the dense one do not consist of the same modules; they differ at {different or '(root)'!r}. "
            f"Give the network that was cut, or a new one of its class with the same arguments."
        )
    return [(path, smaller[path], whole[path]) for path in whole]


def _changed(cut: nn.Module, dense: nn.Module) -> dict[str, Any]:
    """Attributes of a module with plain values (numbers, and lists of them) that differ between cut and dense."""
    before = vars(dense)
    return {
        name: value
        for name, value in vars(cut).items()
        if name not in _INTERNAL and _is_plain(value) and (name not in before or not _equal(before[name], value))
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return isinstance(value, _LEAVES)


def _equal(first: Any, second: Any) -> bool:
    return _is_plain(first) and type(first) is type(second) and bool(first == second)


def _weights(cut: nn.Module, parts: list[tuple[str, nn.Module, nn.Module]]) -> dict[str, dict[str, Any]]:
    """The state, the buffers that a state leaves out, and tensors in plain attributes that differ from the dense network."""
    state = cut.state_dict()
    buffers = {
        name: value.detach().cpu().contiguous()
        for name, value in cut.named_buffers(remove_duplicate=False)
        if name not in state
    }
    constants = {}
    for path, smaller, whole in parts:
        for name, value in vars(smaller).items():
            held = vars(whole).get(name)
            if name in _INTERNAL or not isinstance(value, Tensor):
                continue
            if not (isinstance(held, Tensor) and held.shape == value.shape and torch.equal(held, value)):
                constants[f"{path}.{name}" if path else name] = value.detach().cpu().contiguous()
    own = {name: _apart(value) for name, value in state.items()}
    return {"state": own, "buffers": buffers, "constants": constants}


def _apart(value: Any) -> Any:
    """A tensor on the CPU with memory of its own: a view would save all that it is a view of."""
    return value.detach().cpu().clone().contiguous() if isinstance(value, Tensor) else value


def _compare(folder: Path, cut: nn.Module, dense: nn.Module, example_inputs: Any, forward: Forward | None) -> None:
    fresh = deepcopy(dense)
    narrow.load_narrow(fresh, folder)
    given, run = calling(example_inputs, forward_of(dense, forward))
    try:
        difference = verify(cut, fresh, unseen_inputs(given, 0), forward=run)
    except (PruningError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PruningError(
            f"The network that was loaded from {folder} does not run like the cut one ({type(error).__name__}: "
            f"{str(error)[:200]}). It holds sizes that are neither tensors nor plain attributes; save it with torch.export or "
            f"TorchScript instead."
        ) from error
    if difference > 1e-6:
        raise PruningError(
            f"The network that was loaded from {folder} gives other outputs than the cut one (by {difference:.1e} of the "
            f"largest). It holds values that are neither tensors nor plain attributes; save it with torch.export or "
            f"TorchScript instead."
        )
