"""Table of cases: each command is a Python function with the same settings, checks and record, which prints nothing."""

from __future__ import annotations

import inspect
import logging
import re
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings_file import FILE, WITHOUT_FUNCTION, settings_file

import slimyolo
from slimyolo.api import calling, commands, either, in_memory
from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.main import make_settings
from slimyolo.cli.options import command_options
from slimyolo.cli.tokens import parse_tokens
from slimyolo.errors import CheckpointError, ConfigError, SlimyoloError
from slimyolo.tasks.common.config import Config

FUNCTIONS = [command for command in COMMANDS if command.name not in WITHOUT_FUNCTION]


def called(monkeypatch: pytest.MonkeyPatch, function: Any, *given: Any, **settings: Any) -> tuple[Any, Config]:
    """(task, settings) with which `function` would run."""
    seen: list[tuple[Any, Config]] = []

    def note(task: Any, kind: type[Config], values: Any, *, verbose: bool) -> None:
        seen.append((task, calling.settings_of(kind, calling._values(kind, values))))

    monkeypatch.setattr(commands, "run_task", note)
    function(*given, **settings)
    return seen[0]


@pytest.mark.parametrize("command", FUNCTIONS, ids=lambda command: command.name)
def test_each_command_is_a_function_with_its_settings(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    name = command.name.replace(" ", "_")
    function = getattr(slimyolo, name)
    required: dict[str, Any] = {}
    for one, field in command.settings.model_fields.items():
        if field.is_required():
            required[one] = ["x"] if str(field.annotation).startswith("tuple") else "x"
    given = {"bench": {"weights": "x"}, "compress": {**required, "cfg": "x"}, "train": {**required, "cfg": "x"}}
    asked = given.get(name, given["train"] if name == "sparsify" else required)
    task, settings = called(monkeypatch, function, **asked)
    assert type(settings) is command.settings
    if name != "inspect":  # in Python it returns the record, of which the command prints the text
        assert task is getattr(import_module(command.task[0]), command.task[1])
    parameters = inspect.signature(function).parameters
    for one, field in command.settings.model_fields.items():
        if (name, one) in (("inspect", "json_output"), ("val", "verbose")):
            continue
        assert one in parameters
        assert field.description in " ".join(function.__doc__.split())
        in_memory = name in ("predict", "prune", "compare") and one in ("imgsz", "classes", "level", "rule")
        computed = field.default_factory is not None or field.is_required()
        if not in_memory and not computed:
            assert parameters[one].default == field.default, one
    assert name in slimyolo.__all__


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.get_overloads is new in Python 3.11")
@pytest.mark.parametrize("name", ["predict", "prune", "compare"])
def test_the_form_in_memory_is_typed_as_it_is(name: str) -> None:
    first = typing.get_overloads(getattr(either, name))[0]
    typed, real = (list(inspect.signature(one).parameters.values()) for one in (first, getattr(in_memory, name)))
    assert [one.name for one in typed] == [one.name for one in real]
    assert all(one.default in (other.default, ...) for one, other in zip(typed, real, strict=True))


def test_the_types_of_settings_are_those_of_the_commands() -> None:
    def plain(text: str) -> str:
        return re.sub(r"[\s'\"()]|,(?=\s*[\])])", "", text)

    assert plain(FILE.read_text(encoding="utf-8")) == plain(settings_file()), "run: python tests/api/settings_file.py"


SAME = [
    (
        {"data": Path("d.yaml"), "weights": "w.pt", "epochs": np.int64(3), "hyp_set": {"lr0": 0.02, "mosaic": 0}},
        "train --data d.yaml --weights w.pt --epochs 3 --hyp-set lr0=0.02 mosaic=0",
    ),
    (
        {"data": "d.yaml", "cfg": Path("m.yaml"), "cache": True, "freeze": 3, "img": 96, "device": 0},
        "train --data d.yaml --cfg m.yaml --cache --freeze 3 --img 96 --device 0",
    ),
    ({"weights": "w.pt", "percent": "40%", "keep": "model.0"}, "prune --weights w.pt --percent 0.4 --keep model.0"),
    ({"weights": "w.pt", "cap": {"model.9": 0.3}}, "prune --weights w.pt --cap model.9=0.3"),
    (
        {"weights": "w.pt", "source": "x", "imgsz": (96, 128), "classes": 0},
        "predict --weights w.pt --source x --imgsz 96 128 --classes 0",
    ),
    ({"weights": "a.pt", "runtime": "onnxruntime,torch"}, "bench --weights a.pt --runtime onnxruntime torch"),
    ({"weights": ["a.pt", "b.pt"], "json": "x.json"}, "bench --weights a.pt b.pt --json x.json"),
    ({"data": "d.yaml", "cfg": "yolov5n", "distill": True}, "compress --data d.yaml --cfg yolov5n --distill"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "line"), SAME, ids=lambda one: one if isinstance(one, str) else "")
def test_keywords_mean_what_options_mean(settings: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *words = line.split()
    command = next(one for one in COMMANDS if one.name == name)
    specs = [option.spec for option in command_options(command.settings)]
    typed = make_settings(command.settings, parse_tokens(specs, words, program=name))
    assert called(monkeypatch, getattr(slimyolo, name), **settings)[1] == typed


WRONG = [
    (lambda: slimyolo.train(epoch=3), "slimyolo.train has no setting 'epoch'. Did you mean 'epochs'?"),  # type: ignore[call-arg]
    (lambda: slimyolo.train(model="a.pt"), "no setting 'model'. Did you mean 'weights'?"),  # type: ignore[call-arg]
    (lambda: slimyolo.train(model="yolov5n.yaml"), "Did you mean 'cfg'?"),  # type: ignore[call-arg]
    (lambda: slimyolo.val(threads=1), "slimyolo.val has no setting 'threads'. Did you mean 'cpu_threads'?"),  # type: ignore[call-arg]
    (lambda: slimyolo.bench(cpu_threads=1), "no setting 'cpu_threads'. Did you mean 'threads'?"),  # type: ignore[call-arg]
    (lambda: slimyolo.export(weights="a.pt", cpu_threads=0), "cpu_threads: got 0, expected 1 or more."),
    (lambda: slimyolo.train(lr0=0.1), "It is a hyper-parameter: hyp_set={'lr0': 0.1}."),  # type: ignore[call-arg]
    (lambda: slimyolo.train(cfg="yolov5n"), "data is required: add data=…."),
    (lambda: slimyolo.train(data="d", cfg="c", batch_size=0), "batch_size: got 0, expected a whole number of 1 or more"),
    (lambda: slimyolo.prune(weights="w", round=2, round_to=2), "'round_to' is given twice"),  # type: ignore[call-overload]
    (lambda: slimyolo.val(weights=torch.nn.ReLU(), data="d"), "slimyolo.evaluate(model, …) takes a model in memory."),  # type: ignore[arg-type]
    (lambda: slimyolo.export(weights=torch.nn.ReLU()), "Save it first"),  # type: ignore[arg-type]
    (lambda: slimyolo.predict("b.pt", "x.jpg", save_txt=True), "slimyolo.predict(weights=…, source=…, save_txt=…)"),  # type: ignore[call-overload]
    (lambda: slimyolo.prune("b.pt", round_too=8), "no setting 'round_too'. Did you mean 'round_to'?"),  # type: ignore[call-overload]
    (lambda: slimyolo.predict("b.pt", "x.jpg", size=640), "has no setting 'size'. Did you mean 'imgsz'?"),  # type: ignore[call-overload]
    (lambda: slimyolo.predict("b.pt", "x.jpg", conf_thres=0.4), "'conf_thres'. Did you mean 'conf'?"),  # type: ignore[call-overload]
    (lambda: slimyolo.predict(weights="b.pt", source="x.jpg", size=640), "'size'. Did you mean 'imgsz'?"),  # type: ignore[call-overload]
    (lambda: slimyolo.compare("a", "b", "d", name="x"), "slimyolo.compare(first=…, second=…, name=…)"),  # type: ignore[call-overload]
]  # fmt: skip


@pytest.mark.parametrize(("call", "said"), WRONG, ids=lambda one: one[:40] if isinstance(one, str) else "")
def test_wrong_settings_are_answered_as_on_the_command_line(call: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        call()


def test_errors_are_those_of_slimyolo_and_never_end_the_program(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        slimyolo.export(weights=tmp_path / "none.pt")
    with pytest.raises(SlimyoloError, match="onyx"):  # a sentence of the task itself
        slimyolo.export(weights=checkpoint, format="onyx")
    with pytest.raises(AttributeError, match=r"no attribute 'trian'\. Did you mean 'train'\?"):
        _ = slimyolo.trian
    with pytest.raises(AttributeError, match=r"no attribute 'benchmark'\. Did you mean 'bench'\?"):
        _ = slimyolo.benchmark
    with pytest.raises(AttributeError, match=r"slimyolo\.load\('best\.pt'\) gives the network, slimyolo\.predict\("):
        slimyolo.YOLO("best.pt")


def test_importing_is_light() -> None:
    program = "import sys, slimyolo; slimyolo.train, slimyolo.compress; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=280)


def test_a_run_from_python_prints_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    log = logging.getLogger("slimyolo")
    monkeypatch.setattr(log, "handlers", [])
    log.setLevel(logging.NOTSET)
    log.propagate = True
    small: Any = {"epochs": 1, "batch_size": 2, "workers": 0, "noplots": True}
    record = slimyolo.train(data=data, cfg="yolov5n", imgsz=64, **small)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert Path(record.best).is_file()
    assert record.metrics.images == 2
    measured = slimyolo.val(weights=record.best, data=data, workers=0, noplots=True, verbose=True)
    assert "mAP50-95" in capfd.readouterr().out
    assert (log.handlers, log.level, log.propagate) == ([], logging.NOTSET, True)
    assert measured.metrics == record.metrics
    assert measured.size.imgsz == 64  # that of the checkpoint
    cut = slimyolo.prune(weights=record.best, macs=0.8)
    assert cut.after.macs <= 0.8 * cut.before.macs
    assert slimyolo.inspect(cut.weights).pruned
    assert slimyolo.predict(weights=cut.weights, source=data.parent / "images" / "val", nosave=True).images == 2
    assert capfd.readouterr().out == ""
