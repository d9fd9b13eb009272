"""Table of cases: with which settings a run goes on, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from slimyolo.checkpoints import Checkpoint
from slimyolo.cli.main import make_settings, run_safely
from slimyolo.data import SplitData
from slimyolo.errors import ConfigError, DataError
from slimyolo.storage import write_json
from slimyolo.tasks.chain.compress import compress
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.runs.going_on import goes_on_with
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.runs.run_paths import inside_run
from slimyolo.tasks.common.runs.same_settings import settings_that_stay
from slimyolo.tasks.train.config import SparsifyConfig, TrainConfig
from slimyolo.tasks.train.resume import find_resumable, resumed_config, write_options
from slimyolo.tasks.train.run_folder import check_same_data

TRAIN = {"data": "d.yaml", "cfg": "yolov5n"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "exp"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "last.pt").touch()
    write_options(folder, TrainConfig(**TRAIN, epochs=7, project=tmp_path / "runs"))
    return folder


def test_a_run_goes_on_with_its_own_settings(run: Path) -> None:
    checkpoint = find_resumable("newest", run.parent)
    assert checkpoint == find_resumable(run, run.parent) == run / "weights" / "last.pt"
    config = resumed_config(TrainConfig, checkpoint, {"workers": 1, "epochs": "7"})
    assert (config.epochs, config.workers, config.resume, config.cfg) == (7, 1, checkpoint, "yolov5n")


def test_a_run_keeps_its_number_of_threads_until_another_is_given(run: Path) -> None:
    checkpoint = run / "weights" / "last.pt"
    assert resumed_config(TrainConfig, checkpoint, {}).cpu_threads is None
    write_options(run, TrainConfig(**TRAIN, epochs=7, project=run.parent, cpu_threads=3))
    assert resumed_config(TrainConfig, checkpoint, {}).cpu_threads == 3
    assert resumed_config(TrainConfig, checkpoint, {"cpu_threads": "1"}).cpu_threads == 1
    options = run / "opt.yaml"
    options.write_text(options.read_text().replace("cpu_threads: 3\n", ""))  # as older versions wrote it
    assert resumed_config(TrainConfig, checkpoint, {}).cpu_threads is None


def test_a_run_does_not_go_on_differently(run: Path) -> None:
    checkpoint = run / "weights" / "last.pt"
    with pytest.raises(ConfigError, match="with --epochs 7; got 9"):
        resumed_config(TrainConfig, checkpoint, {"epochs": 9})
    with pytest.raises(ConfigError, match="belongs to a run of `train`"):
        resumed_config(SparsifyConfig, checkpoint, {})


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run to resume"):
        find_resumable("newest", tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint"):
        find_resumable(tmp_path / "none.pt", tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "last.pt").touch()
    with pytest.raises(ConfigError, match=r"opt.yaml, which says how the run was started"):
        resumed_config(TrainConfig, tmp_path / "weights" / "last.pt", {})
    (tmp_path / "opt.yaml").write_text("[]")
    with pytest.raises(ConfigError, match=r"opt\.yaml is not a record of this version \(the whole of it: got a list"):
        resumed_config(TrainConfig, tmp_path / "weights" / "last.pt", {})


# --- from another place -------------------------------------------------------------------------------------------------


def test_relative_paths_lead_to_the_same_files_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first / "runs/exp/weights", second):
        folder.mkdir(parents=True)
    (first / "d.yaml").touch()
    (first / "my.yaml").write_text("lr0: 0.005\n")
    monkeypatch.chdir(first)
    write_options(Path("runs/exp"), TrainConfig(data="d.yaml", cfg="yolov5n", hyp="my.yaml", project="runs", epochs=7))
    monkeypatch.chdir(second)
    last = first / "runs/exp/weights/last.pt"
    config = resumed_config(TrainConfig, last, {"hyp": first / "my.yaml"})  # the same file under another name
    assert (config.data, config.hyp, config.cfg, config.project) == (
        first / "d.yaml",
        first / "my.yaml",
        "yolov5n",
        Path("runs"),
    )
    assert config.hyperparameters.lr0 == 0.005
    (second / "moved.yaml").touch()
    assert resumed_config(TrainConfig, last, {"data": "moved.yaml"}).data == Path("moved.yaml")
    (first / "my.yaml").unlink()  # hyp.yaml of the run has all values
    (first / "runs/exp/hyp.yaml").write_text("lr0: 0.005\n")
    assert resumed_config(TrainConfig, last, {}).hyperparameters.lr0 == 0.005


def _split(name: str, fingerprint: str) -> SplitData:
    return SplitData(name=name, root=Path(), names=("a",), samples=(), defects=(), fingerprint=fingerprint)


def test_moved_data_must_have_the_same_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    about = {
        "file": str(tmp_path / "d.yaml"),
        "splits": {"train": {"images": 5, "boxes": 9, "fingerprint": "t"}, "val": {"images": 2, "fingerprint": "v"}},
    }
    checkpoint = cast(Checkpoint, SimpleNamespace(provenance={"data": about}))
    moved = TrainConfig(data="other.yaml", cfg="yolov5n", resume="last.pt")
    check_same_data(moved, checkpoint, [_split("train", "t"), _split("val", "v")])
    with pytest.raises(ConfigError, match=r"the val split had 2 images .*; other.yaml has 0 .*--weights last"):
        check_same_data(moved, checkpoint, [_split("train", "t"), _split("val", "other")])
    (tmp_path / "d.yaml").touch()
    changed = moved.changed(data=tmp_path / "d.yaml")
    check_same_data(changed, checkpoint, [_split("train", "other"), _split("val", "v")])
    assert "the data were changed since the run began" in caplog.text
    check_same_data(moved, cast(Checkpoint, SimpleNamespace(provenance={})), [_split("train", "t")])  # an old file


# --- runs of several stages ---------------------------------------------------------------------------------------------


@pytest.fixture
def chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two chains with settings of their own; exp was worked on last."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("exp", "exp2")):
        config = CompressConfig(data="d.yaml", cfg="yolov5n", epochs=5 + number, name=name)
        folder = Path("runs/compress") / name
        folder.mkdir(parents=True)
        write_json(folder / "chain.json", {"settings": settings_that_stay(config), **run_provenance(config)})
        os.utime(folder / "chain.json", (1000 + number, 1000 + number))
    (tmp_path / "runs/compress/exp/base/weights").mkdir(parents=True)
    (tmp_path / "runs/compress/exp/base/weights/last.pt").touch()
    return tmp_path / "runs" / "compress"


@pytest.mark.parametrize(
    ("given", "name", "epochs"),
    [
        ({"resume": "newest"}, "exp", 5),  # without any other option
        ({"resume": True}, "exp", 5),
        ({"resume": "newest", "name": "exp2"}, "exp2", 6),
        ({"resume": "newest", "name": "exp", "epochs": "5", "workers": "1"}, "exp", 5),  # not exp2
        ({"resume": "runs/compress/exp2"}, "exp2", 6),
    ],
)
def test_which_chain_goes_on_and_how(chains: Path, given: dict[str, Any], name: str, epochs: int) -> None:
    config = make_settings(CompressConfig, given)
    assert isinstance(config, CompressConfig)
    assert (config.name, config.epochs, config.resume) == (name, epochs, Path("runs/compress") / name)
    assert (config.project, config.cfg) == (Path("runs/compress"), "yolov5n")


def test_a_chain_keeps_its_number_of_threads_until_another_is_given(chains: Path) -> None:
    config = CompressConfig(data="d.yaml", cfg="yolov5n", cpu_threads=3)
    write_json(chains / "exp" / "chain.json", {"settings": settings_that_stay(config), **run_provenance(config)})
    for given, threads in (({}, 3), ({"cpu_threads": "1"}, 1)):
        found = make_settings(CompressConfig, {"resume": "newest", "name": "exp", **given})
        assert isinstance(found, CompressConfig)
        assert found.cpu_threads == threads
        assert settings_that_stay(found) == settings_that_stay(config)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resume": "newest", "epochs": 9}, "was started with --epochs 5; got 9"),
        ({"resume": "newest", "name": "none"}, r"there is no run 'none' with a chain.json .*runs there: exp2, exp\)"),
        ({"resume": "newest", "project": "elsewhere"}, "there is no run of slimyolo compress in elsewhere"),
        ({"resume": "recipe.yaml"}, "Write the recipe before --resume"),
        ({"resume": "runs"}, "it holds no chain.json"),
        ({"resume": "runs/none"}, "runs/none is no run of slimyolo compress: it does not exist"),
    ],
)
def test_what_does_not_go_on(chains: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_settings(CompressConfig, given)


def test_damaged_settings_of_a_chain(chains: Path) -> None:
    (chains / "exp" / "chain.json").write_text("[")
    with pytest.raises(ConfigError, match="says how the run was started, cannot be read"):
        make_settings(CompressConfig, {"resume": "newest", "name": "exp"})


def test_a_refused_start_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no dataset file"):
        compress(CompressConfig(data="none.yaml", cfg="yolov5n"))
    assert not list(tmp_path.rglob("exp*"))


def test_checkpoints_of_stages_are_found_after_a_move(tmp_path: Path) -> None:
    (tmp_path / "moved/base/weights").mkdir(parents=True)
    file = tmp_path / "moved/base/weights/best.pt"
    file.touch()
    assert inside_run("runs/compress/exp/base/weights/best.pt", tmp_path / "moved") == file
    assert inside_run(str(file), tmp_path) == file
    assert inside_run("my.pt", tmp_path) == Path("my.pt")


def test_ctrl_c_prints_the_line_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> int:
        with goes_on_with("compress", tmp_path / "a run"), goes_on_with("train", tmp_path / "a run" / "base"):
            raise KeyboardInterrupt

    assert run_safely(stopped) == 130
    assert capsys.readouterr().err == f"slimyolo: stopped.\nGo on with: slimyolo compress --resume '{tmp_path}/a run'\n"
