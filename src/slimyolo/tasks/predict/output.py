"""Writes the output of ``slimyolo predict`` for each picture: log lines, pictures, videos, labels, crops, tables."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.inference import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    BrokenPicture,
    FreeNames,
    PictureWindow,
    PredictedPicture,
    VideoFile,
    crop_detection,
    csv_text,
    detection_rows,
    draw_detections,
    safe_file_name,
    without_password,
    write_labels,
    write_picture,
    yolo_lines,
)
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.storage import create_run_folder, write_json, write_text
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.earlier_files import EarlierFiles

__all__ = ["PredictOutput", "PredictRecord"]

log = logging.getLogger("slimyolo")

LONGEST_GAP_S = 2.0  # a longer gap between two frames of a live stream is shortened to this in the video
STAGES = ("read", "prepare", "network", "nms", "write")


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class PredictRecord:
    """What ``slimyolo predict`` did. Times are means per picture; `broken` holds (picture, reason).

    The time of reading includes waiting for a camera; that of writing includes drawing and showing.
    """

    folder: Path
    images: int
    detections: int
    broken: tuple[tuple[str, str], ...]
    read_ms: float
    prepare_ms: float
    network_ms: float
    nms_ms: float
    write_ms: float
    interrupted: bool = False


@dataclass(kw_only=True)
class PredictOutput:
    """Takes one outcome after another. It creates the run folder with the first file, so a wrong source leaves no folder.

    `files` are the pictures and videos of the source, as far as they are files.
    """

    config: PredictConfig
    names: tuple[str, ...]
    files: tuple[Path, ...] = ()
    window: PictureWindow | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    _images: int = 0
    _detections: int = 0
    _stills: int = 0
    _total_ms: list[float] = field(default_factory=lambda: [0.0] * len(STAGES))
    _last_frames: dict[str, int] = field(default_factory=dict)
    _folder: Path | None = None

    def __enter__(self) -> PredictOutput:
        self._files = ExitStack()
        self._videos: dict[str, VideoFile] = {}
        self._stems = FreeNames(path for path in self.files if path.suffix.lower() not in VIDEO_SUFFIXES)
        self._sources = frozenset(path.absolute() for path in self.files)
        self._earlier: EarlierFiles | None = None
        if self.config.exist_ok and self._writes:
            self._earlier = EarlierFiles(self.config.project / self.config.name, keep=self._sources)
            self._earlier.remove_tables()
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def folder(self) -> Path:
        """The run folder, which is created when it is first used."""
        if self._folder is None:
            self._folder = create_run_folder(self.config.project, self.config.name, self.config.exist_ok)
        return self._folder

    @property
    def _writes(self) -> bool:
        """Whether any file is asked for."""
        asked = self.config
        return not asked.nosave or asked.save_txt or asked.save_crop or asked.save_json or asked.save_csv

    @property
    def closed(self) -> bool:
        """Whether the user closed the window, which ends the command."""
        return self.window is not None and self.window.closed

    def report_broken(self, picture: BrokenPicture) -> None:
        """Log that a picture could not be read, and keep this for the record."""
        self.broken.append((picture.name, picture.reason))
        self.entries.append({"image": picture.name, "error": picture.reason})
        log.warning("%s: skipped. %s", picture.name, picture.reason)

    def take(self, outcome: PredictedPicture, since_last_ms: float) -> None:
        """Log, write and show one picture. `since_last_ms` is the time of reading and detecting together."""
        started = time.perf_counter()
        picture, detections, times = outcome.picture, outcome.detections, outcome.times
        stem = self._stems.stem(picture)
        numbered = stem if picture.video_frame is None else f"{stem}_{picture.video_frame}"
        self._say(outcome)
        self._remember(outcome)
        if self._earlier is not None and picture.video_frame in (None, 0):
            self._earlier.remove(stem)
        if self.config.save_txt and len(detections):
            lines = yolo_lines(detections, picture.image.shape[:2], confidences=self.config.save_conf)
            write_labels(self.folder / "labels" / f"{numbered}.txt", lines)
        if self.config.save_crop:
            self._save_crops(outcome, numbered)
        if not self.config.nosave or self.window is not None:
            self._save_drawing(outcome, stem)
        detecting = (times.prepare_ms, times.network_ms, times.nms_ms)
        spent = (since_last_ms - sum(detecting), *detecting, (time.perf_counter() - started) * 1e3)
        self._total_ms = [total + one for total, one in zip(self._total_ms, spent, strict=True)]

    def finish(self, interrupted: bool = False) -> PredictRecord:
        """Write the tables, log a summary, and wait until the window is closed."""
        self._files.close()
        means = [total / max(self._images, 1) for total in self._total_ms]
        if self.config.save_json:
            write_json(self.folder / "detections.json", self._document(means))
        if self.config.save_csv:
            write_text(self.folder / "detections.csv", csv_text(self.rows))
        record = PredictRecord(
            folder=self._folder or self.config.project,
            images=self._images,
            detections=self._detections,
            broken=tuple(self.broken),
            read_ms=means[0],
            prepare_ms=means[1],
            network_ms=means[2],
            nms_ms=means[3],
            write_ms=means[4],
            interrupted=interrupted,
        )
        speeds = ", ".join(f"{stage} {mean:.1f}" for stage, mean in zip(STAGES, means, strict=True))
        log.info(
            "%s, %s, %d skipped; ms per picture: %s",
            counted(record.images, "picture"),
            counted(record.detections, "detection"),
            len(record.broken),
            speeds,
        )
        if self._folder is not None:
            log.info("Written to %s", self._folder)
        give_json(self.config.json_file, self._document(means))
        if self.window is not None and self._stills and not self.window.closed:
            self.window.wait()  # otherwise the last picture would disappear at once
        return record

    def _say(self, outcome: PredictedPicture) -> None:
        picture, detections = outcome.picture, outcome.detections
        counts = [(int((detections.classes == number).sum()), name) for number, name in enumerate(self.names)]
        found = ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing"
        place = "" if picture.video_frame is None else f" frame {picture.video_frame}"
        height, width = outcome.network_size
        size = f"{height}x{width}" if height == width else f"{height}x{width} height x width"
        log.info("%s%s: %s (%s, %.1f ms)", picture.path or picture.name, place, found, size, outcome.times.network_ms)

    def _remember(self, outcome: PredictedPicture) -> None:
        """Count, and keep only what the tables need: a camera sends pictures without end."""
        picture = outcome.picture
        self._images += 1
        self._detections += len(outcome.detections)
        self._stills += picture.video_frame is None
        rows = detection_rows(picture, outcome.detections, self.names)
        if self.config.save_csv:
            self.rows += rows
        if self.config.save_json or self.config.json_file is not None:
            kept = [{key: value for key, value in row.items() if key not in ("image", "frame")} for row in rows]
            size = {"height": picture.image.shape[0], "width": picture.image.shape[1]}
            entry = {"image": str(picture.path or picture.name), "frame": picture.video_frame, **size}
            self.entries.append({**entry, "detections": kept})

    def _document(self, means: list[float]) -> dict[str, Any]:
        speed = {stage: round(mean, 3) for stage, mean in zip(STAGES, means, strict=True)}
        return {
            "names": self.names,
            "weights": str(self.config.weights),
            "source": without_password(self.config.source),
            "speed_ms": speed,
            "images": self.entries,
        }

    def _save_crops(self, outcome: PredictedPicture, stem: str) -> None:
        for number, (box, kind) in enumerate(zip(outcome.detections.boxes, outcome.detections.classes, strict=True), 1):
            folder = self.folder / "crops" / safe_file_name(self.names[int(kind)])
            write_picture(folder / f"{stem}_{number}.jpg", crop_detection(outcome.picture.image, box.tolist()))

    def _save_drawing(self, outcome: PredictedPicture, stem: str) -> None:
        picture = outcome.picture
        drawing = draw_detections(
            picture.image,
            outcome.detections,
            self.names,
            line_thickness=self.config.line_thickness,
            labels=not self.config.hide_labels,
            confidences=not self.config.hide_conf,
        )
        if self.window is not None:
            self.window.show(drawing)
        if self.config.nosave:
            return
        if picture.video_frame is None:
            suffix = picture.path.suffix if picture.path is not None else ""
            path = self.folder / f"{stem}{suffix if suffix.lower() in PICTURE_SUFFIXES else '.jpg'}"
            if path.absolute() in self._sources:
                raise StorageError(
                    f"The drawing of {picture.path} would replace the picture {path} itself. Choose another --project or "
                    "--name, or use --nosave."
                )
            write_picture(path, drawing)
            return
        if stem not in self._videos:
            self._videos[stem] = self._files.enter_context(VideoFile(self.folder / stem))
        fps = picture.fps or 25.0
        # a live stream sends frames while the detector is busy: repeating the picture keeps the video in real time
        passed = (picture.video_frame - self._last_frames.get(stem, picture.video_frame)) // self.config.vid_stride
        self._last_frames[stem] = picture.video_frame
        for _ in range(min(max(passed, 1), round(LONGEST_GAP_S * fps) or 1)):
            self._videos[stem].add(drawing, fps)
