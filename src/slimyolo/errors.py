"""All exceptions that slimyolo raises on purpose.

::

    SlimyoloError
    ├── ConfigError              an option, a recipe or a YAML key is wrong
    ├── DataError                a dataset, an image or a label is wrong
    ├── ModelError               an architecture, a widths table or a tensor does not fit
    ├── CheckpointError          a file is not a checkpoint, or is damaged
    │   └── UnsafeCheckpointError    a file holds something that would have to be executed
    ├── PruningError             a cut cannot be made as asked
    │   └── UnknownOperationError    the graph holds an operation without a pruning rule
    ├── TrainingError            training cannot start or go on (no memory, resume mismatch)
    │   └── LossNotFiniteError       the loss of a batch became NaN or infinite
    ├── ExportError              a format could not be written or does not agree with the model
    └── StorageError             a folder or file cannot be written

A message says what was got, what was expected and what to type next. The command line prints only the message and
exits with status 2. A traceback of any other exception is a defect of slimyolo.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ExportError",
    "LossNotFiniteError",
    "ModelError",
    "PruningError",
    "SlimyoloError",
    "StorageError",
    "TrainingError",
    "UnknownOperationError",
    "UnsafeCheckpointError",
    "is_out_of_memory",
    "nearest_name_hint",
    "shown_value",
]


class SlimyoloError(Exception):
    """Root of all errors that slimyolo raises on purpose."""


class ConfigError(SlimyoloError):
    """An option, a recipe or a YAML key is wrong."""


class DataError(SlimyoloError):
    """A dataset, an image or a label is wrong."""


class ModelError(SlimyoloError):
    """An architecture, a widths table or a tensor does not fit."""


class CheckpointError(SlimyoloError):
    """A file is not a checkpoint, or is damaged."""


class UnsafeCheckpointError(CheckpointError):
    """A file holds something that would have to be executed to be read."""


class PruningError(SlimyoloError):
    """A cut cannot be made as asked."""


class UnknownOperationError(PruningError):
    """The graph holds an operation without a pruning rule."""


class TrainingError(SlimyoloError):
    """Training cannot start or go on."""


class LossNotFiniteError(TrainingError):
    """The loss of a batch became NaN or infinite; `epoch` and `step` (from 0) say which batch."""

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch, self.step = epoch, step


class ExportError(SlimyoloError):
    """A format could not be written, or does not agree with the model."""


class StorageError(SlimyoloError):
    """A folder or file cannot be written or read."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory, as Python, torch and the system's loader of libraries say it."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory", "bad_alloc"),
    "failed to map segment from shared object",
)


def nearest_name_hint(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the known name nearest to `name`, or an empty string when none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def shown_value(value: object) -> str:
    """`value` as a message shows it: its ``repr``, shortened, because a value from a file may have any size."""
    return _SHORT.repr(value)


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 4, 200, 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = _SHORT.maxfrozenset = 12
_SHORT.maxlong = 80
