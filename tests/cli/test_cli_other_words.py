"""Table of cases: what people type who know other programs, words without an option's name, and the answers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from slimyolo.cli.commands import COMMANDS
from slimyolo.cli.main import run_command_line
from slimyolo.cli.options import command_options
from slimyolo.cli.tokens import OptionSpec, parse_tokens
from slimyolo.errors import ConfigError, ModelError
from slimyolo.families import architecture_names, read_architecture
from slimyolo.tasks.spellings import COMMAND_WORDS, OTHER_NAMES

BY_PLACE = [
    ("predict best.pt pictures/", {"weights": "best.pt", "source": "pictures/"}),
    ("predict --weights best.pt pictures/", {"weights": "best.pt", "source": "pictures/"}),
    ("predict pictures/ --weights best.pt", {"weights": "best.pt", "source": "pictures/"}),
    ("predict --source pictures/ best.pt", {"weights": "best.pt", "source": "pictures/"}),
    ("predict best.pt --conf 0.5 pictures/", {"weights": "best.pt", "source": "pictures/", "conf": "0.5"}),
    ("val best.pt --data d.yaml", {"weights": "best.pt", "data": "d.yaml"}),
    ("val best.pt d.yaml", {"weights": "best.pt", "data": "d.yaml"}),
    ("val d.yaml best.pt", {"weights": "best.pt", "data": "d.yaml"}),
    ("export best.pt --nms", {"weights": "best.pt", "nms": True}),
    ("bench a.onnx b.onnx", {"weights": ["a.onnx", "b.onnx"]}),
    ("bench --weights a.onnx -- b.onnx", {"weights": ["a.onnx", "b.onnx"]}),
    ("prune best.pt --macs 0.5", {"weights": "best.pt", "macs": "0.5"}),
    ("finetune pruned.pt --data d.yaml", {"weights": "pruned.pt", "data": "d.yaml"}),
    ("sensitivity best.pt d.yaml", {"weights": "best.pt", "data": "d.yaml"}),
    ("serve a.pt b.pt", {"weights": ["a.pt", "b.pt"]}),
    ("inspect best.pt", {"file": "best.pt"}),
    ("compare a.pt b.pt --data d.yaml", {"first": "a.pt", "second": "b.pt", "data": "d.yaml"}),
    ("latency pack best.pt", {"weights": "best.pt"}),
]


@pytest.mark.parametrize(("line", "values"), BY_PLACE, ids=lambda one: one if isinstance(one, str) else "")
def test_files_may_stand_without_a_name_where_nothing_else_can_be_meant(line: str, values: dict[str, Any]) -> None:
    command = next(one for one in COMMANDS if line.startswith(f"{one.name} "))
    words = shlex.split(line)[len(command.name.split()) :]
    specs = [option.spec for option in command_options(command.settings)]
    assert parse_tokens(specs, words, program=f"slimyolo {command.name}") == values


ANSWERS = [
    ("detect", "There is no command 'detect'. Did you mean 'predict'?"),
    ("yolo train data=d.yaml", "There is no command 'yolo'. Type: slimyolo train --data d.yaml"),
    ("yolo detect", "There is no command 'detect'. Did you mean 'predict'?"),
    ("test", "Did you mean 'val'?"),
    ("fine-tune", "Did you mean 'finetune'?"),
    ("quantize", "Did you mean 'export --int8'?"),
    ("segment train model=x", "slimyolo detects boxes; it has no task 'segment'."),
    ("detect train model=a.pt data=d.yaml", "Type: slimyolo train --weights a.pt --data d.yaml"),
    (
        "train model=yolov8n.pt data=coco8.yaml",
        ("'model=yolov8n.pt': options are written --name value here, not name=value. Type: slimyolo train --weights yolov8n.pt "
        "--data coco8.yaml"),
    ),
    ("train model=yolov8n.yaml data=d.yaml", "Type: slimyolo train --cfg yolov8n.yaml --data d.yaml"),
    (
        "train data=d.yaml model=a.pt epochs=3 batch=8 lr0=0.01 plots=False cos_lr=True augment=True --workers 0",
        ("There is no option for augment. Type: slimyolo train --data d.yaml --weights a.pt --epochs 3 --batch-size 8 "
        "--hyp-set lr0=0.01 --noplots --cos-lr --workers 0"),
    ),
    ("predict model=a.pt source='a b.jpg' save=False", "slimyolo predict --weights a.pt --source 'a b.jpg' --nosave"),
    ("predict model=a.pt source=x imgsz=[96,128] save=True", "--weights a.pt --source x --imgsz 96 128"),
    ("export model=a.pt format=onnx half=True task=detect", "Type: slimyolo export --weights a.pt --format onnx --half"),
    ("train best.pt", "--data is required: add --data YAML."),
    ("train yolov5n d.yaml", "Unexpected word 'yolov5n': options begin with --."),
    ("train d.yaml yolov5n.yaml", "--data takes one value, and has d.yaml. The YAML of an architecture goes to --cfg"),
    ("train --data d.yaml e.yaml", "--data is given twice: e.yaml and d.yaml. The YAML of an architecture goes to --cfg"),
    ("train a.pt b.pt d.yaml", "--weights takes one value, and has a.pt. A training begins with one."),
    ("prune a.pt d.yaml e.yaml", "--data takes one value, and has d.yaml. The YAML of options goes to --config."),
    ("predict a.pt x.jpg d.yaml", "Unexpected word 'd.yaml'"),
    ("val a.pt d.yaml more", "Unexpected word 'more': --data takes one value, and has d.yaml."),
    ("val --weights a.pt b.pt --data d.yaml", "two on the same images: slimyolo compare a.pt b.pt --data YAML."),
    ("val a.pt b.pt", "Unexpected word 'b.pt': --weights takes one value, and has a.pt. To measure two"),
    ("inspect a.pt b.pt", "Unexpected word 'b.pt': --file takes one value, and has a.pt. Type slimyolo inspect once for each."),
    ("inspect --weights a.pt", "FILE: the value stands without an option. Type: slimyolo inspect a.pt"),
    ("inspect --model=a.pt", "Type: slimyolo inspect a.pt"),
    ("compare --weights a.pt b.pt --data d.yaml", "without an option. Type: slimyolo compare a.pt b.pt --data d.yaml"),
    ("compare a.pt b.pt c.pt", "has b.pt. It compares two models; slimyolo bench --weights a.pt b.pt c.pt times several."),
    ("report --run runs/a", "Type: slimyolo report runs/a"),
    ("data check --source d.yaml", "Type: slimyolo data check d.yaml"),
    ("data check d.yaml e.yaml", "--data takes one value, and has d.yaml. Type slimyolo data check once for each."),
    ("plan diff a.json b.json c.json", "It compares two plans."),
    ("predict a.pt x.jpg y.jpg z.jpg", "Unexpected word 'y.jpg': --source takes one value, and has x.jpg. Quote a pattern"),
    ("predict --weights a.pt --source x.jpg y.jpg", "--source is given twice: y.jpg and x.jpg. Quote a pattern"),
    ("predict a.pt b.pt --source x.jpg", "To see several side by side: slimyolo serve a.pt b.pt."),
    ("predict --model a.pt x.jpg", "Unknown option --model. Did you mean '--weights'?"),
    ("bench --models a.pt b.pt", "Unknown option --models. Did you mean '--weights'?"),
    ("train --weights a.pt b.pt --data d.yaml", "--weights is given twice: b.pt and a.pt. A training begins with one."),
    ("compress a.pt b.pt --data d.yaml", "Unexpected word 'b.pt': --weights takes one value, and has a.pt."),
    ("export a.pt b.pt", "Type slimyolo export once for each."),
    ("export a.pt --weights b.pt", "--weights is given twice: a.pt and b.pt."),
    ("train --threads 1", "Unknown option --threads. Did you mean '--cpu-threads'?"),
    ("val a.pt d.yaml --num-threads 1", "Did you mean '--cpu-threads'?"),
    ("predict a.pt x threads=1", "Type: slimyolo predict a.pt x --cpu-threads 1"),
    ("bench a.pt --cpu-threads 1", "Did you mean '--threads'?"),
    ("latency pack a.pt --num-threads 1", "Did you mean '--threads'?"),
    ("predict a.pt b --surce c", "Unknown option --surce. Did you mean '--source'?"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), ANSWERS, ids=lambda one: one[:40])
def test_other_words_are_answered_with_the_line_to_type(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_command_line(shlex.split(line))
    assert said in str(caught.value)


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data=2.pt").write_bytes(b"x")
    with pytest.raises(Exception, match=r"data=2\.pt"):
        run_command_line(["inspect", "data=2.pt"])
    specs = [OptionSpec("hyp_set", ("--hyp-set",), "each")]
    assert parse_tokens(specs, ["--hyp-set", "lr0=0.1"], program="x") == {"hyp_set": ["lr0=0.1"]}


def test_every_answer_is_a_command_or_setting_that_exists() -> None:
    names = {command.name for command in COMMANDS}
    options = {
        command.name: {name for o in command_options(command.settings) for name in o.spec.names} for command in COMMANDS
    }
    for answer in COMMAND_WORDS.values():
        command = next((name for name in names if answer == name or answer.startswith(f"{name} ")), None)
        assert command is not None or answer == "--version", answer
        assert command is None or all(w in options[command] for w in answer.split() if w.startswith("--")), answer
    fields = {name for command in COMMANDS for name in command.settings.model_fields}
    assert {one for several in OTHER_NAMES.values() for one in several} <= fields
    assert not names & set(COMMAND_WORDS)


@pytest.mark.parametrize("words", [["data", "--help"], ["help", "data"], ["data", "-h"], ["latency", "--help"]])
def test_the_first_word_of_several_commands_has_a_screen(words: list[str], capsys: Any) -> None:
    assert run_command_line(words) == 0
    screen = capsys.readouterr().out
    own = "latency" if "latency" in words else "data"
    for command in COMMANDS:
        assert (f"  {command.name} " in screen) == command.name.startswith(f"{own} ")


def test_help_says_that_a_name_may_be_left_out(capsys: Any) -> None:
    run_command_line(["predict", "--help"])
    assert "slimyolo predict [--weights] FILE [--source] SOURCE [options]" in capsys.readouterr().out


CFG = [
    ("yolov8", "Name the size as well: yolov8n, yolov8s, yolov8m, yolov8l, yolov8x."),
    ("yolo8n", "Did you mean 'yolov8n'?"),
    ("yolov11n", "Did you mean 'yolo11n'?"),
    ("yolov12s", "Did you mean 'yolo12s'?"),
    ("yolov7", "slimyolo has no built-in YOLO of version 7. Built-in names: yolov5n …"),
    ("yolov3u.yaml", "Give a YAML file or a built-in name"),
    ("yolo13n", "slimyolo has no built-in YOLO of version 13."),
    ("yolov8n-seg", "slimyolo detects boxes; it has no architectures for segmentation."),
    ("yolov8z", "Give a YAML file or a built-in name of this version (yolov8n … "),
    (
        "yolov8n.pt",
        "yolov8n.pt is the name of a checkpoint, not of an architecture: give it with --weights yolov8n.pt.",
    ),
    ("v8n", "Did you mean 'yolov8n'?"),
    ("yolox_s", "Give a YAML file or a built-in name (yolov5n …"),
]


@pytest.mark.parametrize(("name", "said"), CFG, ids=lambda one: one[:20])
def test_a_name_without_an_architecture_is_answered_truthfully(name: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_architecture(name)
    assert f"Cannot read the architecture {name}: No such file or directory. " in str(caught.value)
    assert said in str(caught.value)
    assert name != "yolox_s" or "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["YOLOv8n", "yolov8n.yaml", "yolo11n.yml"])
def test_other_spellings_of_a_built_in_name(name: str) -> None:
    assert read_architecture(name).name in architecture_names()


def test_a_file_comes_before_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yolov8n.yaml").write_text("nothing")
    with pytest.raises(ModelError, match=r"yolov8n\.yaml"):
        read_architecture("yolov8n.yaml")
