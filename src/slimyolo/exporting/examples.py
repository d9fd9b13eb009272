"""Writes example programs beside an exported file. They run it on an image without slimyolo, as a start for deployment.

The part of the Python examples that all runtimes share is in ``templates/``; the rest is in the file of each format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from slimyolo.errors import ExportError
from slimyolo.exporting.format import Example
from slimyolo.exporting.metadata import FileMetadata
from slimyolo.exporting.table import find_format
from slimyolo.storage import read_user_file, write_text

__all__ = ["write_examples"]


SIGNATURE = "as written, checksum "


def write_examples(format_name: str, model: Path, metadata: FileMetadata) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Write the examples for the exported file `model` into a folder beside it; returns (written, not overwritten).

    The folder is ``NAME_FORMAT_example``. Each example ends with its checksum, so that an example that was edited is
    recognised and not overwritten. Formats that do not run here (CoreML, TensorRT) have no example. Raises `StorageError`
    when an example cannot be written.
    """
    row = find_format(format_name)
    if row.example is None:
        return (), ()
    stem = model.name.removesuffix(row.ending).removesuffix(model.suffix)
    folder = model.with_name(f"{stem}_{row.name}_example")
    written, kept = [], []
    for name, text in example_texts(row.example, model.name, metadata).items():
        path = folder / name
        if path.exists() and not _is_ours(read_user_file(path, "table").decode("utf-8", "replace")):
            kept.append(path)
            continue
        write_text(path, text)
        written.append(path)
    return tuple(written), tuple(kept)


def example_texts(example: Example, model: str, metadata: FileMetadata) -> dict[str, str]:
    """The examples for a file called `model`, as file name → text."""
    if '"' in model or "\\" in model or "\n" in model:
        raise ExportError(
            f"The example cannot contain the file name {model!r}: use a simpler name, or add --no-examples."
        )
    values = {
        "FILE": model,
        "VERSION": metadata.slimyolo,
        "PACKAGES": example.packages,
        "IMPORTS": "\n".join(example.imports) + "\n",
        "NETWORK": f"{_template('network_base.txt')}\n\n{example.network}",
        "NAMES": ", ".join(json.dumps(name, ensure_ascii=False) for name in metadata.names),
        "HEIGHT": str(metadata.imgsz[0]),
        "WIDTH": str(metadata.imgsz[1]),
        "STRIDE": str(metadata.stride) if metadata.dynamic else "0",
        "BATCH": "1" if metadata.dynamic else str(metadata.batch),
        "DETECTIONS": json.dumps(metadata.layout == "detections"),
        "COLUMNS": json.dumps(metadata.layout == "columns"),
        "OBJECTNESS": json.dumps(metadata.objectness),
        "SUPPRESS": json.dumps(metadata.suppression == "nms"),
    }
    texts = {"detect.py": _filled("detect.py.txt", values)}
    if "zipfile" in texts["detect.py"]:
        texts["detect.py"] = texts["detect.py"].replace("import math\n", "import math\nimport zipfile\n")
    if example.cpp:
        texts["detect.cpp"] = _filled("detect.cpp.txt", values)
        texts["CMakeLists.txt"] = _filled("CMakeLists.txt.txt", values)
    return {name: _signed(text, "//" if name.endswith(".cpp") else "#") for name, text in texts.items()}


def _signed(text: str, comment: str) -> str:
    return f"{text}{comment} {SIGNATURE}{_checksum(text)}\n"


def _is_ours(text: str) -> bool:
    """Whether `text` is an example that nobody has edited."""
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
