"""``slimyolo predict``: pictures in, detections, pictures and files out."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimyolo.errors import ConfigError
from slimyolo.inference import (
    BrokenPicture,
    DetectionSettings,
    FreeNames,
    PredictedPicture,
    VideoFile,
    crop_detection,
    csv_text,
    detection_rows,
    draw_detections,
    predict_pictures,
    safe_file_name,
    write_labels,
    write_picture,
    yolo_lines,
)
from slimyolo.models import Detector
from slimyolo.storage import create_run_folder, write_json, write_text
from slimyolo.tasks.configs import PredictConfig
from slimyolo.tasks.opening import fixed_size, open_model, run_device

__all__ = ["PredictRecord", "predict"]


@dataclass(frozen=True)
class PredictRecord:
    """What ``slimyolo predict`` did. Times are means per picture; `broken` holds (picture, reason)."""

    folder: Path
    images: int
    detections: int
    broken: tuple[tuple[str, str], ...]
    prepare_ms: float
    network_ms: float
    nms_ms: float


def predict(config: PredictConfig) -> PredictRecord:
    """Detect in every picture of ``config.source``, print a line each, write what the settings ask for.

    A picture that cannot be read is reported and does not stop the rest. Raises `SlimyoloError` when the checkpoint
    cannot be read, nothing is found, or the run folder cannot be written.
    """
    model = open_model(config.weights, config.class_names, config.device)
    device = run_device(model, config.device, config.half)
    _check_classes(config.classes, model.names)
    size = fixed_size(model, config.imgsz)
    settings = DetectionSettings(
        size or config.imgsz, config.conf, config.iou, config.max_det, config.classes or None, config.agnostic_nms,
        config.half, fixed=size is not None,
    )  # fmt: skip
    detector = model.fused().to(device) if isinstance(model, Detector) else model
    if config.half and isinstance(detector, Detector):
        detector = detector.half()
    with _Output(config, detector.names) as output:
        for outcome in predict_pictures(detector, config.source, settings, vid_stride=config.vid_stride):
            if isinstance(outcome, BrokenPicture):
                output.report_broken(outcome)
            else:
                output.take(outcome)
    return output.finish()


def _check_classes(classes: tuple[int, ...], names: tuple[str, ...]) -> None:
    unknown = [number for number in classes if number >= len(names)]
    if unknown:
        known = ", ".join(f"{number} {name}" for number, name in enumerate(names[:20]))
        raise ConfigError(
            f"--classes: the model has no class {unknown[0]}. It has {known}{' …' if len(names) > 20 else ''}."
        )


@dataclass
class _Output:
    """What becomes of each picture; the run folder is made at the first one, so that a wrong source leaves none."""

    config: PredictConfig
    names: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    times: list[tuple[float, float, float]] = field(default_factory=list)
    _folder: Path | None = None

    def __enter__(self) -> _Output:
        self._files = ExitStack()
        self._videos: dict[str, VideoFile] = {}
        self._stems = FreeNames()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def folder(self) -> Path:
        if self._folder is None:
            self._folder = create_run_folder(self.config.project, self.config.name, self.config.exist_ok)
        return self._folder

    def report_broken(self, picture: BrokenPicture) -> None:
        self.broken.append((picture.name, picture.reason))
        self.entries.append({"image": picture.name, "error": picture.reason})
        print(f"{picture.name}: skipped. {picture.reason}", file=sys.stderr)

    def take(self, outcome: PredictedPicture) -> None:
        picture, detections, times = outcome.picture, outcome.detections, outcome.times
        stem = self._stems.stem(picture)
        numbered = stem if picture.video_frame is None else f"{stem}_{picture.video_frame}"
        self.times.append((times.prepare_ms, times.network_ms, times.nms_ms))
        self._print(outcome)
        rows = detection_rows(picture, detections, self.names)
        self.rows += rows
        size = {"height": picture.image.shape[0], "width": picture.image.shape[1]}
        entry = {"image": str(picture.path or picture.name), "frame": picture.video_frame, **size}
        self.entries.append({**entry, "detections": [{**row, "image": None, "frame": None} for row in rows]})
        if self.config.save_txt and len(detections):
            lines = yolo_lines(detections, (size["height"], size["width"]), confidences=self.config.save_conf)
            write_labels(self.folder / "labels" / f"{numbered}.txt", lines)
        if self.config.save_crop:
            self._save_crops(outcome, numbered)
        if not self.config.nosave:
            self._save_drawing(outcome, stem)

    def finish(self) -> PredictRecord:
        if self.config.save_json:
            entries = [_without_repeats(entry) for entry in self.entries]
            write_json(self.folder / "detections.json", {"names": self.names, "images": entries})
        if self.config.save_csv:
            write_text(self.folder / "detections.csv", csv_text(self.rows))
        count = max(len(self.times), 1)
        means = [sum(column) / count for column in zip(*self.times, strict=True)] or [0.0, 0.0, 0.0]
        record = PredictRecord(
            self._folder or self.config.project, len(self.times), len(self.rows), tuple(self.broken), *means
        )
        print(
            f"{record.images} pictures, {record.detections} detections, {len(record.broken)} skipped; per picture "
            f"{means[0]:.1f} ms preparing, {means[1]:.1f} ms network, {means[2]:.1f} ms NMS."
        )
        if self._folder is not None:
            print(f"Written to {self._folder}")
        return record

    def _print(self, outcome: PredictedPicture) -> None:
        picture, detections = outcome.picture, outcome.detections
        counts = [(int((detections.classes == number).sum()), name) for number, name in enumerate(self.names)]
        found = ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing"
        place = "" if picture.video_frame is None else f" frame {picture.video_frame}"
        height, width = outcome.network_size
        print(f"{picture.path or picture.name}{place}: {found} ({width}x{height}, {outcome.times.network_ms:.1f} ms)")

    def _save_crops(self, outcome: PredictedPicture, stem: str) -> None:
        for number, (box, kind) in enumerate(zip(outcome.detections.boxes, outcome.detections.classes, strict=True), 1):
            folder = self.folder / "crops" / safe_file_name(self.names[int(kind)])
            write_picture(folder / f"{stem}_{number}.jpg", crop_detection(outcome.picture.image, box.tolist()))

    def _save_drawing(self, outcome: PredictedPicture, stem: str) -> None:
        picture = outcome.picture
        drawing = draw_detections(
            picture.image, outcome.detections, self.names, line_thickness=self.config.line_thickness,
            labels=not self.config.hide_labels, confidences=not self.config.hide_conf,
        )  # fmt: skip
        if picture.video_frame is None:
            write_picture(self.folder / f"{stem}{picture.path.suffix if picture.path else '.jpg'}", drawing)
            return
        if stem not in self._videos:
            self._videos[stem] = self._files.enter_context(VideoFile(self.folder / stem))
        self._videos[stem].add(drawing, picture.fps or 25.0)


def _without_repeats(entry: dict[str, Any]) -> dict[str, Any]:
    detections = entry.get("detections")
    if detections is None:
        return entry
    kept = [{key: value for key, value in row.items() if key not in ("image", "frame")} for row in detections]
    return {**entry, "detections": kept}
