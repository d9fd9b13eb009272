"""Table of cases: a board reached by ssh. The board is this machine, through a real sshd on the loopback."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback_board import Loopback

from slimyolo.cli.main import run_command_line
from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.tasks.common.device_host import DeviceHost, device_host_of
from slimyolo.tasks.latency.device import host as ssh
from slimyolo.tasks.latency.device.host import time_on
from slimyolo.tasks.latency.device.messages import PROBE, PROBE_MARK, ssh_failure
from slimyolo.tasks.latency.device.times import read_times
from slimyolo.tasks.latency.pack_config import LatencyPackConfig
from slimyolo.tasks.prune.config import PruneConfig

pytest.importorskip("onnxruntime")

WORDS = ("--passes", "1", "--runs", "3")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_board_times_an_archive_and_nothing_stays_on_it(
    loopback: Loopback, archive_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    output = tmp_path / "my times.json"
    times = time_on(loopback.host(), archive_file, "onnxruntime", output, words=WORDS)
    assert len(times.networks) == 13
    assert read_times(output) == times
    assert "board: pass 1 of 1: 12 of 12 networks" in caplog.text
    assert list(loopback.home.iterdir()) == []


def test_a_lost_connection_goes_on(
    loopback: Loopback,
    archive_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(ssh, "FIRST_WAIT", 0.1)
    seen: list[str] = []

    def drop_after_the_first_line(record: Any) -> bool:
        if "pass 1 of 2: 6 of 12" in record.getMessage() and not seen:
            seen.append("dropped")
            loopback.drop()
        return True

    ssh.log.addFilter(drop_after_the_first_line)
    try:
        words = ("--passes", "2", "--runs", "3")
        times = time_on(loopback.host(), archive_file, "onnxruntime", tmp_path / "times.json", words=words)
    finally:
        ssh.log.removeFilter(drop_after_the_first_line)
    assert seen
    assert "board: the connection was lost" in caplog.text
    assert len(times.networks) == 13
    rounds = json.loads((tmp_path / "times.json").read_text())["rounds"]
    assert sorted((one["pass"], number) for one in rounds for number in one["numbers"] if number) == [
        (turn, number) for turn in (0, 1) for number in range(1, 13)
    ]
    assert list(loopback.home.iterdir()) == []


def test_a_connection_lost_for_good_can_be_gone_on_with_later(
    loopback: Loopback,
    archive_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(ssh, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(ssh, "RECONNECTIONS", 2)

    def stop_after_the_first_line(record: Any) -> bool:
        if "pass 1 of 1: 6 of 12" in record.getMessage():
            loopback.stop()
        return True

    ssh.log.addFilter(stop_after_the_first_line)
    try:
        with pytest.raises(
            ConfigError, match=r"--device-host board: the connection was lost 2 times in a row .*again to go on"
        ):
            time_on(loopback.host(), archive_file, "onnxruntime", tmp_path / "times.json", words=WORDS)
    finally:
        ssh.log.removeFilter(stop_after_the_first_line)
        loopback.start()
    assert "the times so far are kept in" in caplog.text
    assert not (tmp_path / "times.json").exists()
    assert len(list(loopback.home.iterdir())) == 1
    caplog.clear()
    time_on(loopback.host(), archive_file, "onnxruntime", tmp_path / "times.json", words=WORDS)
    assert "going on with an earlier try" in caplog.text
    assert "going on after" in caplog.text
    assert list(loopback.home.iterdir()) == []


def test_what_a_board_lacks_is_said(loopback: Loopback, archive_file: Path, tmp_path: Path) -> None:
    def refused(host: DeviceHost, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            time_on(host, archive_file, "onnxruntime", tmp_path / "times.json", words=WORDS)
        assert list(loopback.home.iterdir()) == []
        assert not (tmp_path / "times.json").exists()

    def answering(**facts: Any) -> Path:
        good = {"python": [3, 11], "folder": True, "writable": True, "free": 10**9, "modules": {"numpy": True}}
        return script(tmp_path / "answers", f"echo welcome; echo '{PROBE_MARK}{json.dumps({**good, **facts})}'")

    only_numpy = tmp_path / "modules"
    only_numpy.mkdir()
    (only_numpy / "numpy").symlink_to(Path(np.__file__).parent)
    bare = script(tmp_path / "bare python", f"exec '{sys.executable}' -S \"$@\"")
    some = script(tmp_path / "some", f"PYTHONPATH='{only_numpy}' exec '{sys.executable}' -S \"$@\"")
    refused(loopback.host(name="off"), r"off has no ssh server, or it listens on another port")
    refused(loopback.host(name="strange"), r"does not know the key of strange. Connect once by hand.*: ssh strange")
    refused(
        loopback.host(name="changed"),
        r"the key of changed is not the one that this machine knows.*ssh-keygen -R changed",
    )
    refused(loopback.host(name="locked"), r"locked lets nobody in without a password.*ssh-copy-id locked")
    refused(loopback.host(name="no-such-host.invalid"), r"there is no host no-such-host.invalid|ssh cannot reach")
    refused(
        loopback.host("/nowhere/python3"), r"board has no program /nowhere/python3: install Python 3.8 or newer there"
    )
    refused(loopback.host("echo"), r"board did not answer as a Unix system with Python does")
    refused(loopback.host(answering(python=[3, 6])), r"board has Python 3.6 as .*, expected 3.8 or newer")
    refused(loopback.host(answering(free=1000)), r"board has no space: 1 kB are free in .*: --device-folder FOLDER")
    refused(loopback.host(answering(writable=False)), r"is not a folder that you may write to on board")
    refused(
        loopback.host(bare),
        r"board lacks numpy and onnxruntime for .*bare python. Type there: .* -m pip install numpy onn",
    )
    refused(loopback.host(some), r"board lacks onnxruntime for .*--device-python ~/venv/bin/python")
    gone = DeviceHost(address="board", folder="/nowhere", ssh_config=loopback.config)
    refused(gone, r"/nowhere is not a folder on board. Name another one: --device-folder FOLDER")
    config = DeviceHost(address="board", ssh_config=tmp_path / "no config")
    refused(config, r"the ssh configuration cannot be used \(Can't open user config file")


def test_a_connection_lost_while_the_archive_is_unpacked(
    loopback: Loopback,
    archive_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ssh, "FIRST_WAIT", 0.1)
    mark = tmp_path / "unpacking"
    once = f"*zipfile*) [ -e '{mark}' ] || {{ touch '{mark}'; sleep 30; }};;"
    python = script(tmp_path / "python", f'case "$*" in {once} esac; exec \'{sys.executable}\' "$@"')

    def drop() -> None:
        while not mark.exists():
            time.sleep(0.02)
        loopback.drop()

    dropping = threading.Thread(target=drop, daemon=True)
    dropping.start()
    times = time_on(loopback.host(python), archive_file, "onnxruntime", tmp_path / "times.json", words=WORDS)
    dropping.join()
    assert "board: the connection was lost" in caplog.text
    assert len(times.networks) == 13
    assert list(loopback.home.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a folder on a disk of its own, with the given options of mount."""
    made: list[Path] = []

    def mounted(options: str) -> Path:
        folder = tmp_path / f"disk {len(made)}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "slimyolo-test", str(folder)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here (it takes the rights of root)")
        made.append(folder)
        return folder

    yield mounted
    for folder in made:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_and_a_read_only_one(
    loopback: Loopback, archive_file: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    facts = {
        "python": [3, 11],
        "folder": True,
        "writable": True,
        "free": 10**9,
        "modules": {"numpy": True, "onnxruntime": True},
    }
    answer = f"echo '{PROBE_MARK}{json.dumps(facts)}'"

    def refused(folder: Path, message: str, python: Path | str = sys.executable) -> None:
        host = DeviceHost(address="board", python=str(python), folder=str(folder), ssh_config=loopback.config)
        with pytest.raises(ConfigError, match=message):
            time_on(host, archive_file, "onnxruntime", tmp_path / "times.json", words=WORDS)
        assert not list(folder.glob("slimyolo*"))

    refused(small_disk("ro"), r"disk 0 is not a folder that you may write to on board.*--device-folder FOLDER")
    full = small_disk("size=16k")
    refused(full, r"board has no space: 16 kB are free in .*disk 1, and 2\.\d+ MB are needed\. Free some")
    filled = script(tmp_path / "filled", f'case "$1" in -c) {answer};; *) exec \'{sys.executable}\' "$@";; esac')
    refused(
        full, r"could not take the archive: .*No space left on device\. Free some space there, or name another", filled
    )
    large = small_disk("size=3m")
    fill = f"cat /dev/zero > '{large}/other program' 2> /dev/null"
    while_timing = script(
        tmp_path / "while timing",
        f'case "$*" in -c*) {answer}; exit;; *run.py*) {fill};; esac; exec \'{sys.executable}\' "$@"',
    )
    refused(
        large, r"board: .*No space left on device(.|\n)* or name another folder: --device-folder FOLDER", while_timing
    )


def test_what_ssh_says_becomes_what_to_do() -> None:
    host = DeviceHost(address="pi@board")
    cases = {
        "ssh: connect to host board port 22: No route to host": "pi@board cannot be reached: is it switched on",
        "ssh: connect to host board port 22: Network is unreachable": "pi@board cannot be reached",
        "ssh: connect to host board port 22: Connection refused": "pi@board has no ssh server, or it listens on another port",
        "ssh: Could not resolve hostname board: Name or service not known": "there is no host board: check the name",
        "pi@board: Permission denied (publickey,password).": "Give it your key once: ssh-copy-id pi@board",
        "Received disconnect: Too many authentication failures": "Give it your key once: ssh-copy-id pi@board",
        "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.": "ssh-keygen -R board",
        "Host key verification failed.": "Connect once by hand, compare the key, and accept it: ssh pi@board",
        "/home/me/config: line 3: Bad configuration option: foo": "cannot be used (/home/me/config: line 3: Bad configuration",
        "Bad owner or permissions on /home/me/.ssh/config": "the ssh configuration cannot be used (Bad owner or permissions",
    }
    for said, wanted in cases.items():
        message = ssh_failure(f"motd\n{said}\n", host)
        assert message is not None
        assert message.startswith("--device-host: ")
        assert wanted in message
    for passing in (
        "ssh: connect to host board port 22: Connection timed out",
        "Connection reset by peer",
        "",
        "client_loop",
    ):
        assert ssh_failure(passing, host) is None


def test_what_is_asked_and_run_can_be_read_by_old_pythons(archive_file: Path) -> None:
    """A Python that is too old must say so; a line that it cannot read would say something else."""
    ast.parse(PROBE, feature_version=(3, 4))
    with zipfile.ZipFile(archive_file) as archive:
        ast.parse(archive.read("slimyolo-latency/run.py"), feature_version=(3, 4))


def test_a_board_that_cannot_be_tidied_up(
    loopback: Loopback, archive_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = ssh._Board(loopback.host(name="off"), archive_file)
    board.remove()
    assert "could not be removed from off" in caplog.text


def test_a_runtime_that_is_broken_there(loopback: Loopback, archive_file: Path, tmp_path: Path) -> None:
    """The probe finds the package; its import fails, which run.py says. The folder is removed."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "onnxruntime.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    python = script(tmp_path / "python", f"PYTHONPATH='{broken}' exec '{sys.executable}' \"$@\"")
    with pytest.raises(
        ConfigError, match=r"board: onnxruntime cannot be used here .*libgomp.so.1.*pip install onnxruntime"
    ):
        time_on(loopback.host(python), archive_file, "onnxruntime", tmp_path / "times.json")
    assert list(loopback.home.iterdir()) == []


def test_without_ssh_here(archive_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"--device-host needs the program ssh \(OpenSSH\) on this machine"):
        time_on(DeviceHost(address="board"), archive_file, "onnxruntime", tmp_path / "times.json")


def test_a_board_that_says_nothing_is_given_up(
    loopback: Loopback, archive_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "SHORT", 1.0)
    hanging = script(tmp_path / "hanging", "sleep 30")
    with pytest.raises(
        ConfigError, match=r"board: the board did not answer within 1 seconds. Try: ssh board .*--version"
    ):
        time_on(loopback.host(hanging), archive_file, "onnxruntime", tmp_path / "times.json")
    monkeypatch.undo()
    monkeypatch.setattr(ssh, "SILENCE", 0.5)
    last = "for word; do :; done"
    python = script(
        tmp_path / "slow", f'case "$*" in *run.py*) sleep 30;; *) exec \'{sys.executable}\' "$@";; esac; {last}'
    )
    with pytest.raises(ConfigError, match=r"the board has said nothing for 0 minutes. Give the same command again"):
        time_on(loopback.host(python), archive_file, "onnxruntime", tmp_path / "times.json")


def test_addresses_and_options() -> None:
    for good in ("pi@raspberrypi.local", "board", "root@192.168.0.7", "a.b-c_d", "pi@fe80::1%eth0"):
        assert LatencyPackConfig(weights="best.pt", device_host=good).host == DeviceHost(address=good)
    for bad in ("-oProxyCommand=x", "a b", "pi@", "pi@-x", "x;reboot", "$(reboot)", "pi@board:22", "a\nb", "@board"):
        with pytest.raises(
            ConfigError, match=r"--device-host: got .*, expected user@host or a name from ~/.ssh/config"
        ):
            LatencyPackConfig(weights="best.pt", device_host=bad)
    with pytest.raises(ConfigError, match=r"--device-python is about the board of --device-host: add --device-host"):
        LatencyPackConfig(weights="best.pt", device_python="python3.9")
    with pytest.raises(ConfigError, match=r"--device-folder: got '-rf', expected a path on the board"):
        device_host_of("board", "python3", "-rf", None)
    with pytest.raises(
        ConfigError, match=r"--device-host: say on which runtime the board serves the network: add --runtime"
    ):
        PruneConfig(weights="best.pt", latency="5ms", device_host="board")
    with pytest.raises(ConfigError, match=r"--device-host times --latency \(or --per ms\): add --latency"):
        PruneConfig(weights="best.pt", macs=0.5, device_host="board")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_three_steps_in_one_command(
    loopback: Loopback, detector: Detector, archive_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """prune --device-host: pack, time, cut, time the cut network there, and cut again until its time is within the budget."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMYOLO_CACHE", str(tmp_path / "cache"))
    words = ["--weights", str(archive_file.with_name("best.pt")), "--imgsz", "64", "--device-host", "board"]
    words += [
        "--device-python",
        sys.executable,
        "--device-folder",
        str(loopback.home),
        "--ssh-config",
        str(loopback.config),
    ]
    cut = ["--runtime", "onnxruntime", "--threads", "1", "--importance", "l2", "--project", "runs"]
    assert run_command_line(["prune", *words, *cut, "--latency", "70%"]) == 0
    latency = json.loads((tmp_path / "runs/exp/record.json").read_text())["latency"]
    assert latency["measured_ms"] / latency["dense_ms"] == pytest.approx(0.7, abs=0.1)
    assert latency["device"]
    (kept,) = (tmp_path / "cache" / "latency").iterdir()
    assert (
        run_command_line(["latency", "pack", *words, "--threads", "1", "--networks", "12", "--output", "p.tar.gz"]) == 0
    )
    assert read_times(tmp_path / "p.times.json").kind == read_times(kept).kind == "fit"
    check = ["latency", "check", "--weights", "runs/exp/pruned.pt", "--times", "p.times.json", *words[4:]]
    assert run_command_line(check) == 0
    assert read_times(tmp_path / "pruned-check.times.json").budget_ms == latency["asked_ms"]
    assert list(loopback.home.iterdir()) == []
    assert threading.active_count() < 20
    assert os.getcwd() == str(tmp_path)
