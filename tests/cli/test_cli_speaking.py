"""Table of cases: results are printed on standard output, warnings on standard error, and files get no colours."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimyolo.cli.commands import COMMANDS
from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.cli.options import command_options
from slimyolo.cli.standard_streams import _Lasting

MEASURING = ("val", "prune", "predict", "export", "data check")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    from slimfaces import render_dataset

    return render_dataset(tmp_path / "tiny", train=2, val=2, size=64, seed=3)


def run(words: list[str], capsys: Any) -> tuple[int, str, str]:
    status = run_safely(lambda: run_command_line(words))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("name", MEASURING)
def test_every_measuring_command_has_json(name: str) -> None:
    settings = next(command.settings for command in COMMANDS if command.name == name)
    option = next(option for option in command_options(settings) if option.spec.key == "json_file")
    assert option.spec.names == ("--json",)
    assert (option.spec.arity, option.spec.bare) == ("maybe", "-")


def test_json_alone_on_standard_output(dataset: Path, capsys: Any) -> None:
    status, out, err = run(["data", "check", str(dataset), "--json"], capsys)
    assert status == 0
    assert "splits" in json.loads(out)
    assert "images" in err  # the facts for people


def test_json_into_a_file(dataset: Path, tmp_path: Path, capsys: Any) -> None:
    status, out, _ = run(["data", "check", str(dataset), "--json", str(tmp_path / "report.json")], capsys)
    assert status == 0
    assert "images" in out
    assert "splits" in json.loads((tmp_path / "report.json").read_text())


@pytest.mark.parametrize("word", ["--quiet", "-q"])
def test_quiet_says_nothing_when_all_is_well(word: str, dataset: Path, capsys: Any) -> None:
    assert run(["data", "check", str(dataset), word], capsys) == (0, "", "")
    status, out, err = run([word, "data", "check", str(dataset)], capsys)
    assert (status, out) == (2, "")
    assert f"Write {word} after the command" in err


def test_quiet_leaves_json_and_errors(dataset: Path, capsys: Any) -> None:
    _, out, err = run(["data", "check", str(dataset), "--quiet", "--json"], capsys)
    assert json.loads(out)
    assert err == ""
    status, out, err = run(["data", "check", "none.yaml", "--quiet"], capsys)
    assert (status, out) == (2, "")
    assert "none.yaml" in err


def test_the_next_command_is_not_quiet_any_more(dataset: Path, capsys: Any) -> None:
    run(["data", "check", str(dataset), "--quiet"], capsys)
    assert "images" in run(["data", "check", str(dataset)], capsys)[1]


def test_no_colour_codes_in_files_and_pipes(tmp_path: Path) -> None:
    for words in (
        ["--help"],
        ["train", "--help"],
        ["data", "synth", str(tmp_path / "d"), "--train", "1", "--val", "1"],
    ):
        done = subprocess.run([sys.executable, "-m", "slimyolo", *words], capture_output=True, check=True)
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("environment", "bold"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_headings_are_bold_on_a_terminal_unless_colours_are_unwanted(environment: dict[str, str], bold: bool) -> None:
    ours, theirs = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(
        [sys.executable, "-m", "slimyolo", "data", "synth", "--help"],
        stdout=theirs,
        env={**kept, **environment},
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert b"Usage" in shown
    assert (b"\x1b[1m" in shown) == bold


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m slimyolo completion bash | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("both", [False, True])
def test_closed_pipes_end_silently(both: bool, dataset: Path, tmp_path: Path) -> None:
    """``slimyolo data check … | head -1`` and ``… 2>&1 | head -1``: the file is still written, and nothing is said."""
    words = ["data", "check", str(dataset), "--json", str(tmp_path / "report.json")]
    errors = subprocess.STDOUT if both else subprocess.PIPE
    command = subprocess.Popen([sys.executable, "-m", "slimyolo", *words], stdout=subprocess.PIPE, stderr=errors)
    assert command.stdout is not None
    command.stdout.close()  # before the first line
    said = b""
    if command.stderr is not None:
        with command.stderr as pipe:
            said = pipe.read()
    assert command.wait(60) == 0
    assert said == b""
    assert "splits" in json.loads((tmp_path / "report.json").read_text())


def test_what_follows_a_closed_pipe_is_dropped() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.close(reading)
        gone = _Lasting(stream)
        for _ in range(3):
            assert gone.write("x" * 100) == 100
            gone.flush()
        assert gone.writable()
