"""The facts about an exported file as a record, for `slimyolo inspect`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from slimyolo.errors import CheckpointError
from slimyolo.exporting.foreign_metadata import foreign_metadata, is_foreign
from slimyolo.exporting.metadata import FileMetadata, NetworkCost, Suppression
from slimyolo.exporting.runtimes import DETECTION_COLUMNS, exported_file
from slimyolo.exporting.stated.reading import COREML_MODEL, Shape, StatedFacts, read_facts
from slimyolo.exporting.table import FORMATS, runtimes
from slimyolo.geometry import OutputLayout, SuppressionKind
from slimyolo.one_line import one_line_repr

__all__ = ["ExportedSummary", "summarise_exported"]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ExportedSummary:
    """Facts about an exported file, as it states them; it was not run, and its runtime need not be installed.

    | field | content |
    |---|---|
    | `format` | name of the export format |
    | `file_size_bytes` | all files of the model together |
    | `written_by` | the version of slimyolo; empty: another program |
    | `runtimes` | the runtimes that open it here |
    | `names` | the class names; empty: not stated |
    | `imgsz` | (height, width) of the images; None: not stated, or free |
    | `batch`, `dynamic` | images per call; whether batch and image sizes are free |
    | `input_shape`, `output_shape` | shapes in the file, with names for free sizes; None: only its runtime can say them |
    | `layout`, `columns` | the shape of the output, and the number of values of a row; None: not known without class names |
    | `objectness`, `suppression`, `nms` | as in `FileMetadata` |
    | `weights` | ``fp32``, ``fp16`` or ``int8``; empty: not stated |
    | `family`, `cost` | of the detector; empty and None: not stated |
    | `unknown` | why the meaning of the output is not known; empty when it is |
    """

    path: str
    format: str
    file_size_bytes: int
    written_by: str
    runtimes: tuple[str, ...]
    names: tuple[str, ...] = ()
    imgsz: tuple[int, int] | None = None
    batch: int | None = None
    dynamic: bool = False
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    layout: OutputLayout | None = None
    columns: int | None = None
    objectness: bool = False
    suppression: SuppressionKind | None = None
    nms: Suppression | None = None
    weights: str = ""
    family: str = ""
    cost: NetworkCost | None = None
    unknown: str = ""


def summarise_exported(path: Path) -> ExportedSummary:
    """Describe the exported model `path`, a file or its folder, from what it states.

    Raises `CheckpointError` when there is no such file, it is damaged, or it is of a kind that cannot be read here.
    """
    packed = path.suffix == ".mlpackage" and (path / COREML_MODEL).is_file()
    file = path if packed else exported_file(path)
    facts = read_facts(file)
    said = ExportedSummary(
        path=str(path),
        format=next((row.name for row in FORMATS.values() if row.suffix == file.suffix), file.suffix),
        file_size_bytes=_size(path, file),
        written_by="",
        runtimes=tuple(row.name for row in runtimes().values() if file.suffix in row.suffixes),
        input_shape=facts.input_shape,
        output_shape=facts.output_shape,
        weights=facts.weights,
    )
    unknown, about = _meaning(facts, file)
    if about is None:
        return replace(said, unknown=unknown)
    return replace(
        said,
        written_by=about.slimyolo,
        names=about.names,
        imgsz=about.imgsz if min(about.imgsz) > 0 else None,
        batch=about.batch,
        dynamic=about.dynamic,
        layout=about.layout,
        columns=DETECTION_COLUMNS if about.layout == "detections" else about.rows.columns,
        objectness=about.objectness,
        suppression=about.suppression,
        nms=about.nms,
        weights=facts.weights or (("fp16" if about.half else "fp32") if about.slimyolo else ""),
        family=about.family,
        cost=about.cost,
    )


def _meaning(facts: StatedFacts, file: Path) -> tuple[str, FileMetadata | None]:
    """(why the meaning is not known, the metadata). A damaged file of slimyolo is an error, one of a stranger may say less."""
    if not is_foreign(facts.texts):
        return "", FileMetadata.from_text(facts.texts, str(file))
    try:
        return "", foreign_metadata(facts.texts, (), facts.input_shape, facts.output_shape, str(file))
    except CheckpointError as error:
        return str(error), None


def _size(path: Path, file: Path) -> int:
    """The bytes of all files of a folder; without one, of the file and of those that its runtime reads besides."""
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    able = [row for row in runtimes().values() if file.suffix in row.suffixes]
    others = able[0].others(file) if able else ()
    return sum(one.stat().st_size for one in (file, *others) if one.is_file())
