"""Table of cases: the commands that compute take ``--cpu-threads``, in Python, too, and put the number back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import slimyolo
from slimfaces import render_dataset
from slimyolo.cli import running
from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.running import run_command
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.config import Config, option_facts
from slimyolo.tasks.common.network_runtime import NetworkWork, network_runtime
from slimyolo.tasks.dataset_config import DataCheckConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.prepared import prepared
from slimyolo.tasks.train.config import TrainConfig

COMPUTING = {
    *("train", "sparsify", "finetune", "compress", "iterate", "prune", "sensitivity"),
    *("val", "compare", "predict", "export", "serve"),
}
VAL = ValConfig(weights="none.pt", data="d.yaml", imgsz=64)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch computes with two threads before each test, and with what the other tests use after it."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")  # the command line would set it for the rest of this process
    monkeypatch.delenv("OMP_DYNAMIC", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


FACES: dict[str, Callable[[Command, dict[str, Any]], Any]] = {
    "command line": lambda command, given: run_command(command, command.settings(**given)),
    "Python": lambda command, given: getattr(slimyolo, command.name)(**given),
}


class Seen(Exception):
    """Raised in place of the work of a task: (threads, settings)."""


def _required(kind: type[Config]) -> dict[str, Any]:
    needed = {name: field for name, field in kind.model_fields.items() if field.is_required()}
    values: dict[str, Any] = {
        name: ["x.pt"] if str(field.annotation).startswith("tuple") else "x.pt" for name, field in needed.items()
    }
    return {**values, "cfg": "yolov5n"} if issubclass(kind, (TrainConfig, CompressConfig)) else values


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_commands_that_compute_take_it(command: Command) -> None:
    fields = command.settings.model_fields
    assert ("cpu_threads" in fields) == (command.name in COMPUTING)
    assert ("device" in fields) == (command.name in COMPUTING)  # a new command with a device will need it
    if "cpu_threads" in fields:
        about, beside = (option_facts(fields[name]) for name in ("cpu_threads", "device"))
        assert about.rare is True
        assert about.group == beside.group


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("command", [one for one in COMMANDS if one.name in COMPUTING], ids=lambda one: one.name)
def test_a_task_computes_with_it_and_the_number_is_put_back(
    command: Command, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def task(settings: Any) -> None:
        raise Seen(torch.get_num_threads(), settings.cpu_threads)

    monkeypatch.setattr(".".join(command.task), task)
    monkeypatch.setattr(running, "refuse_missing_files", lambda settings: None)  # there are no such files
    for asked, computes_with in ((1, 1), (3, 3), (None, 2)):
        given = {**_required(command.settings), "cpu_threads": asked}
        with pytest.raises(Seen) as caught:
            FACES[face](command, given)
        assert caught.value.args == (computes_with, asked)
        assert torch.get_num_threads() == 2  # after an error, too


def test_all_stages_of_a_chain_have_it() -> None:
    where, weights = Path("f"), Path("w.pt")
    chain = CompressConfig(data="d.yaml", cfg="yolov5n", cpu_threads=1)
    rounds = IterateConfig(weights="w.pt", data="d.yaml", cpu_threads=1)
    stages: list[Any] = [
        chain.train_config(where),
        chain.sparsify_config(where, weights),
        chain.prune_config(where, weights),
        chain.finetune_config(where, weights, weights),
        rounds.cut_config(where, "a", weights, 0.5),
        rounds.training_config(where, "a", weights, 3),
    ]
    assert [stage.cpu_threads for stage in stages] == [1] * 6


@pytest.fixture(scope="module")
def small_cfg(tmp_path_factory: pytest.TempPathFactory) -> str:
    """yolov5n at a quarter of its width: the same layers, less work."""
    text = (Path(__file__).resolve().parents[3] / "models" / "yolov5n.yaml").read_text()
    path = tmp_path_factory.mktemp("cfg") / "small.yaml"
    path.write_text(text.replace("width_multiple: 0.25", "width_multiple: 0.0625"))
    return str(path)


def test_a_training_computes_with_one_thread(tmp_path: Path, small_cfg: str) -> None:
    record = slimyolo.train(
        data=render_dataset(tmp_path / "set", train=2, val=1, size=64, seed=0),
        cfg=small_cfg,
        epochs=1,
        imgsz=64,
        batch_size=2,
        workers=0,
        noautoanchor=True,
        noplots=True,
        cpu_threads=1,
        project=tmp_path / "runs",
    )
    assert record.provenance["threads"] == record.provenance["settings"]["cpu_threads"] == 1
    assert yaml.safe_load((Path(record.folder) / "opt.yaml").read_text())["cpu_threads"] == 1
    assert torch.get_num_threads() == 2


def test_the_graph_of_a_checkpoint_is_run_with_it(
    tmp_path: Path, small_cfg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    detector = build_detector(read_architecture(small_cfg).with_classes(2), seed=0).eval()
    work = NetworkWork(images=1_000_000, imgsz=64, come_in="batches")
    for asked, expected in ((1, 1), (None, 2)):
        with prepared(VAL.changed(cpu_threads=asked)):
            network = network_runtime(detector, "auto", lambda: work, torch.device("cpu"))
        assert network is not None
        assert network.threads == expected


@pytest.mark.parametrize("asked", [1, 2, None])
def test_openmp_that_starts_fewer_threads_gets_one(
    asked: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", " TRUE")
    with prepared(VAL.changed(cpu_threads=asked)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    said = (
        "OMP_DYNAMIC=true: PyTorch computes with one thread, because with several it can wait for ever for threads that"
    )
    assert (said in caplog.text) == (asked != 1)


def test_a_command_that_does_not_compute_leaves_torch_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    with prepared(DataCheckConfig(data="d.yaml")):
        assert torch.get_num_threads() == 2
    assert caplog.messages == []
