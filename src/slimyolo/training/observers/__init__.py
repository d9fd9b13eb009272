"""Observers: results.csv, gammas.json, the terminal, TensorBoard, pictures, checkpoints. They do not change a run."""

from slimyolo.training.observers.checkpoints import CheckpointObserver
from slimyolo.training.observers.csv_file import CSV_COLUMNS, CsvObserver, csv_columns
from slimyolo.training.observers.first_batches import FirstBatchesObserver
from slimyolo.training.observers.gamma_file import GammaObserver
from slimyolo.training.observers.tensorboard import TensorBoardObserver
from slimyolo.training.observers.terminal import RichProgressObserver

__all__ = [
    "CSV_COLUMNS",
    "CheckpointObserver",
    "CsvObserver",
    "FirstBatchesObserver",
    "GammaObserver",
    "RichProgressObserver",
    "TensorBoardObserver",
    "csv_columns",
]
