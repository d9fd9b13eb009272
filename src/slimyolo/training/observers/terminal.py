"""The terminal: a line that is updated during an epoch, and a line that stays for each finished epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from slimyolo.sparsity import SparsityStatus
from slimyolo.training.events import BatchReport, EpochReport, RunReport

__all__ = ["RichProgressObserver"]

_REFRESH_SECONDS = 0.5  # reading a loss waits for the device, so it is not read at every batch
_PLAIN_SECONDS = 30.0
_BAR, _MARGIN = 20, 3  # columns of the bar, and of the spaces around it
_SHORTENED = ("zeros", "speed", "losses", "zeros", "losses", "zeros", "left")
"""What is shortened first when a line is wider than the terminal."""


class RichProgressObserver:
    """Shows epoch, images/s, losses, time left and channels at zero; as plain lines if the output is not a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._run = RunReport(0, 0, 0)
        self._began = self._epoch_began = self._shown = 0.0
        self._images = 0

    def started(self, report: RunReport) -> None:
        """Show the first line."""
        self._run, self._began = report, time.perf_counter()
        self._begin_epoch()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=_BAR), TextColumn("{task.fields[facts]}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=report.steps_per_epoch, facts="")
            self._bar.start()

    def batch_done(self, report: BatchReport) -> None:
        """Refresh the line if some time has passed."""
        self._images += report.images
        now = time.perf_counter()
        pause = _REFRESH_SECONDS if self._bar is not None else _PLAIN_SECONDS
        if now - self._shown < pause:
            return
        self._shown = now
        progress = report.progress
        speed = self._images / max(now - self._epoch_began, 1e-9)
        losses = {name: float(value) for name, value in report.losses.items()}
        label = f"epoch {progress.epoch + 1}/{progress.epochs}"
        facts = _Facts(
            speed=f"{speed:.1f} img/s",
            losses=losses,
            left=f"{self._left(progress.iteration + 1)} left",
            status=report.sparsity(),
        )
        if self._bar is not None and self._task is not None:
            beside = len(label) + _BAR + _MARGIN
            words = facts.fitting(self._console.width - beside)
            self._bar.update(self._task, completed=progress.step + 1, description=label, facts=words)
        else:
            before = f"{label}  batch {progress.step + 1}/{progress.steps_per_epoch}"
            self._say(replace(facts, before=before).fitting(None))

    def epoch_done(self, report: EpochReport) -> None:
        """Print the line of an epoch, which stays."""
        metrics = "  ".join(
            f"{label} {report.metrics[key]:.4f}"
            for label, key in (("mAP50", "metrics/mAP_0.5"), ("mAP50-95", "metrics/mAP_0.5:0.95"))
            if key in report.metrics
        )
        speed = report.images / max(report.train_seconds, 1e-9)
        facts = _Facts(
            before=f"epoch {report.epoch + 1}/{report.progress.epochs}",
            speed=f"{speed:.1f} img/s",
            losses=report.losses,
            metrics=metrics + (" *best" if metrics and report.is_best else ""),
            left=f"{self._left(report.progress.iteration + 1)} left",
            status=report.sparsity,
        )
        self._say(facts.fitting(self._console.width if self._console.is_terminal else None))
        self._begin_epoch()

    def ended(self) -> None:
        """Stop the updated line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _begin_epoch(self) -> None:
        self._images, self._epoch_began, self._shown = 0, time.perf_counter(), time.perf_counter()

    def _left(self, iterations: int) -> str:
        first = self._run.first_epoch * self._run.steps_per_epoch
        total = self._run.epochs * self._run.steps_per_epoch
        passed = time.perf_counter() - self._began
        return _duration(passed / max(iterations - first, 1) * (total - iterations))

    def _say(self, line: str) -> None:
        console = self._bar.console if self._bar is not None else self._console
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """The parts of a line. `before` and `metrics` may be empty; `losses` are by name."""

    speed: str
    losses: Mapping[str, float]
    left: str
    status: SparsityStatus
    before: str = ""
    metrics: str = ""

    def fitting(self, width: int | None) -> str:
        """The line, with as many facts as fit into `width` columns; None: all of them, as for a log file."""
        shown = {
            "before": [self.before],
            "speed": [self.speed, ""],
            "losses": [_losses(self.losses), f"loss {sum(self.losses.values()):.3f}", ""],
            "metrics": [self.metrics],
            "left": [self.left, ""],
            "zeros": [*_zeros(self.status), ""],
        }
        for shortened in ("", *_SHORTENED):
            if shortened and len(shown[shortened]) > 1:
                shown[shortened].pop(0)
            line = "  ".join(words[0] for words in shown.values() if words[0])
            if width is None or len(line) <= width:
                break
        return line


def _losses(losses: Mapping[str, float]) -> str:
    return " ".join(f"{name.removesuffix('_loss')} {value:.4f}" for name, value in losses.items())


def _zeros(status: SparsityStatus) -> tuple[str, ...]:
    """The channels at zero in words, from the longest to the shortest; empty when no channel is counted."""
    if not status.channels:
        return ()
    wanted = f" of {status.target_share:.1%} wanted" if status.target_share is not None else ""
    count = f"zero {status.zero_channels}/{status.channels}"
    return f"{count} ({status.share:.1%}{wanted})", f"zero {status.share:.1%}{wanted}", f"zero {status.share:.1%}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
