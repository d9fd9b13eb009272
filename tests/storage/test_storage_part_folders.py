"""Table of cases: what a killed process left beside the folder that it wrote is removed by the next one, and nothing else is."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slimyolo.data.convert.layout import ReadyImage, write_layout
from slimyolo.storage import atomic_folder
from slimyolo.storage.part_folders import FIRST_WORDS

pytest.importorskip("fcntl")

WRITERS = """
import os, signal, sys
from pathlib import Path
from slimyolo.storage import atomic_folder

def write(target, case):
    with atomic_folder(target) as folder:
        (folder / "a.txt").write_text("half")
        if case == "killed while writing":
            os.kill(os.getpid(), signal.SIGKILL)
        if case == "killed in the exchange":  # in the moment in which the old folder is moved away
            rename = Path.rename
            Path.rename = lambda path, to: (rename(path, to), os.kill(os.getpid(), signal.SIGKILL))
        if case == "at work":
            print("ready", flush=True)
            sys.stdin.read()

for case in ("killed while writing", "killed in the exchange", "at work"):
    child = os.fork()
    if not child:
        write(Path(sys.argv[1], case, "model"), case)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A folder with a folder for each case, and the process in which the last of them is at work."""
    folder = tmp_path_factory.mktemp("scene")
    with atomic_folder(folder / "killed in the exchange" / "model") as before:
        (before / "a.txt").write_text("whole")
    words = [sys.executable, "-c", WRITERS, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield folder, process


def _hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_killed_conversion_leaves_nothing_after_the_next(
    scene: tuple[Path, subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    folder = scene[0] / "killed while writing"
    assert len(_hidden(folder)) == 1
    picture = folder / "p.png"
    picture.write_bytes(b"picture")
    image = ReadyImage(file=picture, name="p.png", split="train", label="0 .5 .5 .1 .1\n")
    with caplog.at_level(logging.WARNING, "slimyolo"):
        write_layout(folder / "other", [image], ("a",), {}, placing="auto")
    assert sorted(path.name for path in folder.iterdir()) == ["other", "p.png"]
    assert "was not complete: a command that wrote model was killed. It is removed." in caplog.text


def test_the_folder_of_before_comes_back_after_a_kill_in_the_middle_of_the_exchange(
    scene: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    folder = scene[0] / "killed in the exchange"
    assert len(_hidden(folder)) == 1
    assert not (folder / "model").exists()
    with atomic_folder(folder / "other"):
        pass
    assert len(_hidden(folder)) == 1  # what stood at "model" is not for a command that writes "other" to move
    with pytest.raises(KeyError), atomic_folder(folder / "model"):
        raise KeyError
    assert (folder / "model" / "a.txt").read_text() == "whole"
    assert _hidden(folder) == []


def test_the_folder_of_a_process_that_works_stays(scene: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder = scene[0] / "at work"
    theirs = _hidden(folder)
    with atomic_folder(folder / "other"), atomic_folder(folder / "third"):
        assert len(_hidden(folder)) == 3
    assert _hidden(folder) == theirs
    scene[1].communicate(b"")
    assert _hidden(folder) == []
    assert (folder / "model" / "a.txt").read_text() == "half"


def _no_owner(folder: Path) -> None:
    (folder / "new").mkdir()


def _another_owner(folder: Path) -> None:
    (folder / "owner").write_text("me")


def _one_more_file(folder: Path) -> None:
    (folder / "owner").write_bytes(FIRST_WORDS + b"a")
    (folder / "diary.txt").write_text("mine")


def _a_link(folder: Path) -> None:
    (folder / "true").write_bytes(FIRST_WORDS + b"a")
    (folder / "owner").symlink_to("true")


@pytest.mark.parametrize("fill", [_no_owner, _another_owner, _one_more_file, _a_link])
def test_folders_of_others_stay(fill: Callable[[Path], None], tmp_path: Path) -> None:
    others = tmp_path / ".a.xyz.part"
    others.mkdir()
    fill(others)
    (tmp_path / ".a.file.part").write_text("a file")
    before = sorted(others.rglob("*"))
    with atomic_folder(tmp_path / "a"):
        pass
    assert sorted(others.rglob("*")) == before
    assert (tmp_path / ".a.file.part").read_text() == "a file"
