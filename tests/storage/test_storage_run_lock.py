"""Table of cases: one process at a time works in a run folder, and a process that dies gives its folder free."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slimyolo.errors import StorageError
from slimyolo.storage import LOCK_FILE, only_run_in

fcntl = pytest.importorskip("fcntl")

HOLDER = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(handle, fcntl.LOCK_EX)
os.write(handle, b"process 4711 on board")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """A function that starts another process, which locks a folder until it is killed."""
    started: list[subprocess.Popen[str]] = []

    def hold(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-S", "-c", HOLDER, str(folder / LOCK_FILE)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_process_is_refused_and_told_who_works_there(
    tmp_path: Path, other_process: Callable[[Path], subprocess.Popen[str]]
) -> None:
    holder = other_process(tmp_path)
    with pytest.raises(StorageError, match=r"is in use: process 4711 on board works in it.*leave --resume out"):
        only_run_in(tmp_path).__enter__()
    holder.kill()  # SIGKILL: nothing of it can clean up
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with only_run_in(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")
    assert not list(tmp_path.iterdir())


def test_the_same_process_is_refused_too_but_may_lock_a_folder_inside(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with only_run_in(tmp_path), only_run_in(tmp_path / "base"):
        for folder in (tmp_path, tmp_path / "base" / ".."):
            with pytest.raises(StorageError, match="in use: this process works in it"):
                only_run_in(folder).__enter__()
    with only_run_in(tmp_path):
        pass


def test_forked_processes_neither_hold_the_lock_nor_release_it(
    tmp_path: Path, other_process: Callable[[Path], subprocess.Popen[str]]
) -> None:
    with only_run_in(tmp_path):
        child = os.fork()
        if child == 0:
            os._exit(0)  # closes its copy of the file
        os.waitpid(child, 0)
        check = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        command = [sys.executable, "-S", "-c", check, str(tmp_path / LOCK_FILE)]
        assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 1


def test_an_error_in_the_block_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), only_run_in(tmp_path):
        raise KeyError
    with only_run_in(tmp_path):
        pass


def test_a_file_system_without_locks_is_said_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with only_run_in(tmp_path):
        assert "cannot be locked (No locks available); make sure that only one run works in it" in caplog.text


def test_a_lock_that_is_a_link_or_lies_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match=r"Cannot write .*\.lock.*--project"):
        only_run_in(tmp_path).__enter__()
    assert not (tmp_path / "victim").exists()
    with pytest.raises(StorageError, match="No such file or directory"):
        only_run_in(tmp_path / "nothing").__enter__()
