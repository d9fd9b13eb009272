"""Property: settings written as a command line and read by the parser of the commands are the same settings."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from slimyolo.cli.main import make_settings
from slimyolo.cli.options import command_options
from slimyolo.cli.tokens import parse_tokens
from slimyolo.reports.commands import bench_command, command_line, validation_command
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.dataset_config import DataSynthConfig
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.report_config import ReportConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(data="my data.yaml", cfg="yolov5n", hyp_set=("lr0=0.02", "mosaic=0"), freeze=(0, 3), noplots=True),
        SparsifyConfig(data="d.yaml", weights="w.pt", method="reference", sr=0.001, cache="ram"),
        SparsifyConfig(data="d.yaml", weights="w.pt", percent=0.3, reach=0.5),
        FinetuneConfig(data="d.yaml", weights="it's.pt", resume=None),
        PruneConfig(weights="w.pt", macs=0.5, data="d.yaml", recalibrate=True),
        ValConfig(weights="w.pt", data="d.yaml", json_file="out.json", single_cls=True),
        PredictConfig(weights="w.pt", source="album/*.jpg", classes=(0, 2), imgsz=(256, 320)),
        ExportConfig(weights="w.pt", format=("onnx",)),
        CompressConfig(data="d.yaml", cfg="yolov5n", percent=0.4, hyp_set=("lr0=0.02",)),
        DataSynthConfig(folder="some folder"),
        ReportConfig(runs=("a", "b c"), output="o.html"),
    ],
    ids=lambda config: config.command,
)
def test_the_command_asks_for_the_same(config: Config) -> None:
    words = shlex.split(command_line(config.command, config.to_plain()))
    assert words[0] == "slimyolo"
    assert words[1 : 1 + len(config.command.split())] == config.command.split()
    specs = [option.spec for option in command_options(type(config))]
    given = parse_tokens(specs, words[1 + len(config.command.split()) :], program="slimyolo")
    assert make_settings(type(config), given) == config


def test_commands_that_fill_a_report() -> None:
    settings: dict[str, Any] = {"data": "d.yaml", "imgsz": 96, "single_cls": True, "epochs": 3}
    expected = "slimyolo val --weights w.pt --data d.yaml --imgsz 96 --single-cls --project 'my run' --name val"
    assert validation_command("w.pt", settings, "my run") == expected
    expected = "slimyolo bench --weights a.pt b.pt --imgsz 96 --project run --name bench"
    assert bench_command(["a.pt", "b.pt"], 96, "run") == expected


def test_runs_may_stand_anywhere() -> None:
    specs = [option.spec for option in command_options(ReportConfig)]
    for words in (["a", "b", "--images", "2"], ["--images", "2", "a", "b"], ["a", "--images", "2", "b"]):
        assert parse_tokens(specs, words, program="p") == {"runs": ["a", "b"], "images": "2"}
