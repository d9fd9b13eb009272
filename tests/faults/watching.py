"""What a reader of foreign files must not do, watched by Python itself: run, import for the file, write, connect."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
    *("exec", "compile", "pickle.find_class", "marshal.loads", "code.__new__", "function.__new__", "ctypes.dlopen"),
    *(
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.putenv",
        "shutil.rmtree",
    ),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "webbrowser.open"),
)
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request")

_state: dict[str, Any] = {"events": (), "seen": [], "installed": False}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    watched = _state["events"]
    if not watched:
        return
    if event in watched:
        _state["seen"].append((event, repr(arguments)[:200]))
        if event.startswith(("socket", "urllib", "os.system", "subprocess", "os.exec")):
            raise PermissionError(f"{event} is forbidden here")
    elif event == "open" and "open for writing" in watched:
        mode, flags = arguments[1], arguments[2]
        writes = (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        )
        if writes:
            _state["seen"].append((event, repr(arguments)[:200]))


@contextmanager
def watched(*events: str) -> Iterator[list[tuple[str, str]]]:
    """The audit events of these names that happen in the block, in any thread of this process. Hooks cannot be removed,
    so one is installed for good, which does nothing outside such a block."""
    if not _state["installed"]:
        sys.addaudithook(_hook)
        _state["installed"] = True
    seen: list[tuple[str, str]] = []
    _state["seen"], _state["events"] = seen, frozenset(events)
    try:
        yield seen
    finally:
        _state["events"] = frozenset()


@contextmanager
def memory_above_now(most: int) -> Iterator[None]:
    """A `MemoryError` for whatever asks for more than `most` bytes of address space beyond what is taken now."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
