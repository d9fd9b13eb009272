"""Reads a torch checkpoint of another program without running anything in it.

A ``.pt`` file is a pickle plus tensor storages. `torch.load` would import the classes that the pickle names; here every
name becomes an inert record (`ForeignObject`) or is refused. The modules: this one reads the containers (the zip of
torch ≥ 1.6 and the older stream), `inert_pickle` interprets the pickle, `inert_builders` is the table of allowed names,
`plain_tree` describes and checks the result.

Nothing is written to the disk, so the names of zip members are harmless. The memory is limited by the size of the file:
members must be uncompressed and fit together into the file, a storage must have the length of its member, and a tensor
must lie inside its storage.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from slimyolo.errors import CheckpointError, UnsafeCheckpointError
from slimyolo.storage.file_kinds import describe_file
from slimyolo.storage.inert_builders import ALLOWED_NAMES, FOREIGN_PREFIXES, Storage, StorageType, ViewBudget
from slimyolo.storage.inert_pickle import InertMachine
from slimyolo.storage.plain_tree import ForeignClass, ForeignObject, check_tree
from slimyolo.storage.user_files import open_user_file, read_user_file

__all__ = ["ForeignClass", "ForeignObject", "read_foreign_pickle"]

MAX_PICKLE_BYTES = 64 * 2**20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_foreign_pickle(path: str | os.PathLike[str]) -> Any:
    """The content of a torch checkpoint as a plain tree.

    ====================  ==========================================================================
    in the file           here
    ====================  ==========================================================================
    dict, OrderedDict,    dict (keys are text or numbers)
    Namespace
    list, tuple, set      the same
    number, text, bytes   the same; numpy numbers → Python numbers, numeric arrays → ``numpy.ndarray``
    path                  text
    tensor, parameter     CPU tensor in the file's dtype, without gradient; a view of its storage
    model classes         objects: `ForeignObject` (class name, arguments, state); classes: `ForeignClass`
    ====================  ==========================================================================

    The tree has no cycles, at most 200 levels and at most 2,000,000 values, so simple recursion can walk it. Raises
    `UnsafeCheckpointError` when the file names anything else (reading that would mean executing it), and
    `CheckpointError` when the file is missing, damaged, beyond the limits or of another kind; the message says which.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        kind = describe_file(file)
        if kind.container not in ("zip", "pickle"):
            raise CheckpointError(f"{file} is {kind.description}. {kind.advice}")
    except OSError as error:
        raise CheckpointError(f"Cannot read {file}: {error.strerror or error}. Check the path.") from error
    try:
        return _read_zip(file, size) if kind.container == "zip" else _read_legacy(file, size)
    except OSError as error:
        raise CheckpointError(f"Cannot read {file}: {error.strerror or error}.") from error
    except CheckpointError as error:
        raise _about(file, error) from error


def _read_zip(file: Path, size: int) -> Any:
    try:
        with open_user_file(file, "checkpoint") as opened, zipfile.ZipFile(opened) as archive:
            members = _checked_members(archive, size)
            content = _member(archive, members, "data.pkl", MAX_PICKLE_BYTES)
            if "byteorder" in members and _member(archive, members, "byteorder", 64).strip() != b"little":
                raise CheckpointError("it was written on a big-endian machine, which is not supported")
            storages = _ZipStorages(lambda key: _member(archive, members, f"data/{key}", size), size)
            return _interpret(io.BytesIO(content), storages.resolve)
    except (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"its {size:,} bytes are not a whole archive ({error}). It begins like a checkpoint and was probably cut "
            "short or altered during a copy; copy or download it again and compare the size"
        ) from error


def _checked_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Members by their path below the one folder of the archive, after checks that limit the cost of reading them."""
    infos = archive.infolist()
    names = {info.filename for info in infos}
    roots = {name.partition("/")[0] for name in names if name.endswith("/data.pkl")}
    roots = {root for root in roots if f"{root}/data.pkl" in names}
    if len(roots) != 1:
        raise CheckpointError(
            "it is a zip archive without the data.pkl of a torch checkpoint. Give a .pt file written by torch.save"
        )
    prefix = f"{roots.pop()}/"
    members = {info.filename[len(prefix) :]: info for info in infos if info.filename.startswith(prefix)}
    if "constants.pkl" in members or any(name.startswith("code/") for name in members):
        raise CheckpointError(
            "it is a TorchScript export, which can be run but not trained or pruned. Give the .pt that it was made from"
        )
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise CheckpointError("it is compressed, which torch.save never does. Unzip it and zip it again with `zip -0`")
    if any(info.flag_bits & 0x1 for info in infos):
        raise CheckpointError("it is encrypted, which torch.save never does. Decrypt it first")
    if sum(info.file_size for info in infos) > size:
        raise CheckpointError(f"it claims members larger than the file itself ({size:,} bytes)")
    if len(names) != len(infos):
        raise CheckpointError("it holds two members of the same name")
    return members


def _member(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, limit: int) -> bytes:
    info = members.get(name)
    if info is None:
        raise CheckpointError(f"its member {name[:80]!r} is missing")
    if info.file_size > limit:
        raise CheckpointError(f"its member {name[:80]!r} has {info.file_size:,} bytes, at most {limit:,} are expected")
    return archive.read(info)  # also checks the CRC, so altered bytes are found


class _ZipStorages:
    """Storages of a zip checkpoint. Each is read once, and only when a tensor needs it."""

    def __init__(self, read_member: Callable[[str], bytes], file_size: int) -> None:
        self._read_member = read_member
        self._budget = ViewBudget(file_size)
        self._storages: dict[str, Storage] = {}

    def resolve(self, persistent_id: Any) -> Any:
        dtype, key, numel = _storage_claim(persistent_id)
        if key not in self._storages:
            content = bytearray(self._read_member(key))
            values = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            if len(content) % dtype.itemsize:
                raise CheckpointError(f"its storage {key!r} has {len(content)} bytes, not a whole number of {dtype}")
            self._storages[key] = Storage(values.view(dtype), self._budget)
        storage = self._storages[key]
        if storage.values.dtype != dtype or storage.values.numel() != numel:
            raise CheckpointError(
                f"its storage {key!r} has {storage.values.numel()} elements of {storage.values.dtype}, "
                f"the pickle claims {numel} of {dtype}"
            )
        return storage


def _read_legacy(file: Path, size: int) -> Any:
    """The stream of torch < 1.6: five pickles (magic number, protocol, system, content, storage keys), then the storages."""
    stream = io.BytesIO(read_user_file(file, "checkpoint in the format of torch 1.5"))
    storages = _LegacyStorages(size)
    for expected in (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
        if _interpret(stream, storages.resolve) != expected:
            raise CheckpointError("it is a plain Python pickle. Give a .pt file written by torch.save")
    system = _interpret(stream, storages.resolve)
    if not (isinstance(system, dict) and system.get("little_endian", True)):
        raise CheckpointError("it was written on a big-endian machine, which is not supported")
    tree = _interpret(stream, storages.resolve)
    storages.fill(_interpret(stream, storages.resolve), stream)
    return tree


class _LegacyStorages:
    """Storages of the old stream. Their bytes come after the pickles, so memory is reserved first and filled later."""

    def __init__(self, file_size: int) -> None:
        self._room = file_size
        self._budget = ViewBudget(file_size)
        self._storages: dict[str, Storage] = {}

    def resolve(self, persistent_id: Any) -> Any:
        if isinstance(persistent_id, tuple) and persistent_id[:1] == ("module",) and len(persistent_id) == 4:
            return persistent_id[1]  # a class with its source text; the text is not used
        if isinstance(persistent_id, tuple) and len(persistent_id) == 6:
            if persistent_id[5] is not None:
                raise CheckpointError("it holds views of storages, which torch stopped writing in 2017; re-save it")
            persistent_id = persistent_id[:5]
        dtype, key, numel = _storage_claim(persistent_id)
        if key not in self._storages:
            self._room -= numel * dtype.itemsize
            if self._room < 0:
                raise CheckpointError("it claims storages larger than the file itself")
            self._storages[key] = Storage(torch.zeros(numel, dtype=dtype), self._budget)
        storage = self._storages[key]
        if storage.values.dtype != dtype or storage.values.numel() != numel:
            raise CheckpointError(f"its storage {key!r} is claimed with two lengths or types")
        return storage

    def fill(self, keys: Any, stream: io.BytesIO) -> None:
        if not isinstance(keys, list) or set(keys) != set(self._storages) or len(keys) != len(self._storages):
            raise CheckpointError("its list of storages does not fit its tensors")
        for key in keys:
            values = self._storages[key].values
            numel = int.from_bytes(stream.read(8), "little", signed=True)
            content = stream.read(values.numel() * values.element_size())
            if numel != values.numel() or len(content) != values.numel() * values.element_size():
                raise CheckpointError(f"its storage {key!r} is cut short; copy or download the file again")
            if content:
                values.copy_(torch.frombuffer(bytearray(content), dtype=values.dtype))


def _storage_claim(persistent_id: Any) -> tuple[torch.dtype, str, int]:
    """(element type, key, length) of ``('storage', type, key, location, numel)``; the location is ignored."""
    if not (isinstance(persistent_id, tuple) and len(persistent_id) == 5 and persistent_id[0] == "storage"):
        raise UnsafeCheckpointError("a persistent id that is not a tensor storage")
    _, kind, key, _, numel = persistent_id
    if not isinstance(kind, StorageType) or type(numel) is not int or numel < 0 or not isinstance(key, str):
        raise CheckpointError("its pickle is damaged: a storage without type, key and length")
    if not key.isascii() or not key.isalnum():
        raise CheckpointError(f"its storage key {key[:40]!r} is not a plain number or word")
    return kind.dtype, key, numel


def _interpret(stream: io.BytesIO, persistent: Callable[[Any], Any]) -> Any:
    tree = InertMachine(ALLOWED_NAMES, FOREIGN_PREFIXES, persistent, UnsafeCheckpointError).read(stream)
    check_tree(tree)
    return tree


def _about(file: Path, error: CheckpointError) -> CheckpointError:
    """The same error with a message about the file."""
    if not isinstance(error, UnsafeCheckpointError):
        return CheckpointError(f"{file} cannot be read: {error}.")
    hint = (
        "It looks like a model pruned with the reference project, whose classes are its own: give the checkpoint from "
        "before that prune and run `slimyolo prune` on it."
        if "prune" in str(error)
        else "If you trust the file, open it with the program that wrote it and save only its tensors there: "
        "torch.save(model.state_dict(), 'weights.pt')."
    )
    return UnsafeCheckpointError(
        f"{file} asks to execute {error} while it is read. Nothing in it was run. slimyolo reads tensors, plain data "
        f"and the model classes of YOLOv5 v6.x and v7.0 and of the ultralytics package. {hint}"
    )
