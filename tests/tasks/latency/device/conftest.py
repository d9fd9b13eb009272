"""A small detector, its archive, and a board on the loopback: the system's sshd with keys and a port of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_board import SERVER, Loopback
from made_times import small_detector

from slimyolo.checkpoints import save_checkpoint
from slimyolo.models import Detector
from slimyolo.tasks.latency.pack import pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig


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
