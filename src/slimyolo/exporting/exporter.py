"""Write, run, compare, and only then let the file appear."""

from __future__ import annotations

import copy
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slimyolo.errors import ExportError, SlimyoloError
from slimyolo.exporting.agreement import Agreement, Tolerance, agreement, random_images
from slimyolo.exporting.formats import Format, checker_version, require_packages
from slimyolo.exporting.settings import ExportSettings, RunOptions
from slimyolo.models import Detector
from slimyolo.storage import atomic_file

__all__ = ["ExportedFile", "export_detector"]


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written and agrees with the model.

    `input_shape` and `output_shape` hold names where the size is free. `random` and `real` are the largest differences
    on noise and on photographs (None: none were given); `checker` is what ran the file.
    """

    format: str
    path: Path
    bytes: int
    input_shape: tuple[int | str, ...]
    output_shape: tuple[int | str, ...]
    details: Mapping[str, str]
    notes: tuple[str, ...]
    checker: str
    random: Agreement
    real: Agreement | None
    tolerance: Tolerance
    seconds: float


def export_detector(
    detector: Detector,
    row: Format,
    path: Path,
    settings: ExportSettings,
    *,
    real_images: Sequence[Tensor] = (),
    device: torch.device | None = None,
) -> ExportedFile:
    """Write `detector` to `path` in format `row`, after the file was run and agreed with it.

    `detector` stays as it is; its batch norms are folded in the file. It is compared on noise, and on `real_images`
    (batches [B, 3, H, W] float32 RGB 0–1 that the file takes). `device` is where a bound format is captured; the others
    are captured on the processor. A file that was at `path` is replaced on success alone. Raises `ExportError`.
    """
    started = time.perf_counter()
    require_packages(row, settings.simplify)
    _check(detector, settings)
    notes: tuple[str, ...] = ()
    if settings.simplify and row.simplifier is None:
        notes = (f"--simplify does nothing for {row.name}: there is no graph to simplify.",)
    place = device if row.bound and device is not None else torch.device("cpu")
    model = copy.deepcopy(detector).to(place).float().eval()
    noise = random_images(settings, int(detector.stride.max()))
    tolerance = Tolerance.float32(settings.size)
    with tempfile.TemporaryDirectory(prefix="slimyolo-", ignore_cleanup_errors=True) as folder:
        draft = Path(folder) / f"draft{row.suffix}"
        try:
            written = row.write(model.fused().requires_grad_(False), draft, settings)
            runner = row.open(draft, RunOptions(device=place)).run
            random = agreement(model, runner, noise)
            real = agreement(model, runner, real_images) if real_images else None
        except SlimyoloError:
            raise
        except Exception as error:  # whatever converters and runtimes raise, the user gets one kind of message
            raise _failed(row, error) from error
        for kind, one in (("random", random), ("real", real)):
            if one is not None and not one.within(tolerance):
                raise _disagrees(row, kind, one, tolerance)
        with draft.open("rb") as source, atomic_file(path) as target:
            shutil.copyfileobj(source, target)
    shapes = _shapes(detector, settings)
    return ExportedFile(
        format=row.name, path=path, bytes=path.stat().st_size, input_shape=shapes[0], output_shape=shapes[1],
        details=written.details, notes=(*notes, *written.notes), checker=checker_version(row), random=random, real=real,
        tolerance=tolerance, seconds=time.perf_counter() - started,
    )  # fmt: skip


def _check(detector: Detector, settings: ExportSettings) -> None:
    stride = int(detector.stride.max())
    height, width = settings.size
    if height % stride or width % stride:
        nearest = [max(round(side / stride), 1) * stride for side in settings.size]
        raise ExportError(
            f"--imgsz {height} {width}: sides of this model's images are multiples of {stride}. "
            f"Nearest: --imgsz {nearest[0]} {nearest[1]}."
        )


def _shapes(detector: Detector, settings: ExportSettings) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    values = 5 + detector.nc
    if settings.dynamic:
        return ("batch", 3, "height", "width"), ("batch", "rows", values)
    height, width = settings.size
    cells = sum((height // int(stride)) * (width // int(stride)) for stride in detector.stride)
    rows = cells * int(detector.anchors.shape[1])
    return (settings.batch, 3, height, width), (settings.batch, rows, values)


def _failed(row: Format, error: Exception) -> ExportError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ExportError(
        f"{row.name}: the export failed and nothing was written. {type(error).__name__}: {lines[0] if lines else 'no message'}"
    )


def _disagrees(row: Format, kind: str, found: Agreement, allowed: Tolerance) -> ExportError:
    return ExportError(
        f"{row.name}: the file disagrees with the model on {found.images} {kind} images: boxes by {found.boxes_px:.3g} px "
        f"(allowed {allowed.boxes_px:.3g}), scores by {found.scores:.3g} (allowed {allowed.scores:.3g}). Nothing was "
        f"written. Try without --simplify or with another --opset; if it stays, please report the model."
    )
