"""Opens exported files. Every runtime is called in the same way, as a detector is: images → decoded rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.at_work import Work
from slimyolo.errors import CheckpointError, ConfigError, ModelError, SlimyoloError
from slimyolo.exporting.foreign_metadata import foreign_metadata, is_foreign
from slimyolo.exporting.format import Runtime
from slimyolo.exporting.metadata import FileMetadata, NetworkCost, Suppression, check_input_shape
from slimyolo.exporting.neighbours import check_exported_files
from slimyolo.exporting.settings import Opened, Runner, RunOptions, RunPrecision
from slimyolo.exporting.table import FORMATS, find_runtime, runtimes
from slimyolo.geometry import OutputLayout, RowLayout, SuppressionKind, xyxy_to_cxcywh
from slimyolo.shown_text import counted

__all__ = ["ExportedModel", "is_exported", "open_exported", "stated_size"]


DETECTION_COLUMNS = 6  # x1, y1, x2, y2, score, class


@dataclass(frozen=True, eq=False, kw_only=True)
class ExportedModel:
    """An exported file in its runtime. Call it with images, like a `Detector` in eval mode; it can be used with ``with``.

    | field | content |
    |---|---|
    | `names` | the class names |
    | `stride` | the largest stride in network pixels, float [1] |
    | `imgsz` | (height, width) of the export, or None when the file does not say it |
    | `input_shape` | [B, 3, H, W]; names stand for sizes that are free |
    | `runtime`, `versions` | the name of the runtime, and the versions of its packages |
    | `memory_format` | the order in memory in which images need no copy |
    | `layout` | the shape of the file's output |
    | `rows` | what the columns of decoded rows mean |
    | `suppression` | what must follow the decoded rows |
    | `family` | name of the detector's family; empty: the file does not state it |
    | `nms` | the settings of the NMS inside the file; None: there is none |
    | `cost` | the cost of the network, counted before the export |
    """

    path: Path
    names: tuple[str, ...]
    stride: Tensor
    imgsz: tuple[int, int] | None
    input_shape: tuple[int | str, ...]
    runtime: str
    versions: Mapping[str, str]
    precision: RunPrecision
    threads: int
    nms: Suppression | None
    cost: NetworkCost | None
    memory_format: torch.memory_format
    layout: OutputLayout
    rows: RowLayout
    suppression: SuppressionKind
    family: str
    _runner: list[Runner]
    _work: Work

    def __repr__(self) -> str:
        size = "any size" if self.size is None else f"{self.size[0]} x {self.size[1]} (height x width)"
        return f"ExportedModel('{self.path}' in {self.runtime}, {self.precision}: {counted(self.nc, 'class', 'classes')}, {size})"

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def size(self) -> tuple[int, int] | None:
        """The only (height, width) that the file takes; None when the sides may be any multiples of the stride."""
        height, width = self.input_shape[2:]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def __call__(self, images: Tensor | npt.NDArray[np.float32]) -> Tensor:
        """Images [B, 3, H, W] float32 RGB 0–1 → decoded rows [B, rows, columns] float32; `rows` describes the columns.

        When the file has a fixed batch size, any number of images is run in batches of that size; the last batch is filled
        with empty images. When the output of the file is detections, they become rows with objectness 1 and one class, so
        that a later NMS keeps them. Raises `ModelError` for images of another size, or rows that do not fit the names.
        """
        tensor = torch.as_tensor(images)
        self._check(tensor)
        batch = self.input_shape[0]
        tensor = tensor.float().contiguous(memory_format=self.memory_format)
        if not isinstance(batch, int) or batch == len(tensor):
            return self._rows(self._run(tensor))
        parts = []
        for start in range(0, len(tensor), batch):
            part = tensor[start : start + batch]
            filled = (
                torch.cat((part, part.new_zeros(batch - len(part), *part.shape[1:]))) if len(part) < batch else part
            )
            parts.append(self._rows(self._run(filled))[: len(part)])
        return torch.cat(parts)

    def output(self, images: Tensor) -> Tensor:
        """The output of the file itself for `images` of the shape that it takes, in its own `layout`."""
        self._check(images)
        return self._run(images.float().contiguous(memory_format=self.memory_format))

    def close(self) -> None:
        """Release the runtime and its memory."""
        self._runner.clear()

    def __enter__(self) -> ExportedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, images: Tensor) -> Tensor:
        if not self._runner:
            raise ModelError(f"{self.path} was closed. Open it again: open_exported({str(self.path)!r}).")
        try:
            with self._work:
                return self._runner[0](images)
        except MemoryError:
            raise
        except Exception as error:  # runtimes have their own error classes, and notice some damage only when they run
            raise ModelError(
                f"{self.path} can be opened but not run: {_first_line(error)}. It is damaged; export the checkpoint again."
            ) from error

    def _check(self, images: Tensor) -> None:
        shape = list(images.shape)
        stride, size = int(self.stride.max()), self.size
        if len(shape) != 4 or shape[0] < 1 or shape[1] != 3:
            raise ModelError(f"{self.path} takes images [B, 3, height, width], got {shape}.")
        if size is not None and tuple(shape[2:]) != size:
            raise ModelError(
                f"{self.path} was exported for images of {size[0]} x {size[1]} pixels (height x width), got {shape[2]} x "
                f"{shape[3]}. Letterbox them to that size, or export with --dynamic."
            )
        if shape[2] % stride or shape[3] % stride:
            raise ModelError(f"{self.path} takes images whose sides are multiples of {stride}, got {shape[2:]}.")

    def _rows(self, output: Tensor) -> Tensor:
        """The output of the file as decoded rows [B, rows, columns]."""
        rows = output.transpose(1, 2) if self.layout == "columns" and output.dim() == 3 else output
        wanted = DETECTION_COLUMNS if self.layout == "detections" else self.rows.columns
        if rows.dim() != 3 or rows.shape[2] != wanted:
            raise ModelError(
                f"The output of {self.path} is {list(output.shape)}, expected {self._expected(wanted)}. Check that slimyolo "
                f"exported it, and that these are its class names: {', '.join(self.names[:8])}."
            )
        return _as_rows(rows, self.rows) if self.layout == "detections" else rows

    def _expected(self, columns: int) -> str:
        """The expected shape of the output, in words."""
        return {
            "rows": f"decoded rows [B, rows, {columns}] of {counted(len(self.names), 'class', 'classes')}",
            "columns": f"decoded rows [B, {columns}, rows] of {counted(len(self.names), 'class', 'classes')}",
            "detections": "detections [B, max_det, 6]",
        }[self.layout]


def open_exported(
    path: str | Path,
    *,
    runtime: str | Runtime | None = None,
    threads: int | None = None,
    precision: RunPrecision = "fp32",
    names: tuple[str, ...] = (),
    device: torch.device | None = None,
    trust_code: bool = False,
) -> ExportedModel:
    """Open a file that ``slimyolo export`` wrote (``.onnx``, ``.xml``, ``.param``, ``.torchscript`` …), or its folder.

    | argument | meaning |
    |---|---|
    | `runtime` | a name from `runtimes()`; None: the first runtime that opens files with this suffix |
    | `threads` | threads inside one operation; None: as many as torch uses |
    | `names` | class names that replace those in the file; a file of another tool has none |
    | `device` | where a TorchScript file runs |
    | `trust_code` | also open a file that is a program (TorchScript) and that slimyolo did not write for this user |

    Raises `CheckpointError` when the file is missing or damaged, or its metadata are not sufficient; `UnsafeCheckpointError`
    when it is a program that is not trusted; `ConfigError` when the runtime cannot do what is asked.
    """
    file = exported_file(Path(path))
    row = _runtime(file, runtime)
    if precision not in row.precisions:
        raise ConfigError(
            f"{row.name} cannot be asked to compute in {precision}, only in: {', '.join(row.precisions)}. The precision of "
            "such a file is chosen when it is written: slimyolo export --half."
        )
    if threads is not None and threads < 1:
        raise ConfigError(f"threads should be 1 or more, got {threads}.")
    if importlib.util.find_spec(row.package) is None:
        raise ConfigError(
            f"Running {file.name} needs {row.package}, which this Python does not have. "
            f"Type: pip install 'slimyolo[{row.extra}]'"
        )
    check_exported_files(file, row.others(file))
    options = RunOptions(threads, precision, device or torch.device("cpu"), trust_code)
    work = Work(row.name, file)
    try:
        with work:
            opened = row.open(file, options)
    except SlimyoloError:
        raise
    except Exception as error:  # runtimes have their own error classes for files that they cannot read
        raise CheckpointError(
            f"{row.name} cannot open {file}: {_first_line(error)}. It is damaged, or not a valid {file.suffix} file. "
            "Export the checkpoint again."
        ) from error
    return _described(file, row, opened, options, names, work)


def stated_size(path: str | Path) -> tuple[int, int] | None:
    """The (height, width) that an exported file states, or None. A file that is a program is not run for this.

    Raises `CheckpointError` when the file cannot be read.
    """
    file = exported_file(Path(path))
    row = _runtime(file, None)
    if row.texts is None:
        with open_exported(file) as model:
            return model.imgsz
    check_exported_files(file, ())
    text = row.texts(file)
    about = (
        foreign_metadata(text, (), None, None, str(file))
        if is_foreign(text)
        else FileMetadata.from_text(text, str(file))
    )
    return about.imgsz if min(about.imgsz) > 0 else None


def is_exported(path: str | Path) -> bool:
    """Whether the name of `path` is that of an exported model: a known suffix, or a folder that holds such a file."""
    place = Path(path)
    return place.suffix in _suffixes() or place.suffix in _elsewhere() or (place.is_dir() and bool(_inside(place)))


def exported_file(path: Path) -> Path:
    """The file that a runtime opens for `path`, which may be the file or its folder. Raises `CheckpointError`."""
    if path.suffix in _elsewhere():
        raise CheckpointError(f"{path} cannot be run here. {_elsewhere()[path.suffix]}")
    if path.is_dir():
        found = _inside(path)
        if len(found) == 1:
            return found[0]
        listed = ", ".join(file.name for file in found) or "none"
        raise CheckpointError(
            f"The folder {path} should hold one exported model ({', '.join(_suffixes())}), got: {listed}."
        )
    if not path.is_file():
        raise CheckpointError(f"There is no exported model {path}.")
    if path.stat().st_size == 0:
        raise CheckpointError(
            f"{path} is empty (0 bytes): copying or exporting it was interrupted. Export the checkpoint again."
        )
    return path


def _inside(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _suffixes() and file.is_file())


def _suffixes() -> tuple[str, ...]:
    """The suffixes of files that some runtime opens."""
    return tuple(dict.fromkeys(suffix for row in runtimes().values() for suffix in row.suffixes))


def _elsewhere() -> dict[str, str]:
    """Suffixes of files that cannot be opened here → what to do instead."""
    return {suffix: advice for row in FORMATS.values() for suffix, advice in row.elsewhere.items()}


def _runtime(file: Path, asked: str | Runtime | None) -> Runtime:
    if asked is None:
        able = [row for row in runtimes().values() if file.suffix in row.suffixes]
        if not able:
            raise CheckpointError(
                f"{file} is not an exported model that slimyolo can run: expected a name that ends in {', '.join(_suffixes())}."
            )
        return able[0]
    row = find_runtime(asked) if isinstance(asked, str) else asked
    if file.suffix not in row.suffixes:
        raise ConfigError(f"{row.name} opens {' and '.join(row.suffixes)} files, not {file.name}.")
    return row


def _described(
    file: Path, row: Runtime, opened: Opened, options: RunOptions, names: tuple[str, ...], work: Work
) -> ExportedModel:
    text = dict(opened.metadata)
    shape = opened.input_shape
    if shape is not None:
        check_input_shape(shape, str(file))
    if is_foreign(text):
        about = foreign_metadata(text, names, shape, None, str(file)) if opened.output_shape is None else None
        with work:
            output = opened.output_shape or _tried_output(opened, about)
        about = foreign_metadata(text, names, shape, output, str(file))
        return _model(file, row, opened, options, about, shape or (1, 3, *about.imgsz), work)
    metadata = FileMetadata.from_text(text, str(file))
    if shape is None:
        free = ("batch", 3, "height", "width")
        shape = free if metadata.dynamic else (metadata.batch, 3, *metadata.imgsz)
    return _model(file, row, opened, options, replace(metadata, names=names or metadata.names), shape, work)


def _tried_output(opened: Opened, about: FileMetadata | None) -> tuple[int | str, ...] | None:
    """The shape of the output for one empty image; None when the size of the images is not known, or it does not run."""
    if about is None or about.dynamic:
        return None
    try:
        return tuple(opened.run(torch.zeros(1, 3, *about.imgsz)).shape)
    except Exception:  # runtimes have their own error classes; the error is told when the file is used
        return None


def _model(
    file: Path,
    row: Runtime,
    opened: Opened,
    options: RunOptions,
    about: FileMetadata,
    shape: tuple[int | str, ...],
    work: Work,
) -> ExportedModel:
    check_input_shape(shape, str(file))
    return ExportedModel(
        path=file,
        names=about.names,
        stride=torch.tensor([float(about.stride)]),
        imgsz=about.imgsz if min(about.imgsz) > 0 else None,
        input_shape=shape,
        runtime=row.name,
        versions=opened.versions,
        precision=options.precision,
        threads=options.thread_count,
        nms=about.nms,
        cost=about.cost,
        memory_format=opened.memory_format,
        layout=about.layout,
        rows=about.rows,
        suppression=about.suppression,
        family=about.family,
        _runner=[opened.run],
        _work=work,
    )


def _as_rows(detections: Tensor, layout: RowLayout) -> Tensor:
    """[B, max_det, 6] (xyxy, score, class) → decoded rows [B, max_det, columns] with the score at its class."""
    boxes, score, label = detections[..., :4], detections[..., 4:5], detections[..., 5:6]
    scores = detections.new_zeros(*detections.shape[:2], layout.nc)
    scores.scatter_(2, label.long().clamp(0, layout.nc - 1), score)
    rows: Tensor = layout.rows(xyxy_to_cxcywh(boxes), scores)
    return rows


def _first_line(error: Exception) -> Any:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
