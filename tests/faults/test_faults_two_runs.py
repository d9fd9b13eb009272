"""Table of cases: two processes that work in one run folder at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import QUICK
from slimyolo.cli.main import run_safely
from slimyolo.errors import StorageError
from slimyolo.storage import LOCK_FILE, only_run_in, write_json
from slimyolo.tasks.chain.compress import CHAIN_FILE, compress
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.runs.same_settings import settings_that_stay
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.train import train

pytest.importorskip("fcntl")

HOLDER = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(handle, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A run folder in which another process works."""
    folder = tmp_path / "run"
    (folder / "weights").mkdir(parents=True)
    command = [sys.executable, "-S", "-c", HOLDER, str(folder / LOCK_FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield folder
        process.kill()


def test_two_compress_resume_on_one_folder(busy: Path, tiny_data: Path) -> None:
    config = CompressConfig(data=tiny_data, cfg="yolov5n", imgsz=64, project=busy.parent, name=busy.name)
    write_json(busy / CHAIN_FILE, {"settings": settings_that_stay(config)})
    before = sorted(busy.rglob("*"))
    with pytest.raises(StorageError, match=r"is in use: another process works in it\. Wait until"):
        compress(config.changed(resume=busy))
    assert sorted(busy.rglob("*")) == before


def test_two_trainings_that_resume_one_run(busy: Path, tiny_data: Path) -> None:
    last = busy / "weights" / "last.pt"
    (busy / "weights" / ".last.pt.abc.part").write_text("the other process writes this now")
    with pytest.raises(StorageError, match="is in use"):
        train(TrainConfig(data=tiny_data, cfg="yolov5n", imgsz=64, resume=last))
    assert list((busy / "weights").iterdir())  # the unfinished file of the other process was not removed


def test_a_run_that_ended_leaves_no_lock(
    tiny_data: Path, small_cfg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimyolo.tasks.train.run.fit", _stops)
    with pytest.raises(RuntimeError, match="stop here"):
        train(TrainConfig(data=tiny_data, cfg=small_cfg, project=tmp_path, name="run", noplots=True, **QUICK))
    assert (tmp_path / "run" / "opt.yaml").is_file()
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def _stops(*_: object, **__: object) -> None:
    raise RuntimeError("stop here")


def test_the_command_line_says_it(busy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def inside() -> int:
        with only_run_in(busy):
            return 0

    assert run_safely(inside) == 2
    assert f"slimyolo: {busy} is in use" in capsys.readouterr().err
