"""Configuration of ``slimyolo report``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import OptionalPath

__all__ = ["ReportConfig"]


class ReportConfig(Config):
    """Settings of ``slimyolo report``: one page about finished runs, made from their records alone."""

    command: ClassVar[str] = "report"

    runs: tuple[Path, ...] = option(
        help="folders that compress, iterate or a single command wrote", positional=True, metavar="RUN …"
    )
    output: OptionalPath = option(
        None,
        "file to write the page to",
        names=("-o",),
        shown_default="report.html in the run folder; for several runs, in the current folder",
    )
    images: int = option(6, "number of validation images to show; a run keeps at most 8", ge=0, le=100)
    open: bool = option(False, "open the page in the browser")

    @property
    def page(self) -> Path:
        """The file that the page is written to."""
        if self.output is not None:
            return self.output
        return self.runs[0] / "report.html" if len(self.runs) == 1 else Path("report.html")

    @model_validator(mode="after")
    def _refuse_nothing(self) -> ReportConfig:
        if not self.runs:
            raise ConfigError("Give at least one run folder: slimyolo report runs/compress/exp.")
        if self.output is not None and self.output.is_dir():
            raise ConfigError(
                f"--output {self.output} is a folder: give the name of a file, such as {self.output}/report.html."
            )
        return self
