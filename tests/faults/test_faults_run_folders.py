"""Table of cases: run folders of somebody else, read by every command that reads records. Each value of each record is made
another thing: it is refused with the name of the file, or it is not read, or it is only shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mutants import count_mutants, is_another_kind, mutants
from run_records import Records, write
from slimyolo.detections import IOU_THRESHOLDS, Estimate, Outcomes, metrics_from
from slimyolo.errors import SlimyoloError, StorageError
from slimyolo.evaluation import OUTCOMES_FILE, StoredOutcomes, read_outcomes, write_outcomes
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.reports.drawn_table import drawn_comparison, drawn_stages
from slimyolo.storage import read_json, write_json
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.doubts import chain_doubts, disturbed_times, missed_budgets
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.chain.stages import Stages
from slimyolo.tasks.chain.time_left import share_left
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.runs.resuming import resumed_stages
from slimyolo.tasks.common.runs.same_settings import settings_that_stay
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.sensitivity import sensitivity_caps
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.report import write_report
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.resume import resumed_config, write_options
from slimyolo.training.events import RunReport
from slimyolo.training.observers.gamma_file import GammaObserver

RECORDS = Records()
ROW = {
    "precision": 0.5,
    "recall": 0.5,
    "map50": 0.5,
    "map50_95": 0.3,
    "params": 9,
    "macs": 90,
    "imgsz": 64,
    "epochs": 1,
}


@dataclass(frozen=True)
class Kind:
    """A run folder: who writes it, its `files`, and who reads it. `read` returns a text that depends on all that it used.

    `only_shows`: the reader shows all values of the files as text.
    """

    make: Callable[[Path], object]
    files: tuple[str, ...]
    read: Callable[[Path], str]
    only_shows: bool = False


def page(folder: Path) -> str:
    file = folder.parent / "page.html"
    write_report([folder], file)
    return re.sub(r"Made .*? by slimyolo", "", file.read_text(encoding="utf-8"))


def chain(folder: Path) -> None:
    RECORDS.cut(folder / "pruned")
    write(folder / "chain.json", {"settings": {"data": "d.yaml"}, **RECORDS.provenance("compress")})
    RECORDS.exported(folder)
    write(folder / "ending.json", {"warnings": ["The base has learnt nothing."]})
    RECORDS.bench(folder / "bench")


def resumable(config: CompressConfig | IterateConfig) -> Callable[[Path], None]:
    """A chain of two finished stages, and the record of its cut, for ``--resume``."""

    def make(folder: Path) -> None:
        file = "chain.json" if config.command == "compress" else "iterate.json"
        write_json(folder / file, {"settings": settings_that_stay(config), **run_provenance(config)})
        (folder / "base" / "weights").mkdir(parents=True)
        change = Estimate(-0.1, -0.2, 0.1)
        first = StageRow(stage="base", minutes=1.0, weights="base/weights/best.pt", **ROW)  # type: ignore[arg-type]
        last = StageRow(
            **{**vars(first), "stage": "pruned", "map50_change": change, "map50_95_change": change}
            | {"megabytes": {"onnx": 3.0}, "milliseconds": {"onnxruntime": 2.0}}
        )
        write_json(folder / "table.json", [first, last])
        RECORDS.cut(folder / "pruned")
        record = read_json(folder / "pruned" / "record.json")
        times = {"asked_ms": 2.0, "dense_ms": 4.0, "predicted_ms": 2.0, "measured_ms": 3.0, "reached": False}
        record["provenance"]["data"]["splits"]["train"]["wrong_classes"] = 3
        write(folder / "pruned" / "record.json", {**record, "latency": times})
        RECORDS.bench(folder / "bench")

    return make


def resumed(kind: type[CompressConfig | IterateConfig], file: str) -> Callable[[Path], str]:
    def read(folder: Path) -> str:
        config = resumed_stages(kind, {"resume": str(folder)})
        stages = Stages.begun(config, file, "chain")
        rows = list(stages.rows.values())
        said = [stage_table_markdown(rows), drawn_stages(rows, 100), str(share_left(folder / "pruned"))]
        doubts = [*missed_budgets(folder / "pruned"), *disturbed_times(folder / "bench")]
        if rows:
            said.append(drawn_comparison(rows[0], rows[-1], 100))
            doubts += chain_doubts(folder, rows, rows[0], rows[-1], folder / "pruned")
        if damaged := [doubt for doubt in doubts if "is not a record of this version" in doubt]:
            raise StorageError(damaged[0])  # a chain goes on, and says it among its warnings
        return repr((config, said, doubts))

    return read


def sensitive(folder: Path) -> None:
    RECORDS.sensitivity(folder)
    record = read_json(folder / "sensitivity.json")
    config = SensitivityConfig(weights="my.pt", data="d.yaml")
    record["provenance"] = run_provenance(config)
    write(folder / "sensitivity.json", {**record, "settings": settings_that_stay(config, "batch_size")})


def with_caps(folder: Path) -> str:
    config = resumed_stages(SensitivityConfig, {"resume": str(folder)})
    caps = sensitivity_caps(PruneConfig(weights="my.pt", percent=0.5, caps=folder, max_error=0.05))
    return repr((config, sorted(caps.items())))


def options(folder: Path) -> None:
    (folder / "weights").mkdir(parents=True)
    write_options(folder, TrainConfig(data="d.yaml", cfg="yolov5n", epochs=3))


def resumed_training(folder: Path) -> str:
    return repr(resumed_config(TrainConfig, folder / "weights" / "last.pt", {}))


def unfinished(folder: Path) -> None:
    options(folder)
    RECORDS.history(folder, 3, sparse=True)
    RECORDS.evidence(folder, sparse=True, epochs=3)


def resumed_gammas(folder: Path) -> str:
    observer = GammaObserver(folder / "gammas.json")
    observer.started(RunReport(epochs=5, first_epoch=2, steps_per_epoch=1))
    return repr(vars(observer))


def measured(folder: Path) -> None:
    folder.mkdir()
    found = np.arange(2, 8)
    outcomes = Outcomes(
        names=("face",),
        rule="yolov5",
        images=tuple(f"{number}.jpg" for number in range(8)),
        image_of=found,
        correct=np.ones((len(found), len(IOU_THRESHOLDS)), bool),
        scores=np.full(len(found), 0.5, np.float32),
        classes=np.zeros(len(found), int),
        label_image=np.arange(8),
        label_classes=np.zeros(8, int),
    )
    write_outcomes(folder / OUTCOMES_FILE, StoredOutcomes(outcomes=outcomes, fingerprint="f"))


def compared(folder: Path) -> str:
    stored = read_outcomes(folder / OUTCOMES_FILE)
    return repr((metrics_from(stored.outcomes), stored.fingerprint, stored.outcomes.images))


COMPRESS, ITERATE = (
    CompressConfig(data="d.yaml", weights="my.pt", percent=0.4),
    IterateConfig(data="d.yaml", weights="my.pt", macs=0.5),
)
EVIDENCE = ("curves.json", "labels.json", "sample.json", "gammas.json")
KINDS: dict[str, Kind] = {
    "report of a training": Kind(
        lambda folder: RECORDS.training(folder, "sparsify", 0.6), ("record.json", *EVIDENCE), page
    ),
    "report of an unfinished training": Kind(unfinished, ("opt.yaml",), page, only_shows=True),
    "report of a cut": Kind(RECORDS.cut, ("record.json",), page),
    "report of a validation": Kind(RECORDS.validation, ("record.json",), page),
    "report of a benchmark": Kind(RECORDS.bench, ("record.json",), page),
    "report of times of devices": Kind(RECORDS.devices, ("record.json",), page),
    "report of a sensitivity": Kind(RECORDS.sensitivity, ("sensitivity.json",), page),
    "report of a comparison": Kind(RECORDS.comparison, ("record.json", "pictures.json"), page),
    "report of a chain": Kind(chain, ("exported/record.json", "ending.json", "bench/record.json"), page),
    "origin of a chain": Kind(chain, ("chain.json",), page, only_shows=True),
    "origin of rounds": Kind(RECORDS.iterate, ("iterate.json",), page, only_shows=True),
    "compress --resume": Kind(
        resumable(COMPRESS),
        ("chain.json", "table.json", "pruned/record.json", "bench/record.json"),
        resumed(CompressConfig, "chain.json"),
    ),
    "iterate --resume": Kind(resumable(ITERATE), ("iterate.json",), resumed(IterateConfig, "iterate.json")),
    "sensitivity --resume, prune --caps": Kind(sensitive, ("sensitivity.json",), with_caps),
    "train --resume": Kind(options, ("opt.yaml",), resumed_training),
    "sparsify --resume": Kind(unfinished, ("gammas.json",), resumed_gammas),
    "compare RUN RUN": Kind(measured, (OUTCOMES_FILE,), compared),
}
SHOWN = frozenset(
    ("provenance", "settings", "slimyolo", "torch", "python", "platform", "machine", "command_line", "data")
)
"""Keys of values that are only shown, so that they may be anything."""


def content_of(file: Path) -> Any:
    if file.suffix == ".yaml":
        return yaml.safe_load(file.read_text())
    if file.suffix == ".npz":
        return json.loads(np.load(file)["header"].tobytes())
    return json.loads(file.read_text())


def put(file: Path, content: Any) -> None:
    if file.suffix == ".yaml":
        file.write_text(yaml.safe_dump(content))
    elif file.suffix == ".npz":
        tables = {**np.load(file), "header": np.frombuffer(json.dumps(content).encode(), np.uint8)}
        np.savez(file, **tables)
    else:
        file.write_text(json.dumps(content))


def only_shown(what: str) -> bool:
    return not SHOWN.isdisjoint(what.split(": ")[0].split("."))


def walk(kind: Kind, folder: Path, file: str, most: int | None = None) -> tuple[int, int]:
    """(tried, refused): all copies with one odd value, or about `most` of them. Each copy is refused with the name of the file
    (or of the run folder, or of the option), or read; there is no other error.

    A value of another kind than the right one is refused, or changes nothing because it is not read, or is only shown.
    """
    kind.make(folder)
    plain, right = content_of(folder / file), kind.read(folder)
    tried = refused = 0
    every = (
        1 if most is None else count_mutants(plain) // most | 1
    )  # an odd number, so that all oddities have their turn
    for what, changed in mutants(plain, every=every):
        put(folder / file, changed)
        tried += 1
        found, said = outcome(kind, folder)
        if said:
            refused += 1
            named = (Path(file).name, str(folder), "--data must be a YAML file")  # the last is the word of the option
            assert any(name in said for name in named), f"{what}: {said}"
            assert len(said) < 1000, what
        elif is_another_kind(plain, what) and not kind.only_shows and not only_shown(what):
            assert found == right, f"{what} was taken"
    return tried, refused


def outcome(kind: Kind, folder: Path) -> tuple[str, str]:
    """(what was read, the message of the refusal); one of them is empty."""
    try:
        return kind.read(folder), ""
    except SlimyoloError as error:
        return "", str(error)


CASES = [(name, file) for name, kind in KINDS.items() for file in kind.files]


@pytest.mark.parametrize(("name", "file"), CASES)
def test_a_sample_of_odd_values(name: str, file: str, tmp_path: Path) -> None:
    tried, refused = walk(KINDS[name], tmp_path / "run", file, most=5)
    assert 0 <= refused <= tried


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "file"), CASES)
def test_all_odd_values(name: str, file: str, tmp_path: Path) -> None:
    tried, refused = walk(KINDS[name], tmp_path / "run", file)
    print(f"{name}, {file}: {tried} tried, {refused} refused")
    assert 0 < refused < tried
