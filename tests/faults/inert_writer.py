"""Writes pickles of objects that do not exist here: class names, states, tensors that may lie about their size.

`file_of(value)` gives the bytes of a checkpoint in the layout of torch ≥ 1.6. Nothing is imported or run for the names.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_SCALARS = (str, int, float, bytes, type(None))


@dataclass(eq=False)
class Name:
    """A class or a function, by its dotted name."""

    name: str


@dataclass(eq=False)
class Thing:
    """An object of the class `name`, made without arguments, with a state."""

    name: str
    state: Any


@dataclass(eq=False)
class Call:
    """The result of calling `name` with `arguments`."""

    name: str
    arguments: tuple[Any, ...] = ()


@dataclass(eq=False, kw_only=True)
class Stored:
    """A tensor: what the pickle claims of it, and the `content` of its storage (None: no storage in the file)."""

    kind: str = "HalfStorage"
    shape: tuple[Any, ...] = ()
    stride: tuple[Any, ...] | None = None
    offset: Any = 0
    numel: Any = None
    content: bytes | None = b""
    key: str = ""


@dataclass(frozen=True)
class _Raw:
    """Bytes that are ready to be written."""

    content: bytes


@dataclass(frozen=True, eq=False)
class _Remember:
    """Gives the value that was written last a number in the memo."""

    value: Any


@dataclass
class _Writer:
    """Writes with a stack of its own, so that a value may be as deep as it likes."""

    out: io.BytesIO = field(default_factory=io.BytesIO)
    memo: dict[int, int] = field(default_factory=dict)
    storages: dict[str, bytes] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)

    def write(self, value: Any) -> None:
        waiting = [value]
        while waiting:
            item = waiting.pop()
            if isinstance(item, _SCALARS):
                self.out.write(_plain(item))
            elif isinstance(item, _Raw):
                self.out.write(item.content)
            elif isinstance(item, _Remember):
                self.memo[id(item.value)] = number = len(self.memo)
                self.kept.append(item.value)  # so that its id is not used again
                self.out.write(b"r" + struct.pack("<I", number))
            elif id(item) in self.memo:
                self.out.write(b"j" + struct.pack("<I", self.memo[id(item)]))
            else:
                waiting += reversed(self._parts(item))

    def _parts(self, value: Any) -> list[Any]:
        """What to write for `value`, in order."""
        remember = _Remember(value)
        if isinstance(value, Name):
            module, _, name = value.name.rpartition(".")
            return [_Raw(f"c{module}\n{name}\n".encode())]
        if isinstance(value, Thing):
            return [Name(value.name), _Raw(b")\x81"), remember, value.state, _Raw(b"b")]
        if isinstance(value, Call):
            return [Name(value.name), tuple(value.arguments), _Raw(b"R"), remember]
        if isinstance(value, Stored):
            return [*self._tensor(value), remember]
        if isinstance(value, dict):
            items = [part for key, item in value.items() for part in (key, item, _Raw(b"s"))]
            return [_Raw(b"}"), remember, *items]
        if isinstance(value, list):
            return [_Raw(b"]"), remember, *(part for item in value for part in (item, _Raw(b"a")))]
        if isinstance(value, tuple):
            return [_Raw(b"("), *value, _Raw(b"t")]
        raise TypeError(f"{type(value).__name__} cannot be written")

    def _tensor(self, tensor: Stored) -> list[Any]:
        key = tensor.key or str(len(self.storages))
        if tensor.content is not None:
            self.storages[key] = tensor.content
        numel = _product(tensor.shape) if tensor.numel is None else tensor.numel
        stride = _contiguous(tensor.shape) if tensor.stride is None else tensor.stride
        storage = ("storage", Name(f"torch.{tensor.kind}"), key, "cpu", numel)
        hooks = Call("collections.OrderedDict")
        rebuild = Name("torch._utils._rebuild_tensor_v2")
        end = _Raw(b"tR")
        return [rebuild, _Raw(b"("), storage, _Raw(b"Q"), tensor.offset, tensor.shape, stride, False, hooks, end]


def file_of(value: Any) -> bytes:
    """The bytes of a checkpoint that holds `value`."""
    writer = _Writer()
    writer.out.write(b"\x80\x02")
    writer.write(value)
    writer.out.write(b".")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", writer.out.getvalue())
        archive.writestr("archive/version", "3\n")
        for key, content in writer.storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return buffer.getvalue()


@lru_cache(maxsize=4096, typed=True)
def _plain(value: Any) -> bytes:
    """Operations that push a number, a text, bytes, a truth value or None."""
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    return pickle.dumps(value, 2)[2:-1]


def _product(shape: tuple[Any, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _contiguous(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(_product(shape[number + 1 :]) for number in range(len(shape)))
