"""Table of cases: the ``slimyolo`` command, its messages, exit statuses, help screens and recipes."""

from __future__ import annotations

import inspect
import resource
import shlex
import signal
import subprocess
import sys
import typing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from slimyolo import __version__
from slimyolo.cli.commands import COMMANDS
from slimyolo.cli.main import make_settings, run_command_line, run_safely
from slimyolo.cli.options import CONFIG_FILE, command_options, read_config_file
from slimyolo.cli.screens import command_screen
from slimyolo.cli.tokens import parse_tokens
from slimyolo.errors import ConfigError, DataError
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.config import Config, option_facts
from slimyolo.tasks.inspect_config import InspectConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.train.config import TrainConfig

REPOSITORY = Path(__file__).parents[2]


def read(kind: type[Config], words: list[str]) -> Any:
    given = parse_tokens([option.spec for option in command_options(kind)], words, program=f"slimyolo {kind.command}")
    path = given.pop(CONFIG_FILE, None)
    recipe = read_config_file(path, kind, given) if path else {}
    return make_settings(kind, {**recipe, **given})


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview(words: list[str], capsys: Any) -> None:
    assert run_command_line(words) == 0
    screen = capsys.readouterr().out
    assert all(command.name in screen for command in COMMANDS)
    assert len(screen.splitlines()) <= 34


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_all_names_every_option(command: Any, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("slimyolo.cli.screens.WIDTH", 110)  # pytest's workers have a narrow terminal
    assert run_command_line([*command.name.split(), "--help-all"]) == 0
    screen = capsys.readouterr().out
    for option in command_options(command.settings):
        assert option.spec.positional or all(name in screen for name in option.spec.names)
    assert all(len(line) <= 110 for line in screen.splitlines())
    assert "xample" in screen
    assert "--quiet" in screen


@pytest.mark.parametrize(("width", "most"), [(80, 36), (110, 31)])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_fits_on_a_screen(command: Any, width: int, most: int, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("slimyolo.cli.screens.WIDTH", width)
    assert run_command_line([*command.name.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= most
    assert max(map(len, lines)) <= width
    options = command_options(command.settings)
    for option in options:
        assert not option.required or option.spec.positional or any(option.spec.names[0] in line for line in lines)
    left_out = sum(not any(_named(option, line) for line in lines) for option in options)
    assert (f"{left_out} more options: slimyolo {command.name} --help-all" in lines[-1]) == (left_out > 0)


def _named(option: Any, line: str) -> bool:
    """Whether this line of a help screen is the row of `option`."""
    first = option.value_word if option.spec.positional else option.spec.names[0]
    return line.startswith(f"  {first}") and line[2 + len(first) : 3 + len(first)] in ("", " ", ",")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_options_are_rare_in_commands_that_exist(command: Any) -> None:
    names = {one.name for one in COMMANDS}
    for key, field in command.settings.model_fields.items():
        rare = option_facts(field).rare
        assert isinstance(rare, bool) or set(rare) <= names, key


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_task_that_takes_its_settings(command: Any) -> None:
    module, function = command.task
    task = getattr(import_module(module), function)
    (first, *others) = inspect.signature(task).parameters.values()
    assert typing.get_type_hints(task)[first.name] is command.settings
    assert all(other.default is not inspect.Parameter.empty for other in others)


def test_long_examples_are_broken_where_a_shell_reads_on(monkeypatch: Any) -> None:
    monkeypatch.setattr("slimyolo.cli.screens.WIDTH", 40)
    example = "slimyolo val --weights runs/x/best.pt --data data/mask.yaml --json m.json    # a comment"
    screen = command_screen(replace(COMMANDS[0], examples=(example,)))
    shown = screen[screen.index("Example:") :].splitlines()[1:-1]
    assert shown[0] == "  # a comment"
    assert shlex.split("\n".join(shown[1:]).replace("\\\n", " ")) == shlex.split(example, comments=True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_examples_are_valid(command: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("data: d.yaml\ncfg: yolov5n\n")
    for example in command.examples:
        words = shlex.split(example.partition(" > ")[0], comments=True)
        if words[0] == "torchrun":
            words = ["slimyolo", *words[words.index("slimyolo") + 1 :]]
        if command.name == "sensitivity" and words[1] == "prune":
            continue  # what its file is for
        assert words[: 1 + len(command.name.split())] == ["slimyolo", *command.name.split()]
        if "--resume" in words and command.name in ("train", "compress", "iterate"):  # settings come from the run
            continue
        read(command.settings, words[1 + len(command.name.split()) :])


def test_only_commands_with_weights_take_the_image_size_of_weights() -> None:
    for command in COMMANDS:
        screen = command_screen(command, everything=True)
        fields = command.settings.model_fields.keys()
        assert ("the weights'" not in screen) or "weights" in fields, command.name
        assert ("the models'" not in screen) or {"first", "second"} <= fields, command.name
    compare = next(command for command in COMMANDS if command.name == "compare")
    assert "[the models', else 320]" in " ".join(command_screen(compare).split())


def test_version(capsys: Any) -> None:
    assert run_command_line(["--version"]) == 0
    assert capsys.readouterr().out == f"slimyolo {__version__}\n"


WRONG = [
    (["trian"], "There is no command 'trian'. Did you mean 'train'?"),
    (["data"], "There is no command 'data'"),
    (["data", "chek"], "Did you mean 'data check'"),
    (["data"], "Did you mean 'data check' or "),
    (["train", "--epoch", "3"], "Unknown option --epoch. Did you mean '--epochs'? See `slimyolo train --help`."),
    (["train", "--cfg", "yolov5n"], "--data is required: add --data YAML."),
    (
        ["train", "--batch", "x", "--data", "d.yaml", "--cfg", "yolov5n"],
        "--batch-size: got 'x', expected a whole number",
    ),
    (["val", "--weights", "w.pt", "--data", "d.yaml", "--save-conf"], "add --save-txt"),
    (
        ["prune", "--weights", "w.pt", "--percent", "0.4", "--macs", "0.5"],
        "Give one of --percent, --params, --macs, --latency and",
    ),
    (["inspect"], "FILE is required: slimyolo inspect FILE."),
    (["compare", "a.pt"], "SECOND is required: slimyolo compare FIRST SECOND."),
    (["data", "convert"], "SOURCE and FOLDER are required: slimyolo data convert SOURCE FOLDER."),
    (["completion", "powershell"], "SHELL: got 'powershell', expected one of bash, zsh, fish."),
    (["-v"], "Did you mean '--version'?"),
    (["inspect", "w.pt"], "name its folder in $SLIMYOLO_WEIGHTS.\n"),
    (["inspect", "a.pt", "b.pt"], "Unexpected word 'b.pt'"),
    (["inspect", "a.pt", "--file", "b.pt"], "given twice"),
    (["compress", "none.yaml"], "Cannot read the recipe none.yaml"),
    (["train", "--resume", "--data", "d.yaml"], "no run to resume in runs/train"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda item: " ".join(item) if isinstance(item, list) else "")
def test_wrong_input_is_answered_with_status_2(
    words: list[str], said: str, capsys: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_safely(lambda: run_command_line(words)) == 2
    assert said in capsys.readouterr().err


def test_settings_reach_the_command(tmp_path: Path) -> None:
    config = read(
        TrainConfig,
        [
            "--data",
            "d.yaml",
            "--cfg",
            "yolov5n",
            "--hyp-set",
            "lr0=0.1",
            "mosaic=0.5",
            "--cache",
            "--img",
            "416",
            "--rect",
        ],
    )
    assert (config.hyperparameters.lr0, config.hyperparameters.mosaic) == (0.1, 0.5)
    assert (config.cache, config.imgsz, config.rect) == ("ram", 416, True)


def test_image_size_takes_one_number_or_two() -> None:
    base = ["--weights", "w.pt", "--source", "x.jpg"]
    assert read(PredictConfig, [*base, "--imgsz", "416"]).imgsz == (416, 416)
    assert read(PredictConfig, [*base, "--imgsz", "256", "320"]).imgsz == (256, 320)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("train d.yaml a.pt", "train --data d.yaml --weights a.pt"),
        ("train d.yml --cfg yolov5n.yaml", "train --data d.yml --cfg yolov5n.yaml"),
        ("sparsify a.pt d.yaml", "sparsify --weights a.pt --data d.yaml"),
        ("finetune a.pt d.yaml --epochs 3", "finetune --weights a.pt --data d.yaml --epochs 3"),
        ("finetune d.yaml a.pt", "finetune --weights a.pt --data d.yaml"),
        ("finetune a d.yaml", "finetune --weights a --data d.yaml"),  # a folder
        ("compress a.pt --data d.yaml", "compress --weights a.pt --data d.yaml"),
        ("iterate a.pt d.yaml --macs 0.5", "iterate --weights a.pt --data d.yaml --macs 0.5"),
        ("prune a.pt d.yaml", "prune --weights a.pt --data d.yaml"),
        ("export a.pt d.yaml", "export --weights a.pt --data d.yaml"),
        ("bench a.pt d.yaml b.pt", "bench --weights a.pt b.pt --data d.yaml"),
        ("compare a.pt d.yaml b.pt", "compare a.pt b.pt --data d.yaml"),
        ("val d.yaml a.pt", "val --weights a.pt --data d.yaml"),
    ],
)
def test_files_stand_where_nothing_else_can_be_meant(line: str, meant: str) -> None:
    command = next(one for one in COMMANDS if one.name == line.split()[0])
    typed, named = (read(command.settings, one.split()[1:]) for one in (line, meant))
    assert typed == named


def test_positionals() -> None:
    assert read(InspectConfig, ["a.pt", "--json"]) == InspectConfig(file=Path("a.pt"), json_output=True)
    assert read(InspectConfig, ["--file", "a.pt"]).file == Path("a.pt")


def test_recipe_and_options_over_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: d.yaml\ncfg: yolov5n\npercent: 0.3\nsparse-epochs: 7\nrecalibrate: true\n")
    config = read(CompressConfig, [str(recipe), "--percent", "0.5"])
    assert (config.percent, config.sparse_epochs, config.recalibrate) == (0.5, 7, True)
    assert read(PruneConfig, ["--weights", "w.pt", "--config", str(_file(tmp_path, "macs: 50%\n"))]).budget == (
        "macs",
        0.5,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("percnt: 0.3\n", "Unknown key 'percnt' for the recipe"),
        ("- a\n", "holds no options"),
        ("a: [\n", "is not a YAML file"),
        ("percent: 1.5\ndata: d\ncfg: c\n", "--percent: got 1.5"),
    ],
)
def test_wrong_recipes(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(CompressConfig, [str(_file(tmp_path, text))])


def test_the_yaml_of_a_dataset_in_place_of_a_recipe(tmp_path: Path) -> None:
    dataset = _file(tmp_path, "train: a\nnames: [b]\n")
    assert read(CompressConfig, [str(dataset), "a.pt"]) == CompressConfig(data=dataset, weights=Path("a.pt"))
    with pytest.raises(ConfigError, match=r"is the YAML of a dataset.* Type: slimyolo compress --data .*\.yaml"):
        read(CompressConfig, [str(dataset), "a.pt", "--data", "d.yaml"])
    with pytest.raises(ConfigError, match=r"is the YAML of a dataset.* Type: slimyolo prune --data .*\.yaml"):
        read(PruneConfig, ["a.pt", "--config", str(dataset)])


def test_exit_statuses(capsys: Any) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    def failed() -> int:
        raise DataError("The folder is empty.")

    assert run_safely(lambda: 0) == 0
    assert run_safely(interrupted) == 130
    assert run_safely(failed) == 2
    assert "slimyolo: The folder is empty." in capsys.readouterr().err


def test_ctrl_c_that_a_library_turns_into_another_error(capsys: Any) -> None:
    def swallowed() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interruption:
            raise AttributeError("module 'sympy' has no attribute 'core'") from interruption
        return 0

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        assert run_safely(swallowed) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)
    assert capsys.readouterr().err == "slimyolo: stopped.\n"
    with pytest.raises(AttributeError, match="core"):  # the same error without Ctrl-C is a defect, shown whole
        run_safely(lambda: getattr(object(), "core"))  # noqa: B009


def test_what_the_system_refuses_is_one_message(tmp_path: Path, capsys: Any) -> None:
    assert run_safely(lambda: len((tmp_path / ("x" * 300)).read_bytes())) == 2
    assert "slimyolo: [Errno 36] File name too long" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "check"], "There is no dataset file"),
        (["inspect"], "There is no checkpoint"),
        (["predict", "--weights", "w.pt", "--source"], "There is no checkpoint"),
        (["val", "--data", "d.yaml", "--weights"], "There is no"),
    ],
)
def test_names_that_no_file_can_have(words: list[str], said: str, capsys: Any) -> None:
    assert run_safely(lambda: run_command_line([*words, "x" * 300])) == 2
    assert "Traceback" not in (printed := capsys.readouterr().err)
    assert said in printed


def test_leaving_waits_and_cleans_up_as_the_interpreter_does() -> None:
    program = """
import atexit, threading, time
from concurrent.futures import ThreadPoolExecutor
from slimyolo.cli.main import leave
atexit.register(print, 'cleaned up')
pool = ThreadPoolExecutor(1)  # nobody shuts it down
pool.submit(lambda: (time.sleep(0.2), print('pool')))
threading.Thread(target=lambda: (time.sleep(0.4), print('thread'))).start()
leave(3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (3, ["pool", "thread", "cleaned up", ""], "")


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys, slimyolo.cli.main as m; m.run_command_line(['train', '--help']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "slimyolo", "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time, which a busy machine hardly changes; 0.37 s measured
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.8


@pytest.mark.parametrize(
    "shim",
    ["train", "val", "detect", "export", "prune_tools/train_sparity", "prune_tools/prune", "prune_tools/finetune"],
)
def test_shims_run_from_the_checkout(shim: str) -> None:
    path = REPOSITORY / f"{shim}.py"
    assert len(path.read_text().splitlines()) < 10
    done = subprocess.run([sys.executable, f"{shim}.py", "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"python {shim}.py:")


def _file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_options_of_several_words_can_be_repeated() -> None:
    words = ["--weights", "w.pt", "--keep", "model.0", "--keep", "model.9.*", "model.1", "--round", "8"]
    config = read(PruneConfig, [*words, "--cap", "model.2=0.3", "--floor-of", "model.4.*=50%"])
    assert config.keep == ("model.0", "model.9.*", "model.1")
    assert config.round_to == 8
    assert config.caps_by_pattern == {"model.2": 0.3}
    assert config.floors_by_pattern == {"model.4.*": 0.5}
