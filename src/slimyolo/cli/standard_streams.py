"""Standard output and standard error, whatever they are: a closed pipe, closed from the start, a full disk, another encoding.

====================================================  ======================================================================
what                                                  what happens
====================================================  ======================================================================
a pipe whose reader has ended (``… | head -1``)       the command goes on, silently
closed from the start (``>&-``)                       the same; the null device takes its place, so that no file of the
                                                      command gets its number and the output with it
a file on a full disk (``> log.txt``)                 the command goes on; at the end it says what happened, with status 2
an encoding without a sign (``LC_ALL=C``, ``γ``)      the sign is written as ``\\u03b3``, which JSON reads too
====================================================  ======================================================================
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, cast

__all__ = ["fill_closed_numbers", "lasting_streams", "lost_output"]


class _Lasting:
    """A stream whose `write` and `flush` never fail. What cannot be written is dropped; `lost` says why, unless a reader has
    ended, which is no error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        with self._dropping():
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                self._stream.write(_escaped(text, error.encoding))
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    def close(self) -> None:
        """Does nothing: the process closes its streams. ``absl.logging`` closes at the end what was standard error when it was
        imported, unless it still is."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.lost = self.lost or error
            with contextlib.suppress(OSError, ValueError):  # what is still in the buffers goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def lasting_streams() -> Iterator[Sequence[_Lasting]]:
    """Inside the block nothing that happens to standard output and standard error ends the command. Yields the two."""
    fill_closed_numbers()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        lasting = tuple(_Lasting(nowhere if stream is None else stream) for stream in before)
        sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in lasting)
        try:
            yield lasting
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            sys.stdout, sys.stderr = before


def lost_output(streams: Sequence[_Lasting]) -> str | None:
    """A sentence that says why output was lost; None when all was written, or its readers have ended."""
    for stream in streams:
        stream.flush()
    error = next((stream.lost for stream in streams if stream.lost is not None), None)
    if error is None:
        return None
    return f"not all output could be written: {error.strerror}. The command has ended well; what it wrote into files is complete."


def fill_closed_numbers() -> None:
    """Open the null device as file number 0, 1 and 2 where these are closed: the next file that is opened gets the lowest free
    number, and libraries print there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


def _escaped(text: str, encoding: str) -> str:
    """`text` with each sign that `encoding` does not have as ``\\uXXXX``, two of them above U+FFFF, as JSON writes it."""
    return "".join(sign if _has(encoding, sign) else _escape(sign) for sign in text)


def _has(encoding: str, sign: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
