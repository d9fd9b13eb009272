"""The terminal: a line that is updated during an epoch, and a line that stays for each finished epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from slimyolo.sparsity import SparsityStatus
from slimyolo.training.events import BatchReport, EpochReport, RunReport

__all__ = ["RichProgressObserver"]

_REFRESH_SECONDS = 0.5  # reading a loss waits for the device, so it is not read at every batch
_PLAIN_SECONDS = 30.0


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
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[facts]}"))
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
        losses = _losses({name: float(value) for name, value in report.losses.items()})
        label = f"epoch {progress.epoch + 1}/{progress.epochs}"
        facts = f"{speed:.1f} img/s  {losses}  {self._left(progress.iteration + 1)} left{_zeros(report.sparsity())}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=progress.step + 1, description=label, facts=facts)
        else:
            self._say(f"{label}  batch {progress.step + 1}/{progress.steps_per_epoch}  {facts}")

    def epoch_done(self, report: EpochReport) -> None:
        """Print the line of an epoch, which stays."""
        metrics = "  ".join(
            f"{label} {report.metrics[key]:.4f}"
            for label, key in (("mAP50", "metrics/mAP_0.5"), ("mAP50-95", "metrics/mAP_0.5:0.95"))
            if key in report.metrics
        )
        speed = report.images / max(report.train_seconds, 1e-9)
        facts = [f"epoch {report.epoch + 1}/{report.progress.epochs}", f"{speed:.1f} img/s", _losses(report.losses)]
        if metrics:
            facts.append(metrics + (" *best" if report.is_best else ""))
        facts.append(f"{self._left(report.progress.iteration + 1)} left{_zeros(report.sparsity)}")
        self._say("  ".join(facts))
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


def _losses(losses: Mapping[str, float]) -> str:
    return " ".join(f"{name.removesuffix('_loss')} {value:.4f}" for name, value in losses.items())


def _zeros(status: SparsityStatus) -> str:
    if not status.channels:
        return ""
    wanted = f" of {status.target_share:.1%} wanted" if status.target_share is not None else ""
    return f"  zero {status.zero_channels}/{status.channels} ({status.share:.1%}{wanted})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
