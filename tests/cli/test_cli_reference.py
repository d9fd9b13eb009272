"""Table of cases: every option of the reference's scripts works, is refused with a reason, or changes nothing."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from slimyolo.cli.reference import script_screen, translate
from slimyolo.cli.reference_tables import SCRIPTS
from slimyolo.errors import ConfigError
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

OPTIONS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "data" / "reference_options.json").read_text()
)
ROWS = [(script, row) for script, rows in OPTIONS.items() for row in rows]
ARITY = {"": "one", "?": "maybe", "+": "many"}

# a value other than the default for each option that takes one, as a user would type it
VALUES = {
    "--weights": "a.pt",
    "--cfg": "yolov5s",
    "--data": "d.yaml",
    "--hyp": "scratch",
    "--epochs": "3",
    "--batch-size": "8",
    "--imgsz": "416",
    "--device": "cpu",
    "--optimizer": "Adam",
    "--workers": "1",
    "--project": "runs/mine",
    "--name": "mine",
    "--label-smoothing": "0.1",
    "--patience": "5",
    "--freeze": "10",
    "--save-period": "2",
    "--seed": "7",
    "--sr": "0.01",
    "--percent": "0.3",
    "--conf-thres": "0.5",
    "--iou-thres": "0.7",
    "--max-det": "10",
    "--task": "test",
    "--source": "x.jpg",
    "--classes": "0",
    "--line-thickness": "1",
    "--vid-stride": "2",
    "--opset": "18",
    "--topk-all": "7",
    "--include": "ncnn",
    "--cache": "ram",
    "--evolve": "10",
    "--bucket": "b",
    "--local_rank": "0",
    "--entity": "me",
    "--upload_dataset": "val",
    "--bbox_interval": "5",
    "--artifact_alias": "v1",
    "--workspace": "8",
    "--topk-per-class": "9",
}
ALSO_NEEDED = {"--save-conf": ["--save-txt"], "--int8": ["--data", "d.yaml"]}


def test_every_script_is_served() -> None:
    assert set(OPTIONS) == set(SCRIPTS)


@pytest.mark.parametrize("script", OPTIONS)
def test_the_tables_hold_the_same_options(script: str) -> None:
    ours = [option.names for option in SCRIPTS[script].options]
    assert sorted(ours) == sorted(tuple(row["names"]) for row in OPTIONS[script])


@pytest.mark.parametrize(("script", "row"), ROWS, ids=lambda item: item if isinstance(item, str) else item["names"][0])
def test_names_values_and_defaults_are_the_references(script: str, row: dict[str, Any]) -> None:
    option = next(option for option in SCRIPTS[script].options if option.names == tuple(row["names"]))
    flag = row["kind"] == "store_true"
    assert option.arity == ("flag" if flag else ARITY[row["nargs"]])
    if flag or row["names"] == ["--freeze"]:  # [0] there means the first 0 layers: none
        return
    default = ast.literal_eval(row["default"]) if row["default"] else None
    ours = list(option.default) if isinstance(option.default, tuple) else option.default
    assert ours == default or ours == [] or [ours] == default


@pytest.mark.parametrize(("script", "row"), ROWS, ids=lambda item: item if isinstance(item, str) else item["names"][0])
def test_no_option_is_silently_ignored(script: str, row: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    if row["names"][0] == "--resume":
        pytest.skip("has tests of its own")
    monkeypatch.chdir(tmp_path)
    table = SCRIPTS[script]
    option = next(option for option in table.options if option.names == tuple(row["names"]))
    base = ["--weights", "w.pt"]
    without, _ = translate(table, base)
    for name in option.names:
        value = "cuda:1" if (script, name) == ("export.py", "--device") else VALUES.get(option.names[0], "")
        words = [name] if option.arity == "flag" else [name, value]
        if option.fate.kind == "refused":
            with pytest.raises(ConfigError, match=name.lstrip("-") if name == option.names[0] else ""):
                translate(table, [*base, *words])
            continue
        extra = ALSO_NEEDED.get(option.names[0], [])
        given = words if name == "--weights" else [*base, *words]
        settings, notes = translate(table, [*given, *extra])
        if option.fate.kind == "harmless":
            assert any(note.startswith(name) for note in notes)
        else:
            field = option.fate.text
            assert getattr(settings, field) != getattr(without, field), f"{name} changed nothing"


README = {
    "train": "--data data/mask.yaml --cfg models/yolov5n_mask.yaml --weights yolov5n.pt --batch-size 64 --epochs 200 "
    "--imgsz 320",
    "sparse": "--st --sr 0.0005 --weights runs/train/exp3/weights/best.pt --cfg models/yolov5n_mask.yaml "
    "--data data/mask.yaml --batch-size 64 --epochs 100 --imgsz 320",
    "prune": "--weights runs/train/exp4/weights/best.pt --percent 0.4 --cfg models/yolov5n_mask.yaml "
    "--data data/mask.yaml --batch-size 64 --imgsz 320",
    "tune": "--data data/mask.yaml --weights runs/val/exp/pruned_model.pt --batch-size 64 --epochs 100 --imgsz 320",
}


def test_the_four_commands_of_the_readme(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    train, _ = translate(SCRIPTS["train.py"], README["train"].split())
    assert isinstance(train, TrainConfig)
    assert (train.epochs, train.batch_size, train.imgsz, train.patience) == (200, 64, 320, 100)
    assert (str(train.weights), train.cfg) == ("yolov5n.pt", "models/yolov5n_mask.yaml")
    assert train.project == Path("runs/train")
    sparse, notes = translate(SCRIPTS["prune_tools/train_sparity.py"], README["sparse"].split())
    assert isinstance(sparse, SparsifyConfig)
    assert (sparse.method, sparse.rate, sparse.policy) == ("reference", 0.0005, "skip-shortcuts")
    assert notes == ("--st: sparse training is what this command does.",)
    prune, _ = translate(SCRIPTS["prune_tools/prune.py"], README["prune"].split())
    assert isinstance(prune, PruneConfig)
    assert (prune.budget, prune.policy, prune.project) == (("channels", 0.4), "skip-shortcuts", Path("runs/val"))
    assert (prune.file_name, prune.masked_file_name) == ("pruned_model.pt", "orign_model.pt")
    tuned, _ = translate(SCRIPTS["prune_tools/finetune.py"], README["tune"].split())
    assert isinstance(tuned, FinetuneConfig)
    assert (tuned.cfg, tuned.hyperparameters.lrf, tuned.epochs, tuned.lr_factor) == (None, 0.1, 100, 1.0)


def test_defaults_without_any_option(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    val, _ = translate(SCRIPTS["val.py"], [])
    assert isinstance(val, ValConfig)
    assert (val.imgsz, val.batch_size, val.workers, str(val.data)) == (640, 32, 8, "data/coco128.yaml")
    detect, _ = translate(SCRIPTS["detect.py"], [])
    assert isinstance(detect, PredictConfig)
    assert (detect.imgsz, detect.conf, detect.iou, detect.max_det) == ((640, 640), 0.25, 0.45, 1000)
    assert (detect.project, detect.line_thickness) == (Path("runs/detect"), 3)


def test_a_default_hyper_parameter_file_counts_when_it_is_there(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "hyps"
    folder.mkdir(parents=True)
    (folder / "hyp.scratch-low.yaml").write_text("lr0: 0.5\n")
    settings, _ = translate(SCRIPTS["train.py"], ["--weights", "w.pt"])
    assert isinstance(settings, TrainConfig)
    assert settings.hyperparameters.lr0 == 0.5


WRONG = [
    # script, words, what the message must say
    ("train.py", ["--weights", "a.pt", "--epoch", "3.5"], "--epochs: got '3.5', expected a whole number"),
    ("train.py", ["--wieghts", "a.pt"], "Did you mean '--weights'"),
    ("train.py", ["--weights", "", "--cfg", ""], "nothing to train"),
    ("train.py", ["--batch-size", "-3"], "or -1: as many as memory allows"),
    ("train.py", ["--cache", "disk"], "--cache ram"),
    ("train.py", ["--device", "0,1"], "torchrun --nproc_per_node 2"),
    ("train.py", ["--precision", "bf16"], "--precision is an option of `slimyolo train`"),
    ("train.py", ["--optimizer", "Lion"], "expected one of SGD, Adam, AdamW"),
    ("val.py", ["--weights", "a.pt", "b.pt"], "models are not combined"),
    ("val.py", ["--task", "study"], "expected one of val, train, test"),
    ("val.py", ["stray"], "Unexpected word 'stray'"),
    ("prune_tools/prune.py", ["--percent", "0"], "0 would change nothing"),
    ("prune_tools/prune.py", ["--percent", "1.5"], "above 0 and below 1"),
    ("prune_tools/prune.py", ["--percent", "abc"], "got 'abc'"),
    ("prune_tools/prune.py", ["--percent"], "--percent: expected one argument"),
    ("detect.py", ["--classes", "100000"], "--classes: got 100000, expected a number from 0 to 99,999."),
    ("detect.py", ["--conf-thres", "2"], "--conf: got '2', expected 1.0 or less"),
]


@pytest.mark.parametrize(("script", "words", "said"), WRONG)
def test_wrong_input_is_answered(script: str, words: list[str], said: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        translate(SCRIPTS[script], words)
    assert said in str(caught.value)


ACCEPTED = [
    # words, field, value
    (["--batch", "8"], "batch_size", 8),  # abbreviations, as the reference's parser takes them
    (["--img=416"], "imgsz", 416),
    (["--freeze", "10"], "freeze", tuple(range(10))),
    (["--freeze", "0", "3"], "freeze", (0, 3)),
    (["--freeze", "0"], "freeze", ()),
    (["--cache"], "cache", "ram"),
    (["--weights", ""], "weights", None),  # from scratch
    (["--save-period", "-1"], "save_period", -1),
    (["--device", "0"], "device", "cuda:0"),
    (["--local_rank", "-1"], "device", "auto"),  # a refused option at its default
]


@pytest.mark.parametrize(("words", "field", "value"), ACCEPTED)
def test_spellings_of_the_reference(
    words: list[str], field: str, value: object, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, _ = translate(SCRIPTS["train.py"], ["--cfg", "yolov5n", *words])
    assert getattr(settings, field) == value


def test_a_rank_that_torchrun_set_is_not_refused(monkeypatch: Any) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    translate(SCRIPTS["train.py"], ["--local_rank", "1", "--cfg", "yolov5n"])
    with pytest.raises(ConfigError, match="torchrun"):
        translate(SCRIPTS["train.py"], ["--local_rank", "0", "--cfg", "yolov5n"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_fits_80_columns(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimyolo.cli.screens.WIDTH", 80)
    assert [line for line in script_screen(SCRIPTS[script]).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_names_every_option(script: str) -> None:
    screen = script_screen(SCRIPTS[script])
    for row in OPTIONS[script]:
        for name in row["names"]:
            assert name in screen
    assert all(len(line) <= 112 for line in screen.splitlines())
