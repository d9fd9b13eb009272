"""Property: SIGINT, as Ctrl-C sends it, ends a real process with status 130 and the line that goes on, and no traceback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.main import make_settings
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.train.config import TrainConfig

LONGEST = 240  # seconds to wait on a busy machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset ``set`` and a checkpoint ``a.pt``."""
    folder = tmp_path_factory.mktemp("ctrl-c")
    render_dataset(folder / "set", train=4, val=2, size=64, seed=0)
    detector = build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval()
    save_checkpoint(folder / "a.pt", detector, provenance={"settings": {"imgsz": 64}})
    return folder


def stopped(line: str, folder: Path, began: Callable[[], bool]) -> tuple[int, str, str]:
    """(status, standard output, standard error) of ``slimyolo LINE``, which gets SIGINT as soon as `began` is true."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as output, err.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "slimyolo", *shlex.split(line)],
            cwd=folder,
            stdout=output,
            stderr=errors,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
        )
        try:
            end = time.monotonic() + LONGEST
            while not began() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            status = process.wait(LONGEST)
        finally:
            process.kill()
            process.wait()
    return status, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


SMALL = "--data set/data.yaml --cfg yolov5n --imgsz 64 --batch-size 2 --workers 0 --cache --noplots --epochs 500"


@pytest.mark.parametrize(
    ("command", "last"),
    [
        pytest.param("train", "weights/last.pt", marks=pytest.mark.slow),
        ("compress", "base/weights/last.pt"),
    ],
)
def test_a_run_says_how_it_goes_on(command: str, last: str, folder: Path) -> None:
    run = Path("runs") / command / "exp"
    status, _, err = stopped(f"{command} {SMALL}", folder, lambda: (folder / run / last).is_file())
    assert status == 130, err
    assert err.endswith(f"slimyolo: stopped.\nGo on with: slimyolo {command} --resume {run}\n")
    assert "Traceback" not in err
    assert (folder / run / last).is_file()


def test_the_line_is_one_that_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for kind, line in ((TrainConfig, "runs/train/exp"), (CompressConfig, "runs/compress/exp")):
        if Path(line).is_dir():  # the test above has run
            settings = make_settings(kind, {"resume": line})
            assert settings.to_plain()["epochs"] == 500


def test_val_stops_without_a_run_folder(folder: Path) -> None:
    def began() -> bool:
        return "image size:" in (folder / "out").read_text(encoding="utf-8")

    status, _, err = stopped("val a.pt set/data.yaml --workers 0", folder, began)
    assert (status, err) == (130, "slimyolo: stopped.\n")
    assert not (folder / "runs" / "val").exists()
