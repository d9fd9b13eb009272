"""Table of cases: pictures and labels that change or go away while a training reads them, and run folders made by others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.data.pictures.image_store import ImageStore
from slimyolo.errors import ConfigError, DataError, StorageError
from slimyolo.reports.pictures import picture_rows
from slimyolo.reports.records.run_files import read_sample
from slimyolo.storage import write_json, write_text
from slimyolo.tasks.report import write_report

# --- a dataset that changes in the middle of an epoch -----------------------------------------------------------------


def gone(file: Path) -> None:
    shutil.rmtree(file.parent)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


def other_size(file: Path) -> None:
    cv2.imwrite(str(file), np.zeros((30, 40, 3), np.uint8))


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (gone, "No such file or directory"),
    (cut_short, "damaged|cannot be decoded|ends too early|truncated|incomplete"),
    (other_size, "has changed since it was first read"),
    (a_pipe, "it is a pipe, expected a file"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_picture_that_changes_after_it_was_listed_is_named(
    change: Callable[[Path], None], said: str, tiny_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_data.parent, tmp_path / "data")
    split = read_split(read_dataset_yaml(tmp_path / "data" / "data.yaml"), "train")
    store = ImageStore(split.samples, (64, 64), shrinking="area", rounding="down", cache=None)
    file = Path(split.samples[0].image)
    assert store[0].shape == (64, 64, 3)
    change(file)
    with pytest.raises(DataError, match=rf"(?s){file.name}.*({said})"):
        store[0]


def test_labels_that_change_while_a_training_runs_are_not_read_again(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data.parent, tmp_path / "data")
    split = read_split(read_dataset_yaml(tmp_path / "data" / "data.yaml"), "train")
    before = [sample.boxes.copy() for sample in split.samples]
    shutil.rmtree(tmp_path / "data" / "labels")
    assert all(np.array_equal(sample.boxes, boxes) for sample, boxes in zip(split.samples, before, strict=True))


def test_a_dataset_that_is_gone_when_a_run_is_resumed(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data.parent, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "images")
    with pytest.raises(DataError, match="images"):
        read_split(read_dataset_yaml(tmp_path / "data" / "data.yaml"), "train")
    shutil.rmtree(tmp_path / "data")
    with pytest.raises((ConfigError, DataError), match=r"data\.yaml"):
        read_dataset_yaml(tmp_path / "data" / "data.yaml")


# --- run folders of others, given to `report` -------------------------------------------------------------------------

SECRET = b"-----BEGIN PRIVATE KEY-----"


@pytest.fixture
def strange_run(tmp_path: Path) -> Path:
    """A run folder with one validation picture; its names are markup."""
    run = tmp_path / "<img src=x onerror=alert(1)>"
    (run / "sample").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(SECRET)
    write_text(run / "opt.yaml", "command: train\ndata: '<script>alert(1)</script>'\n")
    write_text(run / "results.csv", "epoch,<script>alert(1)</script>\n1,0.5\n")
    row = {"file": "0.jpg", "name": "<script>alert(1)</script>", "width": 8, "height": 8, "truth": [[0, 0, 0, 1, 1]]}
    names = ["<script>alert(1)</script>"]
    write_json(run / "sample.json", {"names": names, "shown_score": 0.25, "images": [{**row, "detections": []}]})
    (run / "sample" / "0.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    return run


def test_names_in_a_run_folder_are_text_on_the_page(strange_run: Path, tmp_path: Path) -> None:
    write_report([strange_run], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    sample = read_sample(strange_run)
    assert sample is not None
    (row,) = picture_rows([("run", sample)], 6, "")
    assert "data:image/jpeg;base64," in row.definition
    assert "<script>alert" not in "".join([row.definition, *(panel.svg for panel in row.panels)])


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_link_out_of_the_run_folder_is_refused(strange_run: Path, tmp_path: Path, where: str) -> None:
    """Otherwise the page would hold the user's own file, and pages are sent to others."""
    shutil.rmtree(strange_run / "sample")
    if where == "file":
        (strange_run / "sample").mkdir()
        (strange_run / "sample" / "0.jpg").symlink_to(tmp_path / "secret")
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "0.jpg").write_bytes(b"\xff\xd8" + SECRET)
        (strange_run / "sample").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"0\.jpg is a link that leads out of the run folder"):
        write_report([strange_run], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_what_is_not_a_jpeg_is_refused_and_a_path_in_the_record_leads_nowhere(
    strange_run: Path,
) -> None:
    record = json.loads((strange_run / "sample.json").read_text())
    record["images"][0]["file"] = "../../secret"  # only the last part of the name counts
    write_json(strange_run / "sample.json", record)
    sample = read_sample(strange_run)
    assert sample is not None
    assert not sample.images
    (strange_run / "sample" / "secret").write_bytes(SECRET)
    sample = read_sample(strange_run)
    assert sample is not None
    with pytest.raises(StorageError, match="secret is not a JPEG picture"):
        picture_rows([("run", sample)], 6, "")


def test_a_run_folder_that_is_a_link_may_be_read(strange_run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(strange_run)
    assert write_report([tmp_path / "latest"], tmp_path / "page.html").size_bytes > 0
