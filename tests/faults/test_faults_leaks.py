"""Table of cases: errors and defects never quote the lines of a file that is not what its name says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slimyolo.cli.options import read_config_file
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.data.dataset.labels import parse_labels
from slimyolo.errors import DataError, SlimyoloError
from slimyolo.families import read_architecture
from slimyolo.inference import read_pictures
from slimyolo.storage import read_json
from slimyolo.tasks.prune.plan import read_plan
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import read_hyperparameters

SECRET = b"root:$6$Geheimnis:19000:0:99999:7:::\n%daemon: [Geheimnis] 7 8 9\nGeheimnis 0.5 0.5 0.1 0.1\n0 0.5 Geheimnis 1 1\n"


def test_a_label_that_is_a_link_to_another_file(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    shutil.copytree(tiny_data.parent, tmp_path / "set")
    label = sorted((tmp_path / "set" / "labels" / "val").iterdir())[0]
    label.unlink()
    label.symlink_to(tmp_path / "secret")
    split = read_split(read_dataset_yaml(tmp_path / "set" / tiny_data.name), "val")
    assert any("its word 1 is not a number" in str(defect) for defect in split.defects)
    assert "Geheimnis" not in "\n".join(map(str, split.defects))


@pytest.mark.parametrize(
    "row", [b"1e5 0.1 0.1 0.1 0.1", b"0.5 0.1 0.1 0.1 0.1", b"0 9 9 9 9", b"0 0.1", b"nan 1 1 1 1"]
)
def test_numbers_may_be_told(row: bytes) -> None:
    (defect, _) = parse_labels(row, Path("a.txt"), 2).defects
    assert len(defect.message) < 120


def test_a_list_that_is_a_link_to_another_file(tiny_data: Path, tmp_path: Path) -> None:
    images = sorted((tiny_data.parent / "images" / "val").iterdir())
    (tmp_path / "list.txt").write_bytes(SECRET + f"{images[0]}\nmissing.jpg\n".encode())
    (tmp_path / "data.yaml").write_text("train: list.txt\nval: list.txt\nnames: [a, b]\n")
    split = read_split(read_dataset_yaml(tmp_path / "data.yaml"), "val")
    told = "\n".join(map(str, split.defects))
    assert "Geheimnis" not in told
    assert "list.txt:1: the file that this line names does not exist" in told
    assert "list.txt:6: missing.jpg does not exist" in told  # the name of a picture helps, and tells nothing
    with pytest.raises(DataError, match=r"list\.txt:1 names neither a picture nor a video") as caught:
        list(read_pictures(str(tmp_path / "list.txt")))
    assert "Geheimnis" not in str(caught.value)


def test_settings_that_are_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(SECRET)
    readers = (
        read_dataset_yaml,
        read_architecture,
        lambda path: read_hyperparameters(path, ()),
        lambda path: read_config_file(str(path), TrainConfig),
        read_json,
        read_plan,
    )
    for read in readers:
        with pytest.raises(SlimyoloError) as caught:
            read(tmp_path / "a.yaml")
        assert "Geheimnis" not in str(caught.value)
