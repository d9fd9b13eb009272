"""Tells a crash in native code (a segmentation fault, an abort) in a sentence, with the file that a runtime was working on.

A library that crashes ends the whole process. Only another process can still say something about it in plain words. So the
command line makes a small one at its start, before torch is imported and before there are threads (about two milliseconds).
The two share a piece of memory, which holds the names of the files at work, and a socket, to which Python's `faulthandler`
writes when the process gets a deadly signal. The process still ends by that signal, so its exit status is that of a crash
(134, 139, …).
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import re
import signal
import socket
import sys
from contextlib import suppress

from slimyolo.at_work import NOTES_BYTES, notes_in, share_notes
from slimyolo.shown_text import one_shown_line

__all__ = ["crash_sentence", "tell_crashes"]

_CAUSE = re.compile(rb"Fatal Python error: ([^\n]*)\n")
_DEAF_TO = (
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
    "SIGQUIT",
)  # a terminal sends these to both; the end of the command ends the other


def tell_crashes() -> None:
    """From now on, until the process ends, a crash is told on standard error. Call it before anything starts a thread.

    Where the system cannot fork (Windows), or allows no more processes, a crash stays as silent as it was.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        page = mmap.mmap(-1, NOTES_BYTES)
        reading, writing = socket.socketpair()
        with suppress(OSError):  # a small buffer: the crashed process waits until its first words were read
            writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        whole = faulthandler.is_enabled()  # by python -X faulthandler: then the user wants to see the stacks, too
        if os.fork() == 0:
            try:
                writing.close()
                _watch(reading, page, whole)
            finally:
                os._exit(0)
        reading.close()
        faulthandler.enable(writing.detach(), all_threads=whole)
        share_notes(page)


def crash_sentence(cause: str, work: str) -> str:
    """The sentence for a crash by `cause` ("Segmentation fault"); `work` is empty, or says "RUNTIME … FILE"."""
    if not work:
        return (
            f"a library crashed ({cause}), while no exported file was at work. To see where it was, type the same again with "
            "python -X faulthandler -m slimyolo in the place of slimyolo."
        )
    return (
        f"a runtime crashed ({cause}): {work}. The file is damaged or was made to do this, or the runtime has a defect. "
        "Export the checkpoint again, or to another format (slimyolo export --format)."
    )


def _watch(reading: socket.socket, page: mmap.mmap, whole: bool) -> None:
    """In the other process: wait for the words of `faulthandler`, or for the end of the command."""
    for name in _DEAF_TO:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    for number in (0, 1):  # whoever waits for the end of the output is not to wait for this process
        os.close(number)
    said, told = b"", False
    while words := reading.recv(64):
        said += words
        found = _CAUSE.search(said)
        if found is not None and not told:
            work = "; ".join(notes_in(page))
            sentence = one_shown_line(crash_sentence(found[1].decode("ascii", "replace"), work))
            os.write(2, f"slimyolo: {sentence}\n".encode(_encoding(), "backslashreplace"))
            told = True
    if whole:
        os.write(2, said)


def _encoding() -> str:
    return "ascii" if sys.stderr is None else sys.stderr.encoding or "ascii"
