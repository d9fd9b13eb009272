"""Writes a file in a temporary folder, runs it, compares it with the model, and only then moves it to its place."""

from __future__ import annotations

import copy
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from slimyolo.errors import ExportError, SlimyoloError
from slimyolo.exporting.agreement import Agreement, Tolerance, agreement, detections_agreement, random_images
from slimyolo.exporting.format import Format
from slimyolo.exporting.network import output_layout, top_detections
from slimyolo.exporting.runtimes import ExportedModel, open_exported
from slimyolo.exporting.settings import ExportSettings, Written
from slimyolo.exporting.table import check_settings, checker_version, require_packages
from slimyolo.geometry import OutputLayout, RowLayout, SuppressionKind
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.storage import atomic_file, atomic_folder, read_user_file, remember_own_file, temporary_folder
from slimyolo.tracing.explaining import depends_on_values, place_of

__all__ = ["ExportedFile", "Suppress", "export_detector"]

LONGEST_REASON = 200  # letters of the first line of what a package says
Suppress = Callable[[Tensor], Sequence[Tensor]]
"""Decoded rows [B, rows, columns] → detections per image [n, 6] = xyxy, score, class, best first."""


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file (or folder) that was written and agrees with the model.

    | field | content |
    |---|---|
    | `input_shape`, `output_shape` | names stand for sizes that are free |
    | `layout` | the shape of the output |
    | `suppression` | what must follow the decoded rows |
    | `random`, `real` | largest differences on noise and on real images; None: not compared |
    | `suppressed` | the same for the detections, where NMS is inside the file |
    | `checker` | the package that ran the file |
    | `unchecked` | what was not checked, and how to check it |
    | `built` | False: the file is only what the asked one is built from, elsewhere; `unchecked` says how |
    """

    format: str
    path: Path
    bytes: int
    input_shape: tuple[int | str, ...]
    output_shape: tuple[int | str, ...]
    layout: OutputLayout
    suppression: SuppressionKind
    details: Mapping[str, str]
    notes: tuple[str, ...]
    unchecked: tuple[str, ...]
    checker: str
    random: Agreement | None
    real: Agreement | None
    suppressed: Agreement | None
    tolerance: Tolerance
    seconds: float
    built: bool = True


def export_detector(
    detector: Detector,
    row: Format,
    path: Path,
    settings: ExportSettings,
    *,
    real_images: Sequence[Tensor] = (),
    suppress: Suppress | None = None,
    device: torch.device | None = None,
) -> ExportedFile:
    """Write `detector` to `path` in format `row`, after the file was run and agreed with it.

    `detector` is not changed; its batch norms are folded in the file. File and detector are compared on noise and on
    `real_images` (batches [B, 3, H, W] float32 RGB 0–1 that the file takes). With ``settings.nms``, first the same network
    without NMS is compared, and then the detections of the file with those that `suppress` makes from the rows. A format
    that is bound to a kind of device is captured on `device`; the others are captured on the processor. A file that was at
    `path` is replaced only on success. Raises `ExportError`.
    """
    started = time.perf_counter()
    require_packages(row, settings.simplify)
    check_settings(row, settings)
    _check(detector, settings, suppress)
    settings = settings.giving(output_layout(detector, row, settings.nms is not None), settings.nms)
    notes: tuple[str, ...] = ()
    if settings.simplify and row.simplifier is None:
        notes = (f"--simplify does nothing for {row.name}: there is no graph to simplify.",)
    place = device if row.bound and device is not None else torch.device("cpu")
    tolerance = Tolerance.float16(settings.size) if settings.half else Tolerance.float32(settings.size)
    with temporary_folder() as folder:
        draft = _Draft(detector, row, Path(folder), path.name, place)
        try:
            written, found = _compared(draft, settings, tolerance, real_images, suppress)
        except SlimyoloError:
            raise
        except Exception as error:  # converters and runtimes raise many kinds; the user gets one kind of message
            raise _failed(row, error) from error
        _check_found(row, found, tolerance)
        _move(draft.path, path)
    if row.runtime is not None and row.runtime.program:
        remember_own_file(read_user_file(row.file_in(path), "exported model"))
    shapes = _shapes(detector, settings)
    return ExportedFile(
        format=row.name,
        path=path,
        bytes=_bytes(path),
        input_shape=shapes[0],
        output_shape=shapes[1],
        layout=settings.layout,
        suppression=detector.suppression,
        details=written.details,
        notes=(*notes, *written.notes),
        unchecked=written.unchecked,
        checker=checker_version(row),
        random=found.get("random"),
        real=found.get("real"),
        suppressed=found.get("suppressed"),
        tolerance=tolerance,
        seconds=time.perf_counter() - started,
        built=written.built,
    )


class _Draft:
    """The file in the temporary folder, before it is moved to its place."""

    def __init__(self, detector: Detector, row: Format, folder: Path, name: str, place: torch.device) -> None:
        self._row, self._place, self._folder = row, place, folder
        self.model = copy.deepcopy(detector).to(place).float().eval()
        self._fused = self.model.fused().requires_grad_(False)
        self.path = folder / name

    def write(self, settings: ExportSettings) -> Written:
        return self._row.write(self._fused, self.path, settings)

    def opened(self) -> ExportedModel | None:
        """The file, opened as its users will open it, with its metadata. None when nothing on this machine can open it."""
        runtime = self._row.runtime
        return (
            None if runtime is None else open_exported(self.path, runtime=runtime, device=self._place, trust_code=True)
        )

    def move_aside(self) -> None:
        """Move the written file to another folder. It may still be open."""
        (self._folder / "rows").mkdir()
        self.path.rename(self._folder / "rows" / self.path.name)


def _compared(
    draft: _Draft,
    settings: ExportSettings,
    tolerance: Tolerance,
    real_images: Sequence[Tensor],
    suppress: Suppress | None,
) -> tuple[Written, dict[str, Agreement]]:
    """Write the file and compare it. A file whose output is detections is first written, and compared, without that step."""
    noise = random_images(settings, int(draft.model.stride.max()))
    chosen = settings.layout == "detections"
    written = draft.write(settings.giving("rows") if chosen else settings)
    rows = draft.opened()
    found = {}
    if rows is not None:
        found["random"] = agreement(draft.model, rows, noise, tolerance.from_score)
        if real_images:
            found["real"] = agreement(draft.model, rows, real_images, tolerance.from_score)
    if chosen:
        draft.move_aside()
        written = draft.write(settings)
        detections = draft.opened()
        if settings.nms is None:
            suppress = partial(_top_of_each, layout=draft.model.rows, max_det=settings.max_det)
        if rows is not None and detections is not None and suppress is not None:
            found["suppressed"] = detections_agreement(
                suppress,
                rows,
                detections.output,
                [*noise, *real_images],
                layout=draft.model.rows,
                tolerance=tolerance,
                conf=0.0 if settings.nms is None else settings.nms.conf,
            )
    return written, found


def _top_of_each(rows: Tensor, layout: RowLayout, max_det: int) -> Sequence[Tensor]:
    """The detections of a one-to-one head for each image, without the rows of zeros that fill the output."""
    return [found[found[:, 4] > 0] for found in top_detections(rows, layout, max_det)]


def _check_found(row: Format, found: Mapping[str, Agreement], tolerance: Tolerance) -> None:
    for kind, one in found.items():
        if not one.within(tolerance):
            images = (
                f"{counted(one.images, 'image')}, in the choice of detections"
                if kind == "suppressed"
                else f"{counted(one.images, f'{kind} image')}"
            )
            raise ExportError(
                f"{row.name}: the file disagrees with the model on {images}: boxes by {one.boxes_px:.3g} px "
                f"(allowed {tolerance.boxes_px:.3g}), scores by {one.scores:.3g} (allowed {tolerance.scores:.3g}). Nothing "
                "was written. Try without --simplify or --half, or with another --opset. If this does not help, please report "
                "the model."
            )


def _move(draft: Path, path: Path) -> None:
    if draft.is_dir():
        with atomic_folder(path) as target:
            shutil.copytree(draft, target, dirs_exist_ok=True)
        return
    with draft.open("rb") as source, atomic_file(path) as file:
        shutil.copyfileobj(source, file)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file())


def _check(detector: Detector, settings: ExportSettings, suppress: Suppress | None) -> None:
    if settings.nms is not None and suppress is None:
        raise ExportError("A file with NMS inside is compared with NMS outside: give suppress=.")
    if settings.nms is not None and detector.suppression == "none":
        raise ExportError(
            f"--nms: {detector.family.title} gives each object one row, so there is nothing to suppress. Leave --nms out: the "
            "file gives detections anyway. Or take the branch of its head that needs NMS: add --one2many."
        )
    stride = int(detector.stride.max())
    height, width = settings.size
    if height % stride or width % stride:
        nearest = [max(round(side / stride), 1) * stride for side in settings.size]
        raise ExportError(
            f"--imgsz {height} {width}: the sides of images for this model must be multiples of {stride}. "
            f"Use --imgsz {nearest[0]} {nearest[1]}."
        )


def _shapes(detector: Detector, settings: ExportSettings) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    """The shapes of (input, output) of the file. Names stand for sizes that are free."""
    height, width = settings.size
    free = settings.dynamic
    taken: tuple[int | str, ...] = ("batch", 3, "height", "width") if free else (settings.batch, 3, height, width)
    if settings.layout == "detections":
        return taken, (taken[0], settings.max_det if settings.nms is None else settings.nms.max_det, 6)
    cells = sum((height // int(stride)) * (width // int(stride)) for stride in detector.stride)
    sides = ("rows" if free else cells * detector.rows_per_cell, detector.rows.columns)
    return taken, (taken[0], *(sides if settings.layout == "rows" else sides[::-1]))


def _failed(row: Format, error: Exception) -> ExportError:
    """The error for a failed export, in a sentence; it names the module of the network in which it failed, if it was in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    place = place_of(None, error)
    place = replace(place, path=re.sub(r"^(detector\.)+", "", place.path))  # of the wrappers around the detector
    where = f" {place}" if place.path else ""
    if depends_on_values(error):
        return ExportError(
            f"{row.name}: the export failed and nothing was written. What the network computes{where} depends on values of the "
            "input, but a file is a fixed list of operations: move this decision out of forward."
        )
    return ExportError(
        f"{row.name}: the export failed and nothing was written. {type(error).__name__}{where}: "
        f"{lines[0][:LONGEST_REASON] if lines else 'no message'}"
    )
