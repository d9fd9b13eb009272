"""Table of cases: ``compress --resume`` with the dataset at another place: the same content goes on, other content is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slimfaces import render_dataset
from slimyolo.cli.main import make_settings
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.errors import ConfigError, DataError
from slimyolo.storage import write_json
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.stages import Stages
from slimyolo.tasks.common.runs.provenance import data_provenance


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a chain that was begun with the dataset ``set``; its base has noted the content of the data."""
    monkeypatch.chdir(tmp_path)
    data = render_dataset(Path("set"), train=2, val=2, size=64, seed=0)
    run = Stages.begun(CompressConfig(data=data, cfg="yolov5n"), "chain.json", "chain").folder
    dataset = read_dataset_yaml(data)
    splits = {name: read_split(dataset, name) for name in ("train", "val")}
    write_json(run / "base" / "record.json", {"provenance": {"data": data_provenance(dataset, splits)}})
    return run


def go_on(run: Path, **given: object) -> Stages:
    config = make_settings(CompressConfig, {"resume": str(run), **given})
    assert isinstance(config, CompressConfig)
    return Stages.begun(config, "chain.json", "chain")


def test_the_same_data_at_another_place_go_on(run: Path) -> None:
    shutil.move("set", "elsewhere")
    assert go_on(run, data="elsewhere/data.yaml").folder == run
    shutil.copytree("elsewhere", "copy")
    Path("copy/data.yaml").rename("copy/other.yaml")
    assert go_on(run, data=Path("copy/other.yaml").resolve()).folder == run


def test_the_same_file_under_another_name_goes_on(run: Path) -> None:
    assert go_on(run, data=str(Path("set/data.yaml").resolve())).folder == run
    assert go_on(run).folder == run


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_labels_are_refused_by_the_name_of_the_split(run: Path, split: str) -> None:
    shutil.copytree("set", "other")
    (label,) = sorted(Path(f"other/labels/{split}").glob("*.txt"))[:1]
    label.write_text("0 0.5 0.5 0.25 0.25\n")
    said = (
        rf"--resume continues {run} with the same data; got other/data.yaml: its {split} split has other images or labels\. "
        "Give --data with the same content, or leave --resume out to start a new run"
    )
    with pytest.raises(ConfigError, match=said):
        go_on(run, data="other/data.yaml")


def test_another_number_of_pictures_is_refused(run: Path) -> None:
    shutil.copytree("set", "fewer")
    sorted(Path("fewer/images/train").iterdir())[0].unlink()
    with pytest.raises(ConfigError, match="its train split has other images or labels"):
        go_on(run, data="fewer/data.yaml")


def test_before_a_stage_has_noted_its_data_nothing_can_be_compared(run: Path) -> None:
    (run / "base" / "record.json").unlink()
    shutil.copytree("set", "copy")
    with pytest.raises(ConfigError, match="no stage has noted its content yet"):
        go_on(run, data="copy/data.yaml")
    with pytest.raises(DataError, match="no dataset file"):
        go_on(run, data="none.yaml")
