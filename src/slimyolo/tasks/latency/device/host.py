"""Times an archive on a board over ssh: copies it there, runs it, brings ``times.json`` back, and removes it there.

Everything goes through the system's ``ssh`` alone. Files travel as its standard input and output: ``scp`` of OpenSSH 9 needs an
sftp-server, which small boards do not have, and an older ``scp`` lets the shell of the board read the file names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from slimyolo.errors import ConfigError
from slimyolo.shown_text import file_size
from slimyolo.storage import read_user_file, write_bytes
from slimyolo.tasks.common.device_host import DeviceHost
from slimyolo.tasks.latency.device.archive import FOLDER, INSTALLED, archive_kind
from slimyolo.tasks.latency.device.messages import PROBE, PROBE_MARK, disk_advice, ssh_failure
from slimyolo.tasks.latency.device.times import DeviceTimes, read_times

__all__ = ["time_on"]

log = logging.getLogger("slimyolo")

SSH_FAILED, NO_COMMAND, NOT_EXECUTABLE, MISSING, STOPPED = 255, 127, 126, 3, 130
RECONNECTIONS = 6  # in a row, without a new line from the board
FIRST_WAIT = 2.0  # seconds; doubled each time
SILENCE = 900.0  # seconds without a line, after which the board is given up
SHORT = 120.0  # seconds that a short command may take, and a minute more for each megabyte
OPTIONS = (
    *("-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
MODULES = {"litert": ("ai_edge_litert", "tflite_runtime")}
"""Runtime → the modules of which one is needed, where the name differs."""


class _Dropped(Exception):
    """The connection was lost, or could not be made again."""


def time_on(host: DeviceHost, archive: Path, runtime: str, output: Path, *, words: Sequence[str] = ()) -> DeviceTimes:
    """Time `archive` on `host` for `runtime`, and write the answer to `output`. `words` are arguments for run.py.

    The board needs an ssh server, Python 3.8, numpy and the runtime; what it lacks is said. Nothing is left on it except, when
    the connection is lost for good, the folder with which the same command goes on. Raises `ConfigError`.
    """
    if shutil.which("ssh") is None:
        raise ConfigError(
            "--device-host needs the program ssh (OpenSSH) on this machine, and there is none. Install it."
        )
    board = _Board(host, archive)
    board.check(runtime)
    try:
        board.send()
        content = board.times(words)
    except (_Dropped, KeyboardInterrupt) as error:
        log.warning(
            "the times so far are kept in %s on %s: the same command goes on with them",
            board.shown_folder,
            host.address,
        )
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ConfigError(f"--device-host {host.address}: {error} Give the same command again to go on.") from None
    except ConfigError:
        board.remove()
        raise
    board.remove()
    write_bytes(output, content)
    return read_times(output)


@dataclass(frozen=True, eq=False)
class _Answer:
    status: int
    output: bytes
    errors: str


class _Board:
    """A board, and the folder on it that belongs to one archive."""

    def __init__(self, host: DeviceHost, archive: Path) -> None:
        self._host, self._archive = host, archive
        content = read_user_file(archive, "archive")
        self._digest, self._size = hashlib.sha256(content).hexdigest(), len(content)
        name = f"slimyolo-latency-{self._digest[:16]}"
        self.shown_folder = f"{host.folder.rstrip('/') or '~'}/{name}"
        self._folder = f"{_path(host.folder.rstrip('/') or '~')}/{name}"
        self._python = _path(host.python) if "/" in host.python else shlex.quote(host.python)

    def check(self, runtime: str) -> None:
        """Raise `ConfigError` that says what the board lacks."""
        modules = MODULES.get(runtime, (runtime,))
        base = self._host.folder or "~"
        script = f"{self._python} -c {shlex.quote(PROBE)} {shlex.quote(base)} numpy {' '.join(modules)}"
        who, python = self._host.address, self._host.python
        try:
            answer = self._short(script, first=True)
        except _Dropped as error:
            raise ConfigError(f"--device-host {who}: {error} Try: ssh {who} {python} --version") from None
        if answer.status in (NO_COMMAND, NOT_EXECUTABLE):
            raise ConfigError(
                f"{who} has no program {python}: install Python 3.8 or newer there, or name it: --device-python PATH."
            )
        lines = [line for line in answer.output.decode("utf-8", "replace").splitlines() if line.startswith(PROBE_MARK)]
        if not lines:
            said = (answer.errors or answer.output.decode("utf-8", "replace")).strip().splitlines() or ["nothing"]
            raise ConfigError(
                f"{who} did not answer as a Unix system with Python does; its last line: {said[-1][:300]}"
            )
        facts: dict[str, Any] = json.loads(lines[-1].removeprefix(PROBE_MARK))
        if facts["python"] < [3, 8]:
            version = ".".join(map(str, facts["python"]))
            raise ConfigError(f"{who} has Python {version} as {python}, expected 3.8 or newer: --device-python PATH.")
        if not facts["folder"] or not facts["writable"]:
            what = "is not a folder that you may write to" if facts["folder"] else "is not a folder"
            raise ConfigError(f"{base} {what} on {who}. Name another one: --device-folder FOLDER.")
        needed = 3 * self._size + 2_000_000
        if facts["free"] < needed:
            raise ConfigError(
                f"{who} has no space: {file_size(facts['free'])} are free in {base}, and {file_size(needed)} are needed. "
                "Free some, or name another folder: --device-folder FOLDER."
            )
        has = facts["modules"]
        missing = [] if has["numpy"] else ["numpy"]
        missing += [] if any(has[name] for name in modules) else [INSTALLED[runtime]]
        if missing:
            raise ConfigError(
                f"{who} lacks {' and '.join(missing)} for {python}. Type there: {python} -m pip install {' '.join(missing)}. "
                "If they are in a virtual environment: --device-python ~/venv/bin/python."
            )

    def send(self) -> None:
        """Copy the archive to the board and unpack it there, unless it is there from an earlier try."""
        folder, kind = self._folder, archive_kind(self._archive)
        there = self._persistently(f"cat {folder}/digest 2>/dev/null || true").output.decode("ascii", "replace").strip()
        if there == self._digest:
            log.info("%s: going on with an earlier try", self._host.address)
            return
        log.info("%s: sending %s …", self._host.address, file_size(self._size))
        module = "zipfile" if kind == ".zip" else "tarfile"
        file = f"{folder}/pack{kind}"
        steps = (
            f"rm -rf {folder} && mkdir -p {folder} && cat > {file}",
            f"{self._python} -m {module} -e {file} {folder} && rm {file} && echo {self._digest} > {folder}/digest",
        )
        for step, given in zip(steps, (self._archive, None), strict=True):
            answer = self._persistently(step, given)
            if answer.status:
                said = answer.errors.strip().splitlines() or [f"status {answer.status}"]
                why = f"{said[-1][:300].rstrip('.')}.{disk_advice(answer.errors)}"
                raise ConfigError(f"{self._host.address} could not take the archive: {why}")

    def times(self, words: Sequence[str]) -> bytes:
        """Run the program until it is done, whatever happens to the connection, and return its times.json."""
        place = f"{self._folder}/{FOLDER}"
        options = " ".join(shlex.quote(word) for word in words)
        script = f"cd {place} && exec {self._python} run.py {options}"
        tries = 0
        while True:
            status, errors, lines = self._run(script)
            if status == 0:
                break
            if status not in (SSH_FAILED, STOPPED):
                said = "\n".join(line.removeprefix("run.py: ") for line in errors.strip().splitlines()[-3:])
                said = f"{said}{disk_advice(said)}" or f"run.py ended with status {status}."
                raise ConfigError(f"{self._host.address}: {said}")
            tries = 0 if lines else tries + 1
            self._wait(tries, errors)
        answer = self._persistently(f"cat {place}/times.json")
        if answer.status:
            raise ConfigError(f"{self._host.address}: times.json cannot be read: {answer.errors.strip()[-300:]}")
        return answer.output

    def remove(self) -> None:
        """Remove the folder from the board. A board that cannot be reached any more is no error, but it is said."""
        try:
            answer = self._short(f"rm -rf {self._folder}")
        except (_Dropped, ConfigError):
            answer = _Answer(SSH_FAILED, b"", "")
        if answer.status:
            log.warning("the folder %s could not be removed from %s", self.shown_folder, self._host.address)

    def _wait(self, tries: int, errors: str) -> None:
        if tries >= RECONNECTIONS:
            raise _Dropped(f"the connection was lost {RECONNECTIONS} times in a row ({_last(errors)}).")
        log.warning("%s: the connection was lost (%s); connecting again …", self._host.address, _last(errors))
        time.sleep(FIRST_WAIT * 2**tries)

    def _words(self, script: str) -> list[str]:
        config = () if self._host.ssh_config is None else ("-F", str(self._host.ssh_config))
        return ["ssh", *OPTIONS, *config, "--", self._host.address, f"sh -c {shlex.quote(script)}"]

    def _short(self, script: str, given: Path | None = None, *, first: bool = False) -> _Answer:
        """Run a command that ends soon. Raises `ConfigError` where ssh itself fails for a reason that stays, else `_Dropped`."""
        limit = SHORT + 60 * self._size / 1e6 * (given is not None)
        with _opened(given) as file:
            try:
                done = subprocess.run(self._words(script), stdin=file, capture_output=True, timeout=limit, check=False)
            except subprocess.TimeoutExpired:
                raise _Dropped(f"the board did not answer within {limit:.0f} seconds.") from None
        errors = done.stderr.decode("utf-8", "replace")
        if done.returncode == SSH_FAILED:
            reason = ssh_failure(errors, self._host)
            if reason is not None:
                raise ConfigError(reason)
            if first:
                raise ConfigError(
                    f"ssh cannot reach {self._host.address}: {_last(errors)}. Try: ssh {self._host.address}"
                )
            raise _Dropped(f"the connection was lost ({_last(errors)}).")
        return _Answer(done.returncode, done.stdout, errors)

    def _persistently(self, script: str, given: Path | None = None) -> _Answer:
        """`_short`, tried again when the connection is lost."""
        for tries in range(RECONNECTIONS + 1):
            try:
                return self._short(script, given)
            except _Dropped as error:
                self._wait(tries, str(error))
        raise _Dropped("the connection was lost.")

    def _run(self, script: str) -> tuple[int, str, int]:
        """(exit status, standard error, number of lines) of a command whose lines are shown while it runs."""
        process = subprocess.Popen(
            self._words(script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None  # both are pipes
        assert process.stderr is not None
        said: list[bytes] = []
        reader = threading.Thread(target=lambda stream: said.append(stream.read()), args=(process.stderr,), daemon=True)
        reader.start()
        count = 0
        try:
            for line in _lines_within(process.stdout, SILENCE):
                count += 1
                log.info("%s: %s", self._host.address, line)
            status = process.wait(timeout=SHORT)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise _Dropped(f"the board has said nothing for {SILENCE / 60:.0f} minutes.") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join(timeout=5)
            for stream in (process.stdout, process.stderr):
                stream.close()
        return status, b"".join(said).decode("utf-8", "replace"), count


def _lines_within(stream: IO[bytes], seconds: float) -> Iterator[str]:
    """The lines of `stream`. Raises `TimeoutError` when none comes for so many seconds."""
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        yield line.decode("utf-8", "replace").rstrip()


def _opened(path: Path | None) -> IO[bytes]:
    """The file at `path` for reading; an empty file for None."""
    return open(os.devnull if path is None else path, "rb")


def _path(path: str) -> str:
    """A path on the board, for its shell: ``~`` stands for the home folder there."""
    if path == "~":
        return '"$HOME"'
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def _last(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1][:300].rstrip(".") if lines else "without a message"
