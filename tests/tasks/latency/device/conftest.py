"""A small detector, its archive, and a board on the loopback: the system's sshd with keys and a port of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_times import small_detector

from slimyolo.checkpoints import save_checkpoint
from slimyolo.models import Detector
from slimyolo.tasks.common.device_host import DeviceHost
from slimyolo.tasks.latency.pack import pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig

SERVER = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


@pytest.fixture(scope="session")
def detector() -> Detector:
    return small_detector()


@pytest.fixture(scope="session")
def archive_file(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my board")
    save_checkpoint(folder / "best.pt", detector)
    output = folder / "best.zip"
    config = LatencyPackConfig(weights=folder / "best.pt", imgsz=(64, 64), threads=1, networks=12, output=output)
    assert pack(config).networks == 13
    return output


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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    if SERVER is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("sshd, ssh and ssh-keygen are needed: apt-get install openssh-server")
    if not Path("/proc/self/stat").is_file():
        pytest.skip("needs /proc to end connections")
    folder = tmp_path_factory.mktemp("ssh")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    for name in ("host_key", "user_key", "other_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server of root keeps the part without rights
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    known = (folder / "host_key.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {known}")
    (folder / "wrong").write_text(f"[127.0.0.1]:{port} {(folder / 'other_key.pub').read_text()}")
    (folder / "nobody").write_text("")
    hosts = (("board", "known", "user_key"), ("strange", "nobody", "user_key"), ("changed", "wrong", "user_key"))
    text = "".join(
        f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder / key}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder / keys}\n  StrictHostKeyChecking yes\n"
        for name, keys, key in (*hosts, ("locked", "known", "other_key"))
    )
    text += "Host off\n  HostName 127.0.0.1\n  Port 1\n"
    (folder / "ssh config").write_text(text + "Host *\n  GlobalKnownHostsFile /dev/null\n")
    made = Loopback(folder, folder, port)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def loopback(server: Loopback, tmp_path: Path) -> Loopback:
    """The board, with an empty folder whose name has a space and quotes."""
    server.home = tmp_path / "it's a board"
    server.home.mkdir()
    return server
