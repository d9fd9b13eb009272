"""Table of cases: hostile YAML, JSON and ONNX run nothing, cost little, and are answered by slimyolo's own errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from watching import NETWORK, memory_above_now, watched

from slimyolo.cli.options import read_config_file
from slimyolo.data import read_dataset_yaml
from slimyolo.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    ModelError,
    PruningError,
    SlimyoloError,
    StorageError,
)
from slimyolo.exporting import open_exported
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import ChannelShare, PrunePlan, prune_module, replay_plan
from slimyolo.reports.records.run_files import read_options
from slimyolo.storage import parse_yaml, read_json
from slimyolo.tasks.prune.plan import read_plan
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import read_hyperparameters
from slimyolo.tasks.train.resume import resumed_config

RUNS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", *NETWORK)

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_YAML: dict[str, tuple[str, str]] = {
    # what it is → text, words of the message
    "object tag": ("names: !!python/object/apply:os.system ['touch OWNED']", "could not determine a constructor"),
    "new object tag": ("names: !!python/object/new:os.system ['touch OWNED']", "could not determine a constructor"),
    "name tag": ("names: !!python/name:os.system", "could not determine a constructor"),
    "module tag": ("names: !!python/module:antigravity", "could not determine a constructor"),
    "billion laughs": (LAUGHS, "unfolds to more than 500,000 values"),
    "long text repeated": ("a: &a '" + "A" * 100_000 + "'\nb: [" + "*a, " * 100 + "]", "unfolds to more than"),
    "merge bomb": (
        "a: &a {x: 1}\n"
        + "".join(f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}]}}\n" for i in range(9)),
        "unfolds to more than",
    ),
    "an alias in itself": ("a: &a [*a]", "an alias of a value that contains it"),
    "100,000 brackets": ("[" * 100_000, "nested deeper than 50 levels"),
    "100,000 braces": ("{a: " * 100_000, "nested deeper than 50 levels"),
    "100,000 dashes": ("- " * 100_000 + "x", "nested deeper than 50 levels"),
    "a number in base sixty": ("nc: 1" + ":59" * 30_000, "a number of"),
    "a number of 5,000 digits": ("nc: " + "9" * 5_000, "a number of 5,000 characters"),
    "a word as a number": ("nc: !!int many", "cannot be read as"),
    "a word as a date": ("nc: !!timestamp soon", "cannot be read as"),
    "a word as a truth": ("nc: !!bool maybe", "cannot be read as"),
    "a date that is none": ("nc: 2026-99-99", "cannot be read as"),
    "a list as a key": ("? [a]\n: 1", "unhashable key"),
    "two documents": ("a: 1\n---\nb: 2", "expected a single document"),
    "not printable": ("a: \x01", "special characters are not allowed"),
    "3 MB": ("a: [" + "x, " * 1_000_000 + "]", "larger than"),
}


def _resumed(path: Path) -> object:
    run = path.parent / "run" / "weights"
    run.mkdir(parents=True, exist_ok=True)
    (run.parent / "opt.yaml").write_bytes(path.read_bytes())
    return resumed_config(TrainConfig, run / "last.pt", {})


def _reported(path: Path) -> object:
    (path.parent / "opt.yaml").write_bytes(path.read_bytes())
    return read_options(path.parent)


READERS: dict[str, tuple[Callable[[Path], Any], type[SlimyoloError]]] = {
    "dataset": (read_dataset_yaml, DataError),
    "architecture": (read_architecture, ModelError),
    "hyper-parameters": (lambda path: read_hyperparameters(path, ()), ConfigError),
    "recipe": (lambda path: read_config_file(str(path), TrainConfig), ConfigError),
    "options of a run": (_resumed, ConfigError),
    "options for the report": (_reported, StorageError),
}


@pytest.mark.parametrize("reader", READERS)
def test_hostile_yaml_is_answered_by_every_reader(tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read, error = READERS[reader]
    path = tmp_path / "evil.yaml"
    for name, (text, _) in BAD_YAML.items():
        path.write_text(text)
        before, began = set(tmp_path.rglob("OWNED")), time.process_time()
        with watched(*RUNS) as seen, memory_above_now(2**29), pytest.raises(error) as caught:
            read(path)
        assert not seen, name
        assert before == set(tmp_path.rglob("OWNED")) == set(), name
        assert time.process_time() - began < 5, name
        assert len(str(caught.value)) < 3000, name


def test_the_message_says_what_is_wrong() -> None:
    for name, (text, words) in BAD_YAML.items():
        if name != "3 MB":
            with pytest.raises(yaml.YAMLError, match=words):
                parse_yaml(text)


def test_plain_yaml_means_what_it_meant() -> None:
    text = (
        "a: &a {x: 1, y: [1.5, .inf, null, yes, 2026-01-02]}\nb: {<<: *a, z: 'ü'}\nc: *a\nd: 1_000\ne: !!set {p, q}\n"
    )
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: .\nnc: 1000000000000\n", "nc must be a whole number of classes from 1 to 100,000"),
        ("path: ../../../../../../../../nowhere\ntrain: x\nnames: [a]\n", "does not exist. Looked for"),
        ("path: /nowhere\ntrain: x\nnames: [a]\ndownload: |\n  import os; os.system('touch OWNED')\n", "is never run"),
        ("path: 'a\\0b'\ntrain: x\nnames: [a]\n", "does not exist"),
        ('path: "a\\0b"\ntrain: x\nnames: [a]\n', "does not exist"),
    ],
)
def test_hostile_datasets_are_answered(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with watched(*RUNS) as seen, pytest.raises(DataError, match=message):
        read_dataset_yaml(tmp_path / "data.yaml")
    assert not seen
    assert not (tmp_path / "OWNED").exists()


def test_places_outside_the_dataset_folder_are_taken_as_they_are_written(tmp_path: Path) -> None:
    """A dataset YAML names folders of its user, wherever they lie: they are read, and nothing is written there."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "data.yaml").write_text("train: ../elsewhere\nval: /\nnames: [a]\n")
    spec = read_dataset_yaml(tmp_path / "dataset" / "data.yaml")
    assert spec.train == (tmp_path / "elsewhere",)
    assert spec.val == (Path("/"),)


BAD_JSON = {
    "deep": "[" * 200_000,
    "deep objects": '{"a":' * 200_000,
    "huge number": "1" * 10_000,
    "NaN": '{"format": NaN}',
    "cut": '{"format": "slimyolo prune plan", "version"',
    "list": "[1, 2, 3]",
    "binary": "\x00\x01",
    "words for lists": '{"format": "slimyolo prune plan", "version": 1, "groups": "abc"}',
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_hostile_plans_are_answered(tmp_path: Path, name: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(BAD_JSON[name])
    with pytest.raises(PruningError, match="plan"):
        read_plan(path)


@pytest.mark.parametrize("name", ["deep", "deep objects", "huge number", "cut", "binary"])
def test_hostile_records_are_answered(tmp_path: Path, name: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(BAD_JSON[name])
    with pytest.raises(StorageError, match="not valid JSON"):
        read_json(path)


def test_a_record_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(StorageError, match="at most 64 MiB are read"):
        read_json(path)


def test_a_plan_that_was_altered_is_answered(small_cfg: str) -> None:
    """Its hash still fits the model, so only making the cut shows it."""
    detector, example = build_detector(read_architecture(small_cfg), seed=0), torch.zeros(1, 3, 64, 64)
    text = prune_module(detector, example, ChannelShare(0.2)).plan.to_json()
    altered = PrunePlan.from_json(text.replace('"weight":"model.', '"weight":"nowhere.'))
    with pytest.raises(PruningError, match="changed or damaged: its cut cannot be made"):
        replay_plan(detector, altered, example)


def test_a_damaged_onnx_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    helper = pytest.importorskip("onnx.helper")
    images, rows = (helper.make_tensor_value_info(name, 1, [1, 3, 64, 64]) for name in ("images", "rows"))
    graph = helper.make_graph([helper.make_node("Identity__", ["images"], ["rows"])], "a", [images], [rows])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    path = tmp_path / "a.onnx"
    path.write_bytes(content.replace(b"Identity__", b"Identity\xff\xff"))  # its message is no text for Python
    with pytest.raises(CheckpointError, match=r"a\.onnx: 'utf-8' codec can't decode"):
        open_exported(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"\x08\x07" + b"\xff" * 500, b"hello", b"\x08" + bytes(10_000)])
@pytest.mark.parametrize("suffix", [".onnx", ".torchscript"])
def test_corrupt_exports_are_answered(tmp_path: Path, content: bytes, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"a{suffix}"):
        open_exported(path)
