"""The files that ``slimyolo bench`` runs: each checkpoint is exported once for each runtime, in float and in INT8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from slimyolo import __version__
from slimyolo.errors import ConfigError
from slimyolo.exporting import (
    ExportSettings,
    detector_metadata,
    export_detector,
    find_runtime,
    quantised_format,
    timed_format,
)
from slimyolo.models import Detector
from slimyolo.tasks.export.quantising import Calibration, quantise_file, tell_quantised
from slimyolo.tasks.measure.bench_config import BenchConfig

__all__ = ["Exports"]


class Exports:
    """Makes the files that are timed, each one once, in `folder`. `given` are files that exist already, by (path, runtime)."""

    def __init__(self, folder: Path, config: BenchConfig, given: Mapping[tuple[Path, str], Path]) -> None:
        self._folder, self._config, self._given = folder, config, given
        self._made: dict[tuple[Path, str], Path] = {}

    def any_file(self) -> Path | None:
        """A file that was made, or else the first that was given; None when there is none."""
        return next(iter(self._made.values()), next(iter(self._config.weights), None))

    def floating(self, path: Path, detector: Detector | None, runtime: str) -> Path:
        """The file of a checkpoint for `runtime`. An exported file is returned unchanged."""
        if detector is None:
            return path
        if (path, runtime) in self._given:
            return self._given[path, runtime]
        row, config = timed_format(find_runtime(runtime)), self._config
        key = (path, row.name)
        if key not in self._made:
            target = self._folder / f"{len(self._made)}" / f"{path.stem}{row.ending}"
            target.parent.mkdir()
            settings = ExportSettings(
                size=config.imgsz,
                batch=config.batch,
                metadata=replace(detector_metadata(detector, config.imgsz, __version__), batch=config.batch),
            )
            self._made[key] = export_detector(detector, row, target, settings).path
        return self._made[key]

    def quantised(self, path: Path, detector: Detector | None, runtime: str) -> Path | str:
        """The INT8 file of a checkpoint for `runtime`, or a text that says why there is none."""
        if detector is None:
            return "an exported file is timed without changes: leave --precision out, or give the checkpoint"
        try:
            row = quantised_format(runtime)
        except ConfigError as error:
            return str(error)
        config = self._config
        if config.data is None:
            return "its ranges come from images: add --data YAML"
        key = (path, f"int8 {runtime}")
        if key not in self._made:
            source = self.floating(path, detector, runtime)
            target = self._folder / f"{len(self._made)}" / f"{path.stem}{row.suffix}"
            file, change = quantise_file(
                detector,
                source,
                target,
                row,
                Calibration(
                    data=config.data,
                    size=config.imgsz,
                    batch=config.batch,
                    images=config.calibration_images,
                ),
            )
            tell_quantised(file, change)
            self._made[key] = file.path
        return self._made[key]
