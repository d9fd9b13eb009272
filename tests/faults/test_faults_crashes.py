"""Table of cases: a crash in native code is told in a sentence with the file's name, and the exit status stays."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slimyolo import at_work
from slimyolo.at_work import NOTES_BYTES, Work, notes_in
from slimyolo.cli.crashes import crash_sentence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be forked there")

LIMIT_S = 280  # of wall time, for processes that end by themselves in a second; a busy machine may need many more
START = """
import ctypes, os, signal, sys, threading, time
from pathlib import Path
from slimyolo.at_work import Work
from slimyolo.cli.crashes import tell_crashes
tell_crashes()
"""
SEGMENTATION = "ctypes.string_at(0)"
WAIT = "thread.start(); thread.join()"
# what is done → the signal that ends the process, what is said
CASES = {
    "opening": (
        f"with Work('ONNX Runtime', Path('a.onnx')): {SEGMENTATION}",
        signal.SIGSEGV,
        "a runtime crashed (Segmentation fault): ONNX Runtime was working on a.onnx.",
    ),
    "abort": (
        "with Work('ncnn', Path('a.param')): os.abort()",
        signal.SIGABRT,
        "a runtime crashed (Aborted): ncnn was working on a.param.",
    ),
    "bus error": (
        "with Work('ncnn', Path('a.param')): os.kill(os.getpid(), signal.SIGBUS); signal.pause()",
        signal.SIGBUS,
        "a runtime crashed (Bus error): ncnn was working on a.param.",
    ),
    "another thread": (
        f"thread = threading.Thread(target=lambda: {SEGMENTATION})\nwith Work('openvino', Path('a.xml')): {WAIT}",
        signal.SIGSEGV,
        "openvino was working on a.xml.",
    ),
    "two files": (
        f"with Work('openvino', Path('a.xml')), Work('ncnn', Path('b.param')): {SEGMENTATION}",
        signal.SIGSEGV,
        "openvino was working on a.xml; ncnn was working on b.param.",
    ),
    "afterwards": (
        f"with Work('openvino', Path('a.xml')): pass\n{SEGMENTATION}",
        signal.SIGSEGV,
        "a library crashed (Segmentation fault), while no exported file was at work. To see where",
    ),
    "a name with control characters and strange bytes": (
        f"with Work('ncnn', Path('a\\x1b[31m\\udcff\\n.param')): {SEGMENTATION}",
        signal.SIGSEGV,
        r"ncnn was working on a\u001b[31m\udcff\u000a.param.",
    ),
    "a long name": (
        f"with Work('ncnn', Path('a' * 20_000)): {SEGMENTATION}",
        signal.SIGSEGV,
        "aaa…",
    ),
}


def _run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", START + text], capture_output=True, text=True, timeout=LIMIT_S
    )


@pytest.mark.parametrize("name", CASES)
def test_a_crash_is_told(name: str) -> None:
    text, number, said = CASES[name]
    done = _run(text)
    assert done.returncode == -number
    assert done.stderr.startswith("slimyolo: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("text", ["sys.exit(3)", "os._exit(3)", "raise SystemExit(3)"])
def test_an_ordinary_end_says_nothing(text: str) -> None:
    done = _run(text)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_from_outside_is_no_crash(number: signal.Signals) -> None:
    done = _run(f"os.kill(os.getpid(), {int(number)}); signal.pause()")
    assert (done.returncode, done.stderr) == (-number, "")


def test_ctrl_c_for_the_whole_group_does_not_end_the_one_who_tells() -> None:
    done = _run(
        f"""
signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = int(Path(f'/proc/self/task/{{os.getpid()}}/children').read_text())
def ignored():
    words = Path(f'/proc/{{child}}/status').read_text().split()
    return int(words[words.index('SigIgn:') + 1], 16)
while not ignored() & 1 << (signal.SIGQUIT - 1):  # the last one that it ignores
    time.sleep(0.01)
os.kill(child, signal.SIGINT); os.kill(child, signal.SIGTERM)
with Work('ncnn', Path('a.param')): {SEGMENTATION}
"""
    )
    assert done.returncode == -signal.SIGSEGV
    assert "ncnn was working on a.param" in done.stderr


def test_stacks_are_told_to_those_who_asked_for_them() -> None:
    done = _run(f"with Work('ncnn', Path('a.param')): {SEGMENTATION}", "-X", "faulthandler")
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.startswith("slimyolo: a runtime crashed")
    assert "ctypes" in done.stderr


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> mmap.mmap:
    """The memory of the notes, for this test alone."""
    made = mmap.mmap(-1, NOTES_BYTES)
    monkeypatch.setattr(at_work, "_shared", [made])
    return made


def test_a_note_ends_with_its_block_also_after_an_error(page: mmap.mmap) -> None:
    work = Work("ncnn", Path("a.param"))
    assert notes_in(page) == []

    def fail() -> None:
        with work:
            assert notes_in(page) == ["ncnn was working on a.param"]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert notes_in(page) == []


def test_a_note_stays_until_the_last_of_overlapping_blocks_ends(page: mmap.mmap) -> None:
    work = Work("ncnn", Path("a.param"))
    with work:
        with work:
            pass
        assert notes_in(page) == ["ncnn was working on a.param"]
    assert notes_in(page) == []


def test_places_are_used_again_and_never_run_out(page: mmap.mmap) -> None:
    for number in range(100):
        with Work("ncnn", Path(str(number))):
            assert notes_in(page) == [f"ncnn was working on {number}"]
    held = [Work("ncnn", Path(str(number))) for number in range(100)]
    with held[-1]:
        assert notes_in(page) == ["ncnn was working on 99"]
    del held
    with Work("ncnn", Path("a")), Work("ncnn", Path("b")):
        assert len(notes_in(page)) == 2


def test_without_memory_for_notes_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "_shared", [])
    with Work("ncnn", Path("a.param")) as work:
        assert work._page is None


def test_the_sentence_says_what_to_type_next() -> None:
    assert crash_sentence("Aborted", "ncnn was working on a.param").endswith("(slimyolo export --format).")
    assert "python -X faulthandler -m slimyolo" in crash_sentence("Aborted", "")


FAKE = """
import ctypes
__version__ = "0"
class SessionOptions:
    def add_session_config_entry(self, *_): pass
class _Value:
    name, type, shape = "images", "tensor(float)", [1, 3, 64, 64]
class _Rows:
    name, shape = "rows", [1, 252, 7]
class InferenceSession:
    def __init__(self, path, *_, **__):
        if "opened" in path: ctypes.string_at(0)
    def get_inputs(self): return [_Value]
    def get_outputs(self): return [_Rows]
    def get_modelmeta(self): return type("", (), {"custom_metadata_map": {}})
    def run(self, *_): ctypes.string_at(0)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--weights", "run.onnx", "--source", "a.png", "--names", "a", "b"],
        pytest.param(["predict", "--weights", "opened.onnx", "--source", "a.png"], marks=pytest.mark.slow),
        pytest.param(["val", "--weights", "opened.onnx", "--data", "DATA", "--imgsz", "64"], marks=pytest.mark.slow),
        pytest.param(["bench", "--weights", "opened.onnx"], marks=pytest.mark.slow),
        pytest.param(["serve", "--weights", "opened.onnx", "--port", "0"], marks=pytest.mark.slow),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_commands_tell_which_file_a_runtime_crashed_on(words: list[str], tmp_path: Path, tiny_data: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(FAKE)
    (tmp_path / words[2]).write_bytes(b"\x08\x09")
    picture = next((tiny_data.parent / "images").rglob("*.*"))
    (tmp_path / "a.png").write_bytes(picture.read_bytes())
    words = [str(tiny_data) if word == "DATA" else word for word in words]
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "slimyolo", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert f"a runtime crashed (Segmentation fault): onnxruntime was working on {words[2]}." in done.stderr
