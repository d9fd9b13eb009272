"""Table of cases: what `render_dataset` writes, repeats, completes and refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from slimfaces import RenderRefusedError, RenderWriteError, render_dataset
from slimyolo.errors import DataError, StorageError
from slimyolo.tasks.dataset import synth
from slimyolo.tasks.dataset_config import DataSynthConfig


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_dataset(tmp_path_factory.mktemp("synth") / "set", train=4, val=2, size=96, seed=5).parent


def test_layout_and_yaml(rendered: Path) -> None:
    spec = yaml.safe_load((rendered / "data.yaml").read_text())
    assert spec == {
        "path": ".",
        "train": "images/train",
        "val": "images/val",
        "nc": 2,
        "names": {0: "face", 1: "face_mask"},
    }
    for split, count in (("train", 4), ("val", 2)):
        images = sorted((rendered / "images" / split).iterdir())
        labels = sorted((rendered / "labels" / split).iterdir())
        assert [path.stem for path in images] == [path.stem for path in labels]
        assert len(images) == count
        for path in images:
            assert cv2.imread(str(path)).shape == (96, 96, 3)
        for path in labels:
            for line in path.read_text().splitlines():
                assert line.split()[0] in ("0", "1")
                assert len(line.split()) == 5


def test_same_seed_same_bytes_and_other_seed_other_pictures(rendered: Path, tmp_path: Path) -> None:
    again = render_dataset(tmp_path / "again", train=4, val=2, size=96, seed=5).parent
    assert _contents(again) == _contents(rendered)
    other = render_dataset(tmp_path / "other", train=1, val=1, size=96, seed=6).parent
    name = "images/train/train_00000.jpg"
    assert (other / name).read_bytes() != (rendered / name).read_bytes()
    assert (other / name).read_bytes() != (other / "images/val/val_00000.jpg").read_bytes()


def test_a_picture_does_not_depend_on_how_many_are_made(rendered: Path, tmp_path: Path) -> None:
    small = render_dataset(tmp_path / "small", train=1, val=0, size=96, seed=5).parent
    name = "images/train/train_00000.jpg"
    assert (small / name).read_bytes() == (rendered / name).read_bytes()


def test_zero_val_leaves_an_empty_folder(tmp_path: Path) -> None:
    folder = render_dataset(tmp_path / "set", train=1, val=0, size=64).parent
    assert list((folder / "images/val").iterdir()) == []


def test_smallest_size(tmp_path: Path) -> None:
    folder = render_dataset(tmp_path / "set", train=6, val=0, size=32).parent
    assert len(list((folder / "images/train").iterdir())) == 6


def test_finished_rendering_is_left_as_it_is(rendered: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*.jpg")}
    assert render_dataset(rendered, train=4, val=2, size=96, seed=5) == rendered / "data.yaml"
    assert {path: path.stat().st_mtime_ns for path in rendered.rglob("*.jpg")} == before


def test_interrupted_rendering_goes_on(rendered: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 6
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_dataset(tmp_path / "set", train=4, val=2, size=96, seed=5, on_progress=stop)
    assert not (tmp_path / "set/data.yaml").exists()
    assert json.loads((tmp_path / "set/synth.json").read_text())["state"] == "unfinished"
    (tmp_path / "set/images/train/.train_00003.jpg.part").write_bytes(b"half a pic")
    counts: list[int] = []
    render_dataset(tmp_path / "set", train=4, val=2, size=96, seed=5, on_progress=lambda done, _: counts.append(done))
    assert counts == [1, 2, 3, 4, 5, 6]
    assert _contents(tmp_path / "set") == _contents(rendered)


def test_missing_pictures_of_a_finished_rendering_are_made_again(rendered: Path, tmp_path: Path) -> None:
    folder = render_dataset(tmp_path / "set", train=4, val=2, size=96, seed=5).parent
    (folder / "images/train/train_00001.jpg").unlink()
    (folder / "labels/val/val_00000.txt").unlink()
    render_dataset(folder, train=4, val=2, size=96, seed=5)
    assert _contents(folder) == _contents(rendered)


def test_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "photos.jpg").write_bytes(b"mine")
    with pytest.raises(
        RenderRefusedError,
        match=r"not empty and was not made by slimyolo data synth.*Choose a folder that is new or empty",
    ):
        render_dataset(tmp_path, train=1, val=0)
    assert [path.name for path in tmp_path.iterdir()] == ["photos.jpg"]


@pytest.mark.parametrize("text", ["{", "[]", '{"slimyolo_synth": 3}', "\x00\xff"])
def test_damaged_marker_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "synth.json").write_text(text, encoding="latin-1")
    with pytest.raises(RenderRefusedError, match=r"damaged, or was not written by a rendering\. Nothing was written"):
        render_dataset(tmp_path, train=1, val=0)


def test_other_rendering_is_refused(rendered: Path) -> None:
    before = _contents(rendered)
    with pytest.raises(
        RenderRefusedError, match=r"holds another rendering \(version \d+, train 4.*seed 5\).*train 4.*seed 7.*delete"
    ):
        render_dataset(rendered, train=4, val=2, size=96, seed=7)
    assert _contents(rendered) == before


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    with pytest.raises(RenderRefusedError, match=r"is a file; expected a folder"):
        render_dataset(tmp_path / "set", train=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(RenderWriteError, match="Cannot write"):
        render_dataset(tmp_path / "set", train=1)


def test_a_folder_where_a_file_lies_is_an_error(tmp_path: Path) -> None:
    render_dataset(tmp_path / "set", train=1, val=0, size=64)
    (tmp_path / "set/labels/val").rmdir()
    (tmp_path / "set/labels/val").write_text("")
    with pytest.raises(RenderWriteError, match="Cannot make the folder"):
        render_dataset(tmp_path / "set", train=1, val=0, size=64)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"train": 0}, "train is 0; expected a whole number of at least 1"),  # nothing to train on
        ({"val": -1}, "val is -1"),
        ({"size": 31}, "size is 31; expected a whole number from 32 to 4096. Give for example size=320"),
        ({"size": 5000}, "size is 5000"),
        ({"seed": -3}, "seed is -3"),
        ({"train": 2.5}, "train is 2.5"),
        ({"train": True}, "train is True"),
    ],
)
def test_wrong_numbers(tmp_path: Path, numbers: dict[str, int], message: str) -> None:
    with pytest.raises(RenderRefusedError, match=message):
        render_dataset(tmp_path / "set", **numbers)
    assert not (tmp_path / "set").exists()


def test_threads_are_put_back(tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    render_dataset(tmp_path / "set", train=1, val=0, size=64)
    assert cv2.getNumThreads() == before


def test_numpy_numbers_are_taken(tmp_path: Path) -> None:
    assert render_dataset(tmp_path / "set", train=np.int64(1), val=np.int64(0), size=64).exists()


def test_the_renderer_imports_nothing_of_the_detector() -> None:
    code = "import sys, slimfaces; print(*{name.partition('.')[0] for name in sys.modules} & {'slimyolo', 'torch'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_command_answers_with_errors_of_slimyolo(tmp_path: Path) -> None:
    (tmp_path / "photos.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"not empty and was not made by slimyolo data synth"):
        synth(DataSynthConfig(folder=tmp_path))
    folder = render_dataset(tmp_path / "set", train=1, val=1, size=64).parent
    shutil.rmtree(folder / "labels/val")
    (folder / "labels/val").write_text("")
    with pytest.raises(StorageError, match="Cannot make the folder"):
        synth(DataSynthConfig(folder=folder, train=1, val=1, imgsz=64))
