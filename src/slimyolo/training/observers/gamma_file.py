"""gammas.json: the distribution of |γ| of the prunable channels after every epoch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.sparsity import SparsityStatus
from slimyolo.storage import RecordValue, open_record, write_text
from slimyolo.training.events import BatchReport, EpochReport, RunReport

__all__ = ["GAMMA_BINS", "GammaObserver", "gamma_counts"]

GAMMA_BINS = 50


class GammaObserver:
    """Writes the whole of `path` again after every epoch of a run with a sparsity method; writes nothing otherwise.

    The file holds ``edges`` (`GAMMA_BINS` + 1 values from 0 to a little above the largest |γ| after the first epoch) and
    ``epochs``, a list with these keys:

    | key | content |
    |---|---|
    | ``epoch`` | the epoch, from 0 |
    | ``zeros`` | number of channels at exactly zero |
    | ``counts``, ``above`` | numbers of the other channels between the edges, and above the last edge |
    | ``median`` | median of all |γ| |
    | ``share``, ``target_share`` | as in `SparsityStatus` |

    A resumed run keeps the epochs before it. Raises `StorageError` when the file cannot be written, or cannot be read by a
    resumed run.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._edges: list[float] = []
        self._epochs: list[dict[str, Any]] = []

    def started(self, report: RunReport) -> None:
        """Read the earlier epochs of a resumed run."""
        self._edges, self._epochs = [], []
        if report.first_epoch and self._path.exists():
            stored = open_record(self._path, "Move it away and resume again.")
            self._edges = list(stored["edges"].numbers())
            bins = len(self._edges) - 1
            if bins < 1:
                raise stored.refusal("edges: expected at least two numbers")
            self._epochs = [
                _stored_row(row, bins) for row in stored["epochs"].rows() if row["epoch"].whole() < report.first_epoch
            ]

    def batch_done(self, report: BatchReport) -> None:
        """Does nothing."""

    def epoch_done(self, report: EpochReport) -> None:
        """Add an epoch."""
        status = report.sparsity
        if not status.magnitudes.numel():
            return
        if not self._edges:
            top = math.ceil(max(float(status.magnitudes.max()), 0.1) * 1.1 * 10) / 10
            self._edges = [round(top * step / GAMMA_BINS, 6) for step in range(GAMMA_BINS + 1)]
        self._epochs.append({"epoch": report.epoch, **_row(status, self._edges)})
        write_text(self._path, json.dumps({"edges": self._edges, "epochs": self._epochs}) + "\n")

    def ended(self) -> None:
        """Does nothing: all is written."""


def gamma_counts(magnitudes: Tensor, edges: list[float]) -> tuple[int, list[int], int]:
    """(exact zeros, counts of the rest between `edges`, count above the last edge) of |γ| ``[channels]``."""
    positive = magnitudes[magnitudes > 0].double()
    bounds = torch.tensor(edges, dtype=torch.float64)
    places = torch.bucketize(positive, bounds, right=True) - 1  # a value on an edge belongs to the bin above it
    counts = torch.bincount(places, minlength=len(edges))
    return int((magnitudes == 0).sum()), [int(n) for n in counts[: len(edges) - 1]], int(counts[len(edges) - 1 :].sum())


def _stored_row(row: RecordValue, bins: int) -> dict[str, Any]:
    return {
        "epoch": row["epoch"].whole(),
        "zeros": row["zeros"].whole(),
        "counts": list(row["counts"].wholes(bins)),
        "above": row["above"].whole(),
        "median": row["median"].amount(),
        "share": row["share"].share(),
        "target_share": row.optional("target_share", RecordValue.share),
    }


def _row(status: SparsityStatus, edges: list[float]) -> dict[str, Any]:
    zeros, counts, above = gamma_counts(status.magnitudes, edges)
    return {
        "zeros": zeros,
        "counts": counts,
        "above": above,
        "median": round(status.quantiles((0.5,))[0], 6),
        "share": round(status.share, 6),
        "target_share": status.target_share,
    }
