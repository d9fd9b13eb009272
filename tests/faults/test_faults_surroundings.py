"""Table of cases: few file handles, little memory, no HOME, no place for temporary files, other locales and Python options."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import QUICK
from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.main import run_safely
from slimyolo.cli.system_errors import system_sentence
from slimyolo.errors import ExportError, StorageError
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.inference import VideoFile
from slimyolo.models import build_detector
from slimyolo.storage import atomic_folder, temporary_folder, write_text
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.report import write_report
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.train import train

SAID = [
    (
        OSError(errno.EMFILE, "Too many open files"),
        "Too many open files. Allow this process more open files (ulimit -n",
    ),
    (OSError(errno.ENOSPC, "No space left on device", "/x/a"), "'/x/a'. Make space there, or write to another place."),
    (MemoryError(), "There is not enough memory. Smaller pictures (--imgsz)"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "There is not enough memory ([enforce"),
    (ImportError("a.so: failed to map segment from shared object"), "There is not enough memory (a.so: failed"),
    (RuntimeError("a defect"), None),
    (ValueError("a defect"), None),
]


@pytest.mark.parametrize(("error", "said"), SAID, ids=[repr(error)[:40] for error, _ in SAID])
def test_what_the_system_refuses_is_a_sentence_and_a_defect_is_not(
    error: Exception, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> int:
        raise error

    if said is None:
        assert system_sentence(error) is None
        with pytest.raises(type(error)):
            run_safely(fails)
    else:
        assert run_safely(fails) == 2
        assert said in capsys.readouterr().err


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nothing"])
    with pytest.raises(StorageError, match=r"no place for temporary files.*TMPDIR=FOLDER slimyolo"):
        temporary_folder()


def test_umask_decides_who_may_read_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "record.json", "{}")
        with atomic_folder(tmp_path / "best_openvino_model") as folder:
            (folder / "best.xml").write_text("")
    finally:
        os.umask(before)
    write_text(tmp_path / "open.json", "{}")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    open_mode = 0o666 & ~before
    assert modes == {"record.json": 0o600, "best_openvino_model": 0o700, "best.xml": 0o600, "open.json": open_mode}


TRAINING = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, 3_000_000_000))
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.report import write_report
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.train import train
assert not __debug__ or sys.exit("assertions are on")
settings = json.loads(sys.argv[1])
train(TrainConfig(data=Path(sys.argv[2]), cfg=sys.argv[3], project=Path(sys.argv[4]), name="there", **settings))
"""


@pytest.mark.slow
def test_a_training_in_poor_surroundings_gives_the_same_weights(
    tiny_data: Path, small_cfg: str, tmp_path: Path
) -> None:
    """32 file handles, 3 GB of address space, an unwritable HOME, no TMPDIR, the locale C without UTF-8 mode, assertions off,
    another hash seed: the weights are those of a training in usual surroundings, bit for bit."""
    settings = {**QUICK, "workers": 2, "cache": None, "deterministic": True}
    here = train(TrainConfig(data=tiny_data, cfg=small_cfg, project=tmp_path, name="here", **settings))
    poor = {
        **{key: value for key, value in os.environ.items() if key not in ("LANG", "LC_CTYPE")},
        "HOME": "/proc/nothing",
        "TMPDIR": "/proc/nothing",
        "PYTHONHASHSEED": "4711",
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONOPTIMIZE": "1",
    }
    words = [sys.executable, "-c", TRAINING, json.dumps(settings), str(tiny_data), small_cfg, str(tmp_path)]
    done = subprocess.run(words, env=poor, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    ours, theirs = (
        load_checkpoint(run / "weights" / "last.pt").tensors for run in (here_folder(here.last), tmp_path / "there")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def here_folder(last: str) -> Path:
    return Path(last).parent.parent


def test_few_file_handles_are_enough_for_loader_processes(tiny_data: Path, small_cfg: str, tmp_path: Path) -> None:
    """As many as are open now, and 24 more; what stays open after a run would be noticed here as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 25, hard))
    try:
        settings = {**QUICK, "workers": 2, "cache": None, "noplots": True}
        train(TrainConfig(data=tiny_data, cfg=small_cfg, project=tmp_path, name="few", **settings))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Every write beyond `size` bytes of a file fails, as on a full disk, but without mounting one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def add_noise(video: VideoFile, frames: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(frames):
        video.add(generator.integers(0, 255, (64, 64, 3), np.uint8), 25.0)


def test_a_video_that_does_not_arrive_whole_is_an_error_and_is_removed(tmp_path: Path) -> None:
    """OpenCV writes on as if nothing had happened when the disk is full."""
    video = VideoFile(tmp_path / "clip")
    with files_of_at_most(20_000):
        add_noise(video, 30)
        with pytest.raises(StorageError, match=r"clip\.mp4 could not be written whole \(\d+ of 30 frames.*full disk"):
            video.close()
    assert not list(tmp_path.iterdir())
    with VideoFile(tmp_path / "clip") as whole:
        add_noise(whole, 30)
        assert not (tmp_path / "clip.mp4").exists()  # only a hidden file until it is complete
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_video_stops_soon_after_the_disk_became_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimyolo.inference.video_file._free_bytes", lambda folder: 1000.0)
    with pytest.raises(StorageError, match=r"no space left on the disk.*--project FOLDER"):
        add_noise(VideoFile(tmp_path / "clip"), 1)


@pytest.mark.slow
def test_a_report_and_an_export_on_a_full_disk(small_cfg: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "weights").mkdir(parents=True)
    detector = build_detector(read_architecture(small_cfg).with_classes(2), names=("a", "b"), seed=0)
    save_checkpoint(run / "weights" / "best.pt", detector)
    write_text(run / "results.csv", "epoch,mAP50\n1,0.5\n2,0.6\n")
    write_text(run / "opt.yaml", "command: train\n")
    with files_of_at_most(2000):
        with pytest.raises(StorageError, match=r"Cannot write .*page\.html: File too large"):
            write_report([run], tmp_path / "page.html")
        with pytest.raises((StorageError, ExportError), match=r"best|torchscript"):
            export(
                ExportConfig(weights=run / "weights" / "best.pt", format=("torchscript",), imgsz=64, output=tmp_path)
            )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # nothing half written
