"""A board on the loopback: the system's sshd with keys and a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimyolo.tasks.common.device_host import DeviceHost

__all__ = ["SERVER", "Loopback"]

SERVER = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


@dataclass
class Loopback:
    """A board: its address is a name in `config`, an ssh configuration. `home` is where files may go."""

    folder: Path
    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "ssh config"

    def host(self, python: str | Path = sys.executable, name: str = "board") -> DeviceHost:
        return DeviceHost(address=name, python=str(python), folder=str(self.home), ssh_config=self.config)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(SERVER), "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log
            )
        for _ in range(100):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.skip(f"sshd does not start here: {(self.folder / 'log').read_text()[-300:]}")

    def drop(self) -> None:
        """End every connection; the server stays."""
        assert self.process is not None
        for pid in self._children(self.process.pid):
            for inner in (*self._children(pid), pid):
                if _name(inner).startswith("sshd"):
                    try:
                        os.kill(inner, signal.SIGKILL)
                    except ProcessLookupError:
                        continue

    def stop(self) -> None:
        if self.process is not None:
            self.drop()
            self.process.kill()
            self.process.wait()

    @staticmethod
    def _children(pid: int) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == pid:
                found.append(int(folder.name))
        return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
