"""Reads the metadata and the shapes in an exported file, without the library that runs it. Nothing in the file is run.

| suffix | what is read |
|---|---|
| ``.onnx`` | the messages of onnx.proto3 (``metadata_props``, the inputs and outputs of the graph, the types of its tensors) |
| ``.xml`` | ``rt_info``, the layers Parameter and Result, the types of the constants |
| ``.param`` | ``metadata.json`` or ``metadata.yaml`` beside it |
| ``.torchscript`` | extra files in the zip archive |
| ``.tflite`` | ``metadata.json`` in the zip archive behind the model |
| ``.mlpackage`` | the user-defined metadata in Model.proto of CoreML |
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from slimyolo.errors import CheckpointError
from slimyolo.exporting.foreign_metadata import read_metadata_yaml
from slimyolo.exporting.formats.litert import litert_texts
from slimyolo.exporting.formats.ncnn import METADATA_FILE, read_metadata_json
from slimyolo.exporting.formats.torchscript import torchscript_texts
from slimyolo.exporting.metadata import METADATA_KEYS
from slimyolo.exporting.neighbours import message_fields
from slimyolo.storage import read_user_file
from slimyolo.storage.plain_xml import PlainXmlError, parse_xml

__all__ = ["COREML_MODEL", "StatedFacts", "read_facts"]

Shape = tuple[int | str, ...]
"""A shape, in which names stand for sizes that are free."""

COREML_MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")
QUANTISED_OPERATORS = frozenset({b"QuantizeLinear", b"DequantizeLinear", b"QLinearConv", b"ConvInteger"})
_FLOAT, _FLOAT16 = 1, 10  # TensorProto.DataType
_OPENVINO_SECTIONS = ("slimyolo", "framework", "model_info")
_DAMAGED = (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error)


@dataclass(frozen=True, kw_only=True)
class StatedFacts:
    """What a file says: its metadata as texts, the shapes of its first input and output (None: it does not say them).

    `weights` is ``fp32``, ``fp16`` or ``int8``, by the types of its tensors; empty when only the metadata can say it.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    weights: str = ""


def read_facts(file: Path) -> StatedFacts:
    """The facts in an exported `file`, the one that its runtime opens. Raises `CheckpointError` when it is damaged."""
    try:
        return _READERS[file.suffix](file)
    except OSError as error:
        raise CheckpointError(f"Cannot read {file}: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise CheckpointError(
            f"{file} is damaged, or not a valid {file.suffix} file ({error}). Export the checkpoint again."
        ) from error


def _onnx(file: Path) -> StatedFacts:
    texts: dict[str, str] = {}
    graph: bytes | memoryview = b""
    for number, value in message_fields(memoryview(read_user_file(file, "exported model"))):
        if number == 14:
            texts |= _pair(value)
        elif number == 7:
            graph = value
    inputs: list[memoryview] = []
    outputs: list[memoryview] = []
    constants, kinds, quantised = set(), Counter[int](), False
    for number, value in message_fields(memoryview(graph)):
        if number == 1:
            quantised |= any(at == 4 and bytes(name) in QUANTISED_OPERATORS for at, name in message_fields(value))
        elif number == 5:
            about = dict(message_fields(value, numbers=True))
            kind, name = about.get(2), about.get(8)
            kinds[kind if isinstance(kind, int) else 0] += 1
            constants.add(bytes(name) if isinstance(name, memoryview) else b"")
        elif number in (11, 12):
            (inputs if number == 11 else outputs).append(value)
    images = next((one for one in inputs if bytes(_first(one, 1)) not in constants), None)
    half = kinds[_FLOAT16] > kinds[_FLOAT]
    return StatedFacts(
        texts=texts or read_metadata_yaml(file),
        input_shape=_onnx_shape(images) if images is not None else None,
        output_shape=_onnx_shape(outputs[0]) if outputs else None,
        weights="int8" if quantised else "fp16" if half else "fp32",
    )


def _onnx_shape(value: memoryview) -> Shape | None:
    """The shape in a ValueInfoProto: type (2) → tensor type (1) → shape (2) → sizes (1), each a number (1) or a name (2)."""
    message = _first(_first(_first(value, 2), 1), 2)
    sides: list[int | str] = []
    for number, side in message_fields(message):
        if number == 1:
            said = dict(message_fields(side, numbers=True))
            size, name = said.get(1), said.get(2)
            known = isinstance(size, int) and size > 0
            sides.append(size if known and isinstance(size, int) else _text(name) or "free")
    return tuple(sides) or None


def _openvino(file: Path) -> StatedFacts:
    try:
        root = parse_xml(read_user_file(file, "exported model"))
    except PlainXmlError as error:
        raise ValueError(str(error)) from None
    layers = [(layer.get("type", ""), layer) for layer in root.iterfind("layers/layer")]
    images = next((layer.find("data") for kind, layer in layers if kind == "Parameter"), None)
    result = next((layer.find("input/port") for kind, layer in layers if kind == "Result"), None)
    kinds = Counter(_type(layer) for kind, layer in layers if kind == "Const")
    quantised = any(kind == "FakeQuantize" for kind, _ in layers)
    sections = (root.find(f"rt_info/{name}") for name in _OPENVINO_SECTIONS)
    texts = next((found for one in sections if one is not None and (found := _values(one))), {})
    return StatedFacts(
        texts=texts or read_metadata_yaml(file),
        input_shape=None if images is None else _sides(images.get("shape", "").split(",")),
        output_shape=None if result is None else _sides([side.text or "" for side in result.iterfind("dim")]),
        weights="int8" if quantised else "fp16" if kinds["f16"] > kinds["f32"] else "fp32",
    )


def _type(layer: Element) -> str:
    data = layer.find("data")
    return "" if data is None else data.get("element_type", "")


def _values(section: Element) -> dict[str, str]:
    return {child.tag: child.get("value", "") for child in section if child.tag in METADATA_KEYS}


def _sides(words: list[str]) -> Shape | None:
    words = [word.strip() for word in words]
    return tuple(int(word) if word.isascii() and word.isdigit() else "free" for word in words) if any(words) else None


def _ncnn(file: Path) -> StatedFacts:
    beside = file.with_name(METADATA_FILE)
    if not beside.is_file():
        return StatedFacts(texts=read_metadata_yaml(file))
    return StatedFacts(texts=read_metadata_json(read_user_file(beside, "JSON file"), str(beside)))


def _torchscript(file: Path) -> StatedFacts:
    return StatedFacts(texts=torchscript_texts(file))


def _litert(file: Path) -> StatedFacts:
    return StatedFacts(texts=litert_texts(file))


def _coreml(file: Path) -> StatedFacts:
    """Model: description (2) → metadata (100) → user-defined entries (100)."""
    content = memoryview(read_user_file(file / COREML_MODEL, "exported model"))
    entries = message_fields(_first(_first(content, 2), 100))
    texts: dict[str, str] = {}
    for number, value in entries:
        texts |= _pair(value) if number == 100 else {}
    return StatedFacts(texts=texts)


def _first(message: memoryview, number: int) -> memoryview:
    """The first field `number` of `message`; an empty one when there is none."""
    return next((value for at, value in message_fields(message) if at == number), memoryview(b""))


def _pair(entry: memoryview) -> dict[str, str]:
    """The key (1) and the value (2) of an entry."""
    found: Iterator[tuple[int, memoryview]] = message_fields(entry)
    said = {number: _text(value) for number, value in found}
    return {said[1]: said.get(2, "")} if 1 in said else {}


def _text(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, memoryview) else ""


_READERS: Mapping[str, Callable[[Path], StatedFacts]] = {
    ".onnx": _onnx,
    ".xml": _openvino,
    ".param": _ncnn,
    ".torchscript": _torchscript,
    ".tflite": _litert,
    ".mlpackage": _coreml,
}
