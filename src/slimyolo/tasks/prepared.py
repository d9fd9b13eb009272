"""What is done between the settings of a command and its task. The command line and the Python commands both pass here."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from slimyolo.tasks.common.config import Config

__all__ = ["prepared"]

log = logging.getLogger("slimyolo")

C = TypeVar("C", bound=Config)


@contextmanager
def prepared(settings: C) -> Iterator[C]:
    """Inside the block PyTorch computes with as many threads as `settings` ask for (``--cpu-threads``), then as before.

    Gives `settings` with the image size of their weights, when none was asked for. The number of threads is that of the whole
    process, so two tasks that run at the same time in one process should not ask for different ones.
    """
    plain: dict[str, Any] = dict(settings)
    with _computing_with(plain.get("cpu_threads"), computes="cpu_threads" in plain):
        if "imgsz" not in plain or "imgsz" in settings.model_fields_set:
            yield settings
            return
        from slimyolo.tasks.common.stored_size import with_stored_size  # these import torch, as the task does
        from slimyolo.tasks.common.weights import reading_once

        with reading_once():
            yield with_stored_size(settings)


@contextmanager
def _computing_with(asked: int | None, *, computes: bool) -> Iterator[None]:
    """`asked` None: as many threads as torch chooses. Torch is not imported when nothing has to be set.

    With ``OMP_DYNAMIC=true`` OpenMP starts fewer threads than were asked for when the machine is busy. The gradient of a
    convolution's weights (oneDNN) waits for all of them, for ever (``docs/decisions/speed.md``). One thread waits for nobody.
    """
    fewer = os.environ.get("OMP_DYNAMIC", "").strip().lower() == "true"
    if not computes or (asked is None and not fewer):
        yield
        return
    import torch  # not at the top: commands that compute nothing answer at once

    before = torch.get_num_threads()
    threads = before if asked is None else asked
    if fewer and threads > 1:
        log.warning(
            "OMP_DYNAMIC=true: PyTorch computes with one thread, because with several it can wait for ever for threads that "
            "OpenMP does not start. Unset OMP_DYNAMIC to use %d threads.",
            threads,
        )
        threads = 1
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
