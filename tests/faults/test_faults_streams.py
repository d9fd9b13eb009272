"""Table of cases: standard streams that are closed, on a full disk or of a small encoding; a deleted working directory."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.cli.standard_streams import _Lasting, lasting_streams


class Full(io.StringIO):
    """A file on a disk without space."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def saying() -> int:
    print("γ of 3 × 3")
    return 0


def test_output_on_a_full_disk_does_not_end_the_command_and_is_said_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert run_safely(saying) == 2
    assert "not all output could be written: No space left on device." in capsys.readouterr().err


@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_streams_that_were_closed_from_the_start(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names:
        monkeypatch.setattr(sys, name, None)  # what Python does with a closed stream
    assert run_safely(saying) == 0


def test_no_file_of_the_command_gets_the_number_of_a_closed_stream(tmp_path: Any) -> None:
    child = os.fork()
    if child == 0:
        try:
            for number in range(3):
                os.close(number)
            with lasting_streams(), open(tmp_path / "weights.pt", "w") as file:
                os.write(1, b"a library prints")
                os._exit(0 if file.fileno() > 2 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "weights.pt").read_text() == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("text", ["γ → 3 × 3", "口罩 😷", "name\udcff.png"])
def test_signs_that_the_encoding_lacks_are_written_as_json_writes_them(encoding: str, text: str) -> None:
    written = io.BytesIO()
    stream = _Lasting(io.TextIOWrapper(written, encoding=encoding))
    stream.write(json.dumps(text, ensure_ascii=False))
    stream.flush()
    assert json.loads(written.getvalue().decode(encoding)) == text


def test_a_working_directory_that_was_deleted(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Without the check, a library of torch ends the process: "Cannot load …/libtorch_cpu.so"."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run_safely(lambda: run_command_line(["data", "check", str(tmp_path / "data.yaml")])) == 2
    assert "slimyolo: The working directory was deleted. Go to a folder that exists" in capsys.readouterr().err
    assert run_safely(lambda: run_command_line(["--version"])) == 0


def test_a_library_that_closes_standard_error_at_the_end_closes_nothing() -> None:
    """As ``absl.logging`` does, which openvino and nncf import."""
    with lasting_streams():
        kept = sys.stderr
    kept.close()
    assert not sys.stderr.closed
    program = "import atexit, sys\nfrom slimyolo.cli.main import leave\natexit.register(sys.stderr.close)\nleave(0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
