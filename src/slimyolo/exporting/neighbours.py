"""The other files that a runtime reads when it opens an exported file: weights beside it, and external data of ONNX.

Runtimes open these files themselves, by their names. So they are asked for here, and looked at before a runtime sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

from slimyolo.errors import CheckpointError
from slimyolo.storage import check_user_file, read_user_file

__all__ = ["bin_beside", "check_exported_files", "message_fields", "onnx_data"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
# number of a field → what its message is, for the messages of onnx.proto3 that lead to external data
_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DEEPEST = 40


def check_exported_files(path: Path, others: tuple[Path, ...]) -> None:
    """Raise `CheckpointError` when `path` or one of `others` is a pipe, a device, too long or unreadable. Those of `others`
    that do not exist are left to the runtime."""
    for file in (path, *others):
        try:
            check_user_file(file, "exported model")
        except FileNotFoundError:
            if file == path:
                raise CheckpointError(f"There is no exported model {path}.") from None
        except OSError as error:
            owner = "" if file == path else f", which belongs to {path}"
            raise CheckpointError(f"Cannot read {file}{owner}: {error.strerror}.") from error


def bin_beside(path: Path) -> tuple[Path, ...]:
    """The weights of a ``.xml`` or ``.param`` file; those of a ``.onnx`` file are its external data."""
    return onnx_data(path) if path.suffix == ".onnx" else (path.with_suffix(".bin"),)


def onnx_data(path: Path) -> tuple[Path, ...]:
    """The files that hold tensors of the ONNX file `path`, as far as it can be read. Nothing in it is run."""
    try:
        content = read_user_file(path, "exported model")
        places = list(_locations(memoryview(content), "model", 0))
    except (OSError, ValueError):
        return ()  # what is damaged is told by the runtime
    return tuple(dict.fromkeys(path.parent / place for place in places if "\0" not in place))


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    """The values of ``location`` in the external data of all tensors below `message`. Raises `ValueError` for damage."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if kind == "entry":
        pair = {number: bytes(value).decode("utf-8", "surrogateescape") for number, value in message_fields(message)}
        if pair.get(1) == "location" and 2 in pair:
            yield pair[2]
        return
    below = _BELOW[kind]
    for number, value in message_fields(message):
        if number in below:
            yield from _locations(value, below[number], depth + 1)


@overload
def message_fields(message: memoryview) -> Iterator[tuple[int, memoryview]]: ...
@overload
def message_fields(message: memoryview, *, numbers: bool) -> Iterator[tuple[int, memoryview | int]]: ...
def message_fields(message: memoryview, *, numbers: bool = False) -> Iterator[tuple[int, Any]]:
    """(number, content) of each field of a protocol buffer that holds bytes or another message; with `numbers` also of those
    that hold a whole number. Raises `ValueError` for damage."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("cut short")
            yield number, message[at : at + length]
            at += length
        elif wire == _VARINT:
            value, at = _varint(message, at)
            if numbers:
                yield number, value
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("an unknown wire type")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a damaged number")
