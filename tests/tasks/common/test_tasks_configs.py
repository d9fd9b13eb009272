"""Table of cases: what the settings of the commands accept and refuse, and that they can be written and read again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import slimyolo
from slimyolo.errors import ConfigError
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.dataset_config import DataCheckConfig, DataSynthConfig
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.inspect_config import InspectConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

EXAMPLES: list[Config] = [
    TrainConfig(data="d.yaml", cfg="yolov5n", freeze=3, hyp_set=("lr0=0.02",), device="0"),
    SparsifyConfig(data="d.yaml", weights="w.pt", method="reference", sr=0.001),
    SparsifyConfig(data="d.yaml", weights="w.pt", percent="50%", reach=0.5),
    FinetuneConfig(data="d.yaml", weights="w.pt"),
    PruneConfig(weights="w.pt", macs=0.5, data="d.yaml", recalibrate=True),
    PruneConfig(weights="w.pt", macs="250M", keep=["model.0"], cap=["model.9=0.3"], latency=None, per="macs"),
    ValConfig(weights="w.pt", data="d.yaml"),
    PredictConfig(weights="w.pt", source="x", imgsz=(256, 320), classes=(0, 1)),
    ExportConfig(weights="w.pt"),
    InspectConfig(file="w.pt"),
    CompressConfig(data="d.yaml", weights="w.pt"),
    DataCheckConfig(data="d.yaml"),
    DataSynthConfig(folder="f"),
]


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: type(config).__name__)
def test_plain_form_gives_the_same_settings(config: Config) -> None:
    plain = yaml.safe_load(yaml.safe_dump(config.to_plain()))
    assert type(config)(**plain) == config
    assert config.changed() == config


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        EXAMPLES[0].epochs = 3  # type: ignore[attr-defined]


def test_configs_do_not_wait_for_torch() -> None:
    root = Path(slimyolo.__file__).parent
    files = [*root.glob("tasks/**/*config.py"), *root.glob("cli/*config.py")]
    modules = [".".join(("slimyolo", *path.relative_to(root).with_suffix("").parts)) for path in files]
    assert len(modules) > 12
    program = f"import sys, importlib; [importlib.import_module(name) for name in {modules}]; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


TRAIN = {"data": "d.yaml", "cfg": "yolov5n"}
SPARSE = {"data": "d.yaml", "weights": "w.pt"}
PRUNE = {"weights": "w.pt"}

REFUSED: list[tuple[type[Config], dict[str, Any], str]] = [
    (TrainConfig, {"data": "d.yaml"}, "There is nothing to train"),
    (TrainConfig, {"cfg": "yolov5n"}, "--data is required"),
    (TrainConfig, {**TRAIN, "epoch": 3}, "Unknown key 'epoch' for TrainConfig. Did you mean 'epochs'?"),
    (TrainConfig, {**TRAIN, "epochs": 0}, "--epochs: got 0, expected 1 or more."),
    (TrainConfig, {**TRAIN, "epochs": "ten"}, "--epochs: got 'ten', expected a whole number."),
    (TrainConfig, {**TRAIN, "label_smoothing": "x"}, "--label-smoothing: got 'x', expected a number."),
    (TrainConfig, {**TRAIN, "label_smoothing": 1}, "--label-smoothing: got 1, expected less than 1.0."),
    (TrainConfig, {**TRAIN, "imgsz": 8}, "--imgsz: got 8, expected 32 or more."),
    (
        TrainConfig,
        {**TRAIN, "imgsz": [8]},
        "--imgsz: got [8], expected one number, or height and width, of at least 32",
    ),
    (TrainConfig, {**TRAIN, "imgsz": [256, 320]}, "letterboxed to squares here. Give the longer side, 320."),
    (TrainConfig, {**TRAIN, "batch_size": -2}, "--batch-size: got -2, expected a whole number of 1 or more, or -1"),
    (TrainConfig, {**TRAIN, "time": "2"}, "--time: got '2', expected a duration such as 2h, 90m or 1h30m"),
    (TrainConfig, {**TRAIN, "compile": True, "rect": True}, "--compile needs batches of one size"),
    (TrainConfig, {**TRAIN, "batch_size": 0}, "--batch-size: got 0, expected a whole number of 1 or more"),
    (TrainConfig, {**TRAIN, "cache": "disk"}, "in memory only"),
    (TrainConfig, {**TRAIN, "cache": "rom"}, "expected one of ram"),
    (TrainConfig, {**TRAIN, "rect": "perhaps"}, "--rect: got 'perhaps', expected true or false."),
    (TrainConfig, {**TRAIN, "optimizer": "Adm"}, "expected one of SGD, Adam, AdamW, MuSGD, auto. Did you mean 'Adam'?"),
    (TrainConfig, {**TRAIN, "precision": "fp8"}, "expected one of auto, fp32, bf16, fp16"),
    (TrainConfig, {**TRAIN, "device": "gpu"}, "--device: got 'gpu', expected auto, cpu"),
    (TrainConfig, {**TRAIN, "device": "0,1,2"}, "torchrun --nproc_per_node 3"),
    (TrainConfig, {**TRAIN, "freeze": "all"}, "--freeze: got 'all', expected a number of layers"),
    (TrainConfig, {**TRAIN, "freeze": [-1]}, "--freeze: got [-1]"),
    (TrainConfig, {**TRAIN, "rect": True, "image_weights": True}, "--rect and --image-weights exclude each other"),
    (TrainConfig, {**TRAIN, "epochs": 3, "close_mosaic": 4}, "--close-mosaic 4 is more than --epochs 3"),
    (TrainConfig, {**TRAIN, "nosave": True, "save_period": 2}, "--nosave and --save-period exclude each other"),
    (TrainConfig, {**TRAIN, "hyp": "none.yaml"}, "Cannot read the hyper-parameter file none.yaml"),
    (TrainConfig, {**TRAIN, "hyp_set": ("lr0",)}, "expected KEY=VALUE"),
    (TrainConfig, {**TRAIN, "hyp_set": ("mosaik=1",)}, "Unknown key 'mosaik' for --hyp-set. Did you mean 'mosaic'?"),
    (TrainConfig, {**TRAIN, "hyp_set": ("lr=1",)}, "Unknown key 'lr' for --hyp-set. Did you mean 'lr0'?"),
    (TrainConfig, {**TRAIN, "hyp_set": ("mosaic=2",)}, "Hyper-parameters: mosaic: got '2', expected 1.0 or less."),
    (SparsifyConfig, {**SPARSE, "sr": 0.1}, "--sr is the rate of `--method reference`"),
    (SparsifyConfig, {**SPARSE, "method": "reference", "reach": 0.2}, "--reach belongs to `--method share`"),
    (
        SparsifyConfig,
        {**SPARSE, "method": "polarise", "round_to": 8},
        "give it to the cut: slimyolo prune --round-to 8",
    ),
    (SparsifyConfig, {**SPARSE, "method": "l1"}, "expected one of share, reference, soft-threshold"),
    (FinetuneConfig, {"data": "d.yaml"}, "--weights is required"),
    (PruneConfig, {**PRUNE, "percent": 0}, "--percent: got 0, expected a share above 0 and below 1"),
    (PruneConfig, {**PRUNE, "percent": 1}, "above 0 and below 1"),
    (PruneConfig, {**PRUNE, "percent": 1.5}, "above 0 and below 1"),
    (PruneConfig, {**PRUNE, "percent": 40}, "Did you mean 0.4?"),
    (PruneConfig, {**PRUNE, "percent": "abc"}, "got 'abc'"),
    (PruneConfig, {**PRUNE, "percent": True}, "got True"),
    (PruneConfig, {**PRUNE, "percent": float("nan")}, "got nan"),
    (PruneConfig, {**PRUNE, "percent": 0.4, "params": 0.4}, "Give one of"),
    (PruneConfig, {**PRUNE, "recalibrate": True}, "--recalibrate needs training images: add --data"),
    (PruneConfig, {**PRUNE, "round_to": 0}, "--round-to: got 0"),
    (PruneConfig, {**PRUNE, "params": 50}, "Did you mean 50% or 50M?"),
    (PruneConfig, {**PRUNE, "macs": "lots"}, "got 'lots'"),
    (PruneConfig, {**PRUNE, "macs": "1.2.3M"}, "got '1.2.3M'"),
    (PruneConfig, {**PRUNE, "params": 999}, "a share such as 0.5 or 50%, or a number such as 900000 or 0.9M"),
    (PruneConfig, {**PRUNE, "latency": "fast"}, "--latency: got 'fast', expected milliseconds above 0, such as 8ms"),
    (PruneConfig, {**PRUNE, "latency": 0}, "--latency: got 0"),
    (PruneConfig, {**PRUNE, "latency": "120%"}, "--latency: got '120%'"),
    (PruneConfig, {**PRUNE, "latency": "50%"}, "is a share of a time on a runtime: add --runtime onnxruntime"),
    (
        PruneConfig,
        {**PRUNE, "runtime": "openvino"},
        "--runtime says where --latency (or --per ms) is timed: add --latency",
    ),
    (
        PruneConfig,
        {**PRUNE, "max_drop": 0.01},
        "--max-drop needs a validation set to measure the drop on: add --data YAML",
    ),
    (
        PruneConfig,
        {**PRUNE, "macs": 0.5, "drop_level": "95%"},
        "--drop-level says how surely --max-drop must hold: add --max-drop, or leave it out.",
    ),
    (
        PruneConfig,
        {**PRUNE, "max_drop": 0.01, "drop_level": 0.3, "data": "d"},
        "--drop-level: got 0.3, expected more than 0.5, such as 95%.",
    ),
    (PruneConfig, {**PRUNE, "max_drop": 0, "data": "d"}, "--max-drop: got 0, expected more than 0"),
    (PruneConfig, {**PRUNE, "max_drop": 0.01, "macs": 0.5, "data": "d"}, "Got --macs and --max-drop"),
    (
        PruneConfig,
        {**PRUNE, "importance": "fisher"},
        "--importance fisher is measured on training images: add --data YAML",
    ),
    (PruneConfig, {**PRUNE, "importance": "fischer"}, "Did you mean 'fisher'?"),
    (PruneConfig, {**PRUNE, "per": "mac"}, "Did you mean 'macs'?"),
    (PruneConfig, {**PRUNE, "floor_of": ["model.9"]}, "--floor-of: got 'model.9', expected PATTERN=SHARE"),
    (PruneConfig, {**PRUNE, "cap": "model.9=2"}, "--cap: got '2', expected a share above 0 and below 1"),
    (ValConfig, {"weights": "w", "data": "d", "save_conf": True}, "add --save-txt"),
    (PredictConfig, {"weights": "w", "source": "s", "save_conf": True}, "add --save-txt"),
    (PredictConfig, {"weights": "w", "source": "s", "classes": (-1,)}, "got -1, expected a number from 0 to 99,999"),
    (PredictConfig, {"weights": "w", "source": "s", "imgsz": (1, 2, 3)}, "expected one number, or height and width"),
    (PredictConfig, {"weights": "w", "source": "s", "imgsz": "big"}, "--imgsz: got 'big'"),
    (ExportConfig, {"weights": "w", "int8": True}, "--int8 needs images for calibration"),
    (ExportConfig, {"weights": "w", "int8": True, "half": True}, "--int8 and --half exclude"),
    (
        TrainConfig,
        {**TRAIN, "activation": "swish"},
        "expected one of silu, hardswish, relu, relu6. Did you mean 'hardswish'?",
    ),
    (CompressConfig, {**TRAIN, "finetune_epochs": 0, "activation": "relu"}, "is used in the fine-tuning only"),
    (CompressConfig, {"data": "d"}, "Give --weights FILE"),
    (CompressConfig, {"data": "d", "cfg": "yolov5n", "epochs": 0}, "--epochs 0 skips the base training"),
    (CompressConfig, {"data": "d", "cfg": "yolov5n", "sr": 0.1}, "--sr is the rate of `--method reference`"),
    (CompressConfig, {"data": "d", "cfg": "yolov5n", "percent": 0.1, "macs": 0.1}, "Give one of"),
]


@pytest.mark.parametrize(("kind", "values", "said"), REFUSED, ids=lambda item: "")
def test_refused_with_a_reason(kind: type[Config], values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ({}, ("channels", 0.4)),
        ({"percent": 0.99}, ("channels", 0.99)),  # the floor of each layer, not a refusal, is what stops it
        ({"percent": "40%"}, ("channels", 0.4)),
        ({"params": "0.9M"}, ("params", 900_000)),
        ({"params": 900_000}, ("params", 900_000)),
        ({"params": "900k"}, ("params", 900_000)),
        ({"macs": "0.25G"}, ("macs", 250_000_000)),
        ({"macs": "2.5e8"}, ("macs", 250_000_000)),
        ({"macs": "25%"}, ("macs", 0.25)),
        ({"latency": "8ms"}, ("latency", 8.0)),
        ({"latency": "0.02s"}, ("latency", 20.0)),
        ({"latency": "0.5ms"}, ("latency", 0.5)),
        ({"latency": "50%", "runtime": "onnxruntime"}, ("latency-share", 0.5)),
        ({"latency": 0.5, "runtime": "torch"}, ("latency-share", 0.5)),
        ({"max_drop": 0.01, "data": "d.yaml"}, ("max-drop", 0.01)),
        ({"params": "0.3"}, ("params", 0.3)),
        ({"macs": 0.5}, ("macs", 0.5)),
    ],
)
def test_budgets(given: dict[str, Any], budget: tuple[str, float]) -> None:
    assert PruneConfig(**PRUNE, **given).budget == budget


@pytest.mark.parametrize(
    ("given", "device"),
    [
        ("", "auto"),
        (None, "auto"),
        ("CPU", "cpu"),
        (0, "cuda:0"),
        ("1", "cuda:1"),
        ("cuda:2", "cuda:2"),
        ("mps", "mps"),
    ],
)
def test_devices(given: Any, device: str) -> None:
    assert TrainConfig(**TRAIN, device=given).device == device


def test_methods_of_sparse_training_have_their_numbers() -> None:
    assert SparsifyConfig(**SPARSE).reach_fraction == 0.5
    assert SparsifyConfig(**SPARSE, reach=0.5).reach_fraction == 0.5
    assert SparsifyConfig(**SPARSE, method="soft-threshold").rate == 0.0005


def test_the_chain_hands_its_settings_down(tmp_path: Path) -> None:
    chain = CompressConfig(
        data="d.yaml", cfg="yolov5n", percent=0.3, epochs=2, sparse_epochs=3, finetune_epochs=4, seed=5
    )
    base = chain.train_config(tmp_path)
    sparse = chain.sparsify_config(tmp_path, Path("base.pt"))
    cut = chain.prune_config(tmp_path, Path("sparse.pt"))
    tuned = chain.finetune_config(tmp_path, Path("pruned.pt"), Path("base.pt"))
    assert (base.epochs, sparse.epochs, tuned.epochs) == (2, 3, 4)
    assert (sparse.percent, cut.budget, sparse.seed) == (0.3, ("channels", 0.3), 5)
    assert [stage.name for stage in (base, sparse, cut, tuned)] == ["base", "sparse", "pruned", "finetuned"]
    assert all(stage.project == tmp_path for stage in (base, sparse, cut, tuned))
    assert (tuned.hyperparameters.lrf, tuned.hyperparameters.warmup_bias_lr) == (0.01, 0)
    assert tuned.activation is None
    other = chain.changed(activation="hardswish")
    stages = (other.train_config(tmp_path), other.sparsify_config(tmp_path, Path("base.pt")))
    assert [stage.activation for stage in stages] == [None, None]
    assert other.finetune_config(tmp_path, Path("pruned.pt"), Path("base.pt")).activation == "hardswish"
    own = chain.changed(hyp="scratch").finetune_config(tmp_path, Path("pruned.pt"), Path("base.pt"))
    assert (own.hyperparameters.lrf, own.hyperparameters.warmup_bias_lr) == (0.1, 0.1)


def test_a_macs_budget_says_what_stays_and_the_sparse_stage_zeroes_the_rest(tmp_path: Path) -> None:
    chain = CompressConfig(data="d.yaml", cfg="yolov5n", macs=0.7)
    assert chain.prune_config(tmp_path, Path("w.pt")).budget == ("macs", 0.7)
    assert chain.sparsify_config(tmp_path, Path("w.pt")).budget == ("macs", 0.7)
    assert chain.changed(method="soft-threshold").sparsify_config(tmp_path, Path("w.pt")).macs is None


def test_blocks_of_channels_are_asked_of_both_the_sparse_stage_and_the_cut(tmp_path: Path) -> None:
    chain = CompressConfig(data="d.yaml", cfg="yolov5n", macs=0.5, round_to=8)
    assert chain.sparsify_config(tmp_path, Path("w.pt")).round_to == 8
    assert chain.prune_config(tmp_path, Path("w.pt")).round_to == 8
    reference = chain.changed(method="reference")  # which promises no zeros: only the cut can round
    assert reference.sparsify_config(tmp_path, Path("w.pt")).round_to == 1


@pytest.mark.parametrize("option", ["reach", "params", "macs"])
def test_options_of_the_share_method_are_refused_elsewhere(option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option} belongs to `--method share`, but --method is reference"):
        SparsifyConfig(data="d.yaml", cfg="yolov5n", method="reference", **{option: 0.5})


def test_sparse_training_takes_one_budget() -> None:
    with pytest.raises(ConfigError, match=r"Give one of --percent, --params, --macs.*Got --percent and --macs"):
        SparsifyConfig(data="d.yaml", cfg="yolov5n", percent=0.4, macs=0.5)


@pytest.mark.parametrize("written", [320, "320", [320], [320, 320], (320, 320)])
def test_an_image_size_is_written_in_the_same_ways_everywhere(written: Any) -> None:
    assert TrainConfig(**{**TRAIN, "imgsz": written}).imgsz == 320
    assert PredictConfig(weights="w.pt", source="x", imgsz=written).imgsz == (320, 320)
