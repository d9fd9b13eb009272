"""What the system refuses (memory, file handles, space), as a sentence that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from slimyolo.errors import is_out_of_memory

__all__ = ["system_sentence"]

NO_MEMORY = "Smaller pictures (--imgsz), a smaller --batch-size and fewer --workers need less."
WHAT_TO_DO: Mapping[int, str] = {
    errno.ENOSPC: "Make space there, or write to another place.",
    errno.EDQUOT: "Make space there, or write to another place.",
    errno.EMFILE: "Allow this process more open files (ulimit -n 1024), or use --workers 0.",
    errno.ENFILE: "Close other programs, or try again later.",
    errno.ENOMEM: NO_MEMORY,
}


def system_sentence(error: BaseException) -> str | None:
    """The sentence about an error that the system caused; None for any other error, which is a defect of slimyolo."""
    if isinstance(error, OSError) and error.errno is not None:  # a name too long, no permission, no space, …
        hint = WHAT_TO_DO.get(error.errno)
        return f"{error}. {hint}" if hint else str(error)
    if is_out_of_memory(error):
        said = next(iter(str(error).strip().splitlines()), "")[:160]
        return f"There is not enough memory{f' ({said})' if said else ''}. {NO_MEMORY}"
    return None
