"""TorchScript: a traced module, run by ``torch.jit.load`` in Python or C++ (libtorch).

A trace computes the sizes of the head's grids from the input, so the file also takes other batch and image sizes; with
``dynamic`` this is checked. The file runs only on the kind of device on which it was traced.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.errors import CheckpointError, UnsafeCheckpointError
from slimyolo.exporting.foreign_metadata import texts_of_json
from slimyolo.exporting.format import Example
from slimyolo.exporting.formats.torchscript_nms import with_nms
from slimyolo.exporting.metadata import LARGEST_METADATA, METADATA_KEYS
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, Written
from slimyolo.models import Detector
from slimyolo.storage import is_own_file, read_user_file

__all__ = ["TORCHSCRIPT_EXAMPLE", "open_torchscript", "torchscript_texts", "write_torchscript"]

FOREIGN_CONFIG = "config.txt"  # where YOLOv5 and ultralytics put the metadata, as JSON
jit: Any = torch.jit  # has no type annotations

TORCHSCRIPT_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The TorchScript file on the processor."""

    def __init__(self, path, threads):
        if threads:
            torch.set_num_threads(threads)
        extra = dict.fromkeys(("names", "layout", "objectness", "suppression", "dynamic", "imgsz", "batch", "stride"), "")
        self.module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        self.read({key: value if isinstance(value, str) else value.decode() for key, value in extra.items()})

    def run(self, images):
        with torch.inference_mode():
            return self.module(torch.from_numpy(images)).numpy()
''',
    imports=("import torch",),
    packages="torch opencv-python numpy",
)


def write_torchscript(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, no gradients) to `path`. Each entry of the metadata is an extra file in it."""
    example = torch.zeros(settings.batch, 3, *settings.size, device=detector.stride.device)
    module = captured_network(detector, settings, fixed=False)
    with quiet(), torch.no_grad():
        traced = jit.trace(module, example, check_trace=False)  # checked afterwards, from the file
        if settings.nms is not None:
            traced = with_nms(traced, settings.nms, detector.rows)
        extra = {key: value.encode() for key, value in settings.metadata_text.items()}
        content = io.BytesIO()  # when torch itself writes to a full disk, the whole process ends
        jit.save(traced, content, _extra_files=extra)
    path.write_bytes(content.getvalue())
    return Written({"device": detector.stride.device.type})


def open_torchscript(path: Path, options: RunOptions) -> Opened:
    """Open the file on ``options.device``. The number of threads is set for torch in the whole process.

    A TorchScript file is a program: it can read and write files, print, and never end, also while it is loaded. Raises
    `UnsafeCheckpointError` unless slimyolo wrote it for this user, or ``options.trust_code`` says that the user trusts it.
    """
    content = read_user_file(path, "exported model")  # once, so that what is run is what was looked at
    metadata = _texts(content, str(path))
    if not options.trust_code and not is_own_file(content):
        raise UnsafeCheckpointError(
            f"{path} is a TorchScript file, which is a program: it can read, write and send files as you can. slimyolo on this "
            "computer has no note that it wrote this file for you, so nothing in it was run. If you trust the person who made "
            "it, add --trust-code (in Python: trust_code=True). ONNX, OpenVINO, ncnn and LiteRT files can only compute."
        )
    with quiet():
        module = jit.load(io.BytesIO(content), map_location=options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            given = module(images.to(options.device))
        rows: Tensor = given[0] if isinstance(given, (tuple, list)) else given  # files of YOLOv5 also give raw outputs
        return rows

    return Opened(run, metadata, None, {"torch": torch.__version__})


def torchscript_texts(path: Path) -> dict[str, str]:
    """The metadata of the file, read from its zip archive. Nothing in it is run."""
    try:
        return _texts(read_user_file(path, "exported model"), str(path))
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error


def _texts(content: bytes, source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                folder, _, key = entry.filename.partition("/extra/")
                if "/" in folder or key not in (*METADATA_KEYS, FOREIGN_CONFIG):
                    continue
                if entry.file_size > LARGEST_METADATA:
                    raise ValueError(f"its {key} has {entry.file_size:,} bytes")
                found[key] = archive.read(entry).decode()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, RuntimeError, zlib.error) as error:
        raise CheckpointError(
            f"torch cannot open {source}: {error}. It is damaged, or not a valid .torchscript file. Export the checkpoint again."
        ) from error
    found |= texts_of_json(found.pop(FOREIGN_CONFIG, ""))
    return {key: value for key, value in found.items() if value}
