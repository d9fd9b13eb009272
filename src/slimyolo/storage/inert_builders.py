"""The names that the pickle of a checkpoint may use, and what each name becomes here.

Every other name is refused. A builder receives the machine (for its budget) and the arguments from the file, and checks
them, because a file may claim anything. Storages come from the members of the file, see `foreign_pickle.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimyolo.errors import CheckpointError
from slimyolo.storage.inert_pickle import BYTES_PER_STEP, AllowedCall, AttributeDict, InertMachine, checked_key

__all__ = ["ALLOWED_NAMES", "FOREIGN_PREFIXES", "Storage", "StorageType", "ViewBudget"]

# Classes under these become `ForeignObject` records: the model classes of YOLOv5 v6.x and v7.0 and of the
# ultralytics package, with their layers.
FOREIGN_PREFIXES = ("models.", "utils.", "ultralytics.", "torch.nn.modules.")

_MAX_DIMENSIONS = 16
_MAX_STRIDE = 2**48


@dataclass(frozen=True)
class StorageType:
    """A typed storage class of torch, by its element type."""

    dtype: torch.dtype


@dataclass(eq=False)
class Storage:
    """The elements ``[numel]`` that tensors of the file are views of; `budget` limits what expanded views add."""

    values: Tensor
    budget: ViewBudget


@dataclass(eq=False)
class ViewBudget:
    """The number of elements that expanded views may have in the whole file, in addition to those of their storages."""

    elements: int

    def spend(self, elements: int) -> None:
        self.elements -= elements
        if self.elements < 0:
            raise CheckpointError("it holds tensors that unfold to far more elements than the file has bytes")


def _tensor(machine: InertMachine, arguments: tuple[Any, ...]) -> Tensor:
    """``_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`` → a view of storage."""
    if len(arguments) not in (6, 7):
        raise CheckpointError("its pickle is damaged: a tensor without storage, offset, size and stride")
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, Storage):
        raise CheckpointError("its pickle is damaged: a tensor that is not made from a storage")
    if isinstance(size, list):
        size = tuple(size)
    if not (
        _are_counts((offset,))
        and isinstance(size, tuple)
        and isinstance(stride, tuple)
        and len(size) == len(stride) <= _MAX_DIMENSIONS
        and _are_counts(size)
        and _are_counts(stride)
        and max(stride, default=0) <= _MAX_STRIDE
    ):
        raise CheckpointError("its pickle is damaged: a tensor whose offset, size or stride is not a count")
    numel = 1
    for length in size:
        numel *= length
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if numel else offset - 1
    available = storage.values.numel()
    if last >= available or offset > available:
        raise CheckpointError(f"it claims a tensor of size {size} in a storage of {available} elements")
    if numel > available:  # an expanded view (stride 0), as YOLOv5's grids are
        storage.budget.spend(numel)
    return storage.values.as_strided(size, stride, offset)


def _parameter(machine: InertMachine, arguments: tuple[Any, ...]) -> Tensor:
    """``_rebuild_parameter(data, requires_grad, hooks[, state])`` → its data."""
    if not arguments or not isinstance(arguments[0], Tensor):
        raise CheckpointError("its pickle is damaged: a parameter without a tensor")
    return arguments[0]


def _ordered_dict(machine: InertMachine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if not arguments:
        return {}
    (items,) = arguments
    if not isinstance(items, (list, tuple)):
        raise CheckpointError("its pickle is damaged: a dict made from something that is not a list of pairs")
    machine.spend(len(items))
    if not all(isinstance(item, (list, tuple)) and len(item) == 2 for item in items):
        raise CheckpointError("its pickle is damaged: a dict made from something that is not a list of pairs")
    return {checked_key(key): value for key, value in items}


def _default_dict(machine: InertMachine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    return {}  # the factory is not used; the items follow in the stream


def _attribute_dict(machine: InertMachine, arguments: tuple[Any, ...]) -> AttributeDict:
    return AttributeDict()


def _scalars(machine: InertMachine, arguments: tuple[Any, ...]) -> list[Any]:
    if not arguments:
        return []
    (items,) = arguments
    if not isinstance(items, (list, tuple)):
        raise CheckpointError("its pickle is damaged: a set made from something that is not a list")
    machine.spend(len(items))
    return [checked_key(item) for item in items]


def _size(machine: InertMachine, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_scalars(machine, arguments))


def _path(machine: InertMachine, arguments: tuple[Any, ...]) -> str:
    parts = [_text(part) for part in arguments]
    machine.spend(sum(map(len, parts)))
    return "/".join(parts).replace("//", "/")


def _device(machine: InertMachine, arguments: tuple[Any, ...]) -> str:
    return ":".join(_text(part) if isinstance(part, str) else str(int(part)) for part in arguments[:2])


def _latin_bytes(machine: InertMachine, arguments: tuple[Any, ...]) -> bytes:
    """``_codecs.encode(text, 'latin1')``: how Python writes bytes in pickle protocol 2."""
    text, encoding = arguments
    if encoding not in ("latin1", "latin-1"):
        raise CheckpointError(f"its pickle asks for the text encoding {str(encoding)[:40]!r}, expected 'latin1'")
    machine.spend(len(_text(text)) // BYTES_PER_STEP)
    return codecs.latin_1_encode(_text(text))[0]


_EMPTY_BYTES = AllowedCall("bytes", lambda machine, arguments: _no_arguments(arguments, b""))

_NUMBER_TYPES = (
    "b1",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
    "bool",
    "int64",
    "float32",
    "float64",
)


def _numpy_dtype(machine: InertMachine, arguments: tuple[Any, ...]) -> np.dtype[Any]:
    name = arguments[0] if arguments else None
    if not isinstance(name, str) or name not in _NUMBER_TYPES:
        raise CheckpointError(f"it holds a numpy array of type {str(name)[:40]!r}, expected numbers")
    return np.dtype(name)


def _numpy_scalar(machine: InertMachine, arguments: tuple[Any, ...]) -> Any:
    dtype, content = arguments
    if not (isinstance(dtype, np.dtype) and isinstance(content, bytes) and len(content) == dtype.itemsize):
        raise CheckpointError("its pickle is damaged: a numpy number without type and content")
    return np.frombuffer(content, dtype)[0].item()


def _numpy_array(machine: InertMachine, arguments: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    return np.zeros(0, np.uint8)  # the state that follows fills it, see `fill_array_`


def _no_arguments(arguments: tuple[Any, ...], value: Any) -> Any:
    if arguments:
        raise CheckpointError("its pickle is damaged: arguments where none belong")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise CheckpointError(f"its pickle is damaged: a {type(value).__name__} where a text was expected")
    return value


def _are_counts(values: Iterable[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _calls() -> dict[str, Any]:
    path_kinds = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    paths = [f"{module}.{kind}" for module in ("pathlib", "pathlib._local") for kind in path_kinds]
    arrays = ("numpy.core.multiarray", "numpy._core.multiarray")
    builders = {
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch.Size": _size,
        "torch.device": _device,
        "collections.OrderedDict": _ordered_dict,
        "collections.defaultdict": _default_dict,
        "argparse.Namespace": _attribute_dict,
        "_codecs.encode": _latin_bytes,
        "numpy.dtype": _numpy_dtype,
        **{f"{module}.set": lambda machine, arguments: set(_scalars(machine, arguments)) for module in _BUILTINS},
        **{
            f"{module}.frozenset": lambda machine, arguments: frozenset(_scalars(machine, arguments))
            for module in _BUILTINS
        },
        **{f"{module}.dict": lambda machine, arguments: _no_arguments(arguments, {}) for module in _BUILTINS},
        **{f"{module}._reconstruct": _numpy_array for module in arrays},
        **{f"{module}.scalar": _numpy_scalar for module in arrays},
        **dict.fromkeys(paths, _path),
    }
    calls: dict[str, Any] = {name: AllowedCall(name, build) for name, build in builders.items()}
    calls["numpy.ndarray"] = AllowedCall("numpy.ndarray", _numpy_array)
    calls["__builtin__.bytes"] = calls["builtins.bytes"] = _EMPTY_BYTES
    return calls


_BUILTINS = ("builtins", "__builtin__")

_ELEMENT_TYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}

# Every name that a stream may use, and what it becomes. Element types (`torch.float16`) become text.
ALLOWED_NAMES: dict[str, Any] = {
    **_calls(),
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in _ELEMENT_TYPES.items()},
    **{str(dtype): str(dtype) for dtype in _ELEMENT_TYPES.values()},
}
