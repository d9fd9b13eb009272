"""Programs beside an exported file that run it on an image, with nothing of slimyolo: what people deploy from.

Their text lies in ``templates/``: the Python ones are put together of one part for all runtimes and one for each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from slimyolo.errors import ExportError
from slimyolo.exporting.metadata import FileMetadata
from slimyolo.storage import write_text

__all__ = ["EXAMPLES", "Example", "write_examples"]


@dataclass(frozen=True)
class Example:
    """What the Python example of a format imports, and what is installed for it; `cpp` adds one in C++."""

    network: str
    imports: tuple[str, ...]
    packages: str
    cpp: bool = False


SIGNATURE = "as written, checksum "

EXAMPLES: Mapping[str, Example] = {
    "onnx": Example("onnx", ("import onnxruntime",), "onnxruntime opencv-python numpy", cpp=True),
    "openvino": Example("openvino", ("import openvino",), "openvino opencv-python numpy"),
    "ncnn": Example("ncnn", ("import ncnn",), "ncnn opencv-python numpy"),
    "torchscript": Example("torchscript", ("import torch",), "torch opencv-python numpy"),
    "litert": Example(
        "litert", ("from ai_edge_litert.interpreter import Interpreter",), "ai-edge-litert opencv-python numpy"
    ),
}


def write_examples(format_name: str, model: Path, metadata: FileMetadata) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Write the examples of exported `model` into a folder beside it; returns (written, left alone).

    The folder is ``NAME_FORMAT_example``. Examples end in a checksum of themselves: one that was changed since it was
    written is somebody's, and is left alone.
    Formats that do not run here (CoreML, TensorRT) have no example. Raises `StorageError` when it cannot be written.
    """
    if format_name not in EXAMPLES:
        return (), ()
    stem = model.name.removesuffix(f"_{format_name}_model").removesuffix(model.suffix)
    folder = model.with_name(f"{stem}_{format_name}_example")
    written, kept = [], []
    for name, text in example_texts(format_name, model.name, metadata).items():
        path = folder / name
        if path.exists() and not _is_ours(path.read_text(encoding="utf-8", errors="replace")):
            kept.append(path)
            continue
        write_text(path, text)
        written.append(path)
    return tuple(written), tuple(kept)


def example_texts(format_name: str, model: str, metadata: FileMetadata) -> dict[str, str]:
    """File name → text of the examples for a file called `model` of a format of `EXAMPLES`."""
    row = EXAMPLES[format_name]
    if '"' in model or "\\" in model or "\n" in model:
        raise ExportError(f"No example can name the file {model!r}: give it a plain name, or add --no-examples.")
    values = {
        "FILE": model,
        "VERSION": metadata.slimyolo,
        "PACKAGES": row.packages,
        "IMPORTS": "\n".join(row.imports) + "\n",
        "NETWORK": f"{_template('network_base.txt')}\n\n{_template(f'network_{row.network}.txt')}",
        "NAMES": ", ".join(json.dumps(name, ensure_ascii=False) for name in metadata.names),
        "HEIGHT": str(metadata.imgsz[0]),
        "WIDTH": str(metadata.imgsz[1]),
        "STRIDE": str(metadata.stride) if metadata.dynamic else "0",
        "BATCH": "1" if metadata.dynamic else str(metadata.batch),
        "NMS": "false" if metadata.nms is None else "true",
    }
    texts = {"detect.py": _filled("detect.py.txt", values)}
    if "zipfile" in texts["detect.py"]:
        texts["detect.py"] = texts["detect.py"].replace("import math\n", "import math\nimport zipfile\n")
    if row.cpp:
        texts["detect.cpp"] = _filled("detect.cpp.txt", values)
        texts["CMakeLists.txt"] = _filled("CMakeLists.txt.txt", values)
    return {name: _signed(text, "//" if name.endswith(".cpp") else "#") for name, text in texts.items()}


def _signed(text: str, comment: str) -> str:
    return f"{text}{comment} {SIGNATURE}{_checksum(text)}\n"


def _is_ours(text: str) -> bool:
    """Whether `text` is an example as it was written."""
    body, _, last = text.rstrip("\n").rpartition("\n")
    _, mark, checksum = last.partition(SIGNATURE)
    return bool(mark) and checksum == _checksum(body + "\n")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _filled(template: str, values: Mapping[str, str]) -> str:
    text = _template(template)
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _template(name: str) -> str:
    return (resources.files("slimyolo.exporting") / "templates" / name).read_text(encoding="utf-8")
