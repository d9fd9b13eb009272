"""Table of cases: hyper-parameter files, presets and assignments."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimyolo.errors import ConfigError
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import HyperParameters, read_hyperparameters

TRAIN = {"data": "d.yaml", "cfg": "yolov5n"}


def test_presets() -> None:
    assert read_hyperparameters(None) == HyperParameters()
    assert read_hyperparameters("scratch").lrf == 0.1
    assert TrainConfig(**TRAIN).hyperparameters.lrf == 0.01


def test_the_files_of_the_repository_equal_the_presets() -> None:
    folder = Path(__file__).parents[3] / "data" / "hyps"
    assert read_hyperparameters(folder / "hyp.scratch-low.yaml") == read_hyperparameters("scratch-low")
    assert read_hyperparameters(folder / "hyp.scratch.yaml") == read_hyperparameters("scratch")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: 0.1\n", "Unknown key 'lr'"),
        ("lr0: fast\n", "lr0: got 'fast', expected a number"),
        ("just text\n", "holds no hyper-parameters"),
        ("a: [\n", "is not a YAML file"),
    ],
)
def test_wrong_hyper_parameter_files(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hyp.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_hyperparameters(path)
    assert said in str(caught.value)
    assert "hyp.yaml" in str(caught.value)


def test_assignments_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hyp.yaml"
    path.write_text("lr0: 0.5\nbox: 0.1\nanchors: 3\n")
    values = read_hyperparameters(path, ("lr0=0.25",))
    assert (values.lr0, values.box, values.anchors) == (0.25, 0.1, 3)
