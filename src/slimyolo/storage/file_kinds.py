"""Recognises a file by its first bytes, so that an error message can say what was given instead of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slimyolo.errors import CheckpointError
from slimyolo.storage.user_files import open_user_file

__all__ = ["FileKind", "describe_file"]

Container = Literal["zip", "pickle", "safetensors", "other"]

_GIVE_A_CHECKPOINT = "Give a .pt checkpoint of slimyolo, of YOLOv5 (v6.x, v7.0) or of the ultralytics package."
_GIVE_THE_SOURCE = "Exports can be run, not trained or pruned. Give the .pt that it was made from."


@dataclass(frozen=True)
class FileKind:
    """The container of a file, its description in words, and advice for when a checkpoint was expected."""

    container: Container
    description: str
    advice: str = _GIVE_A_CHECKPOINT


# (offset, bytes at this offset, kind); the first row that matches is used
_MAGIC: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"PK\x03\x04", FileKind("zip", "a zip archive")),
    (0, b"\x80", FileKind("pickle", "a pickle")),
    (4, b"TFL3", FileKind("other", "a TensorFlow Lite export", _GIVE_THE_SOURCE)),
    (0, b"\x89HDF", FileKind("other", "an HDF5 file (Keras?)")),
    (0, b"\x08", FileKind("other", "probably an ONNX export", _GIVE_THE_SOURCE)),
    (0, b"\x1f\x8b", FileKind("other", "a gzip archive", "Unpack it and give the file inside.")),
    (257, b"ustar", FileKind("other", "a tar archive", "Unpack it and give the file inside.")),
    (0, b"\x93NUMPY", FileKind("other", "a numpy array")),
    (
        0,
        b"version https://git-lfs",
        FileKind("other", "a Git LFS pointer, not the file itself", "Fetch the content with `git lfs pull`."),
    ),
)


def describe_file(path: Path) -> FileKind:
    """The kind of a file. Raises `CheckpointError` for a folder or an empty file, `OSError` for a missing one."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, expected a checkpoint file such as {path / 'weights' / 'best.pt'}.")
    with open_user_file(path, "checkpoint") as file:
        head = file.read(512)
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); its download or copy probably failed. Fetch it again.")
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return FileKind(
            "safetensors",
            "a safetensors file: tensors without an architecture",
            f"{_GIVE_A_CHECKPOINT} Such a file says what the model is.",
        )
    text = head.lstrip()[:16].lower()
    if text.startswith((b"<!doctype", b"<html")):
        return FileKind(
            "other",
            "a web page, not a checkpoint",
            "Download the file itself (on GitHub: the link of the release asset).",
        )
    if _is_text(head):
        advice = f"An architecture YAML goes to --cfg. {_GIVE_A_CHECKPOINT}"
        return FileKind("other", "a text file, not a checkpoint", advice)
    return FileKind("other", "not a checkpoint (unknown content)")


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character that is cut at the end of `head` is still text
            return False
    return b"\0" not in head
