"""Table of cases: files of a run folder that are no records at all, links in it, and what a record may do to a resumed run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from run_records import Records, write
from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.errors import ConfigError, StorageError
from slimyolo.evaluation import OUTCOMES_FILE, read_outcomes
from slimyolo.reports.records.run_files import read_history
from slimyolo.storage import open_record, read_json, write_json
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.runs.resuming import resumed_stages
from slimyolo.tasks.common.runs.same_settings import settings_that_stay
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.report import write_report
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.resume import resumed_config
from slimyolo.training.events import RunReport
from slimyolo.training.observers.csv_file import CSV_COLUMNS, CsvObserver

RECORDS = Records()
RESUMED = RunReport(epochs=5, first_epoch=2, steps_per_epoch=1)
HEAD = ",".join(CSV_COLUMNS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a sparse training with all its records."""
    return RECORDS.training(tmp_path / "run", "sparsify", 0.6)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# --- tables -----------------------------------------------------------------------------------------------------------

BAD_TABLES: dict[str, tuple[bytes, str]] = {
    # what it is → content, words of the message
    "a million columns": (b"a," * 1_000_000, r"more than 1,000 columns"),
    "a million rows": (b"a\n" + b"1\n" * 1_000_000, r"more than 100,000 rows"),
    "a cell of 200,000 letters": (b"a" * 200_000, r"is not a table: field larger"),
    "not UTF-8": (b"epoch\n\xff\xfe\n", r"is not a table: it is not in UTF-8"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_that_no_training_wrote(name: str, run: Path, tmp_path: Path) -> None:
    content, words = BAD_TABLES[name]
    (run / "results.csv").write_bytes(content)
    began = time.process_time()
    with pytest.raises(StorageError, match=rf"results\.csv .*{words}"):
        write_report([run], tmp_path / "page.html")
    with pytest.raises(StorageError, match=rf"results\.csv .*{words}"):
        CsvObserver(run / "results.csv").started(RESUMED)
    assert time.process_time() - began < 5


def test_cells_that_hold_no_number_count_as_not_measured(run: Path, tmp_path: Path) -> None:
    cells = ["inf", "nan", "1e999", "1e308", "-1e308", "\u00b2", "<b>", "", "0x10", "9" * 5000]
    rows = [f"{number},{cell},{cell},1,2,3" for number, cell in enumerate(cells)]
    text = "\ufeffepoch,sparsity/share,sparsity/median_gamma,x,x\n\n" + "\n".join(rows) + "\n9\n"
    (run / "results.csv").write_text(text, encoding="utf-8")
    history = read_history(run)
    assert history is not None
    assert list(history.columns) == ["epoch", "sparsity/share", "sparsity/median_gamma", "x"]
    assert history.column("sparsity/share") == (None,) * 11
    assert history.column("x") == (*(1.0,) * 10, None)
    write_report([run], tmp_path / "page.html")


@pytest.mark.parametrize("text", [f"{HEAD},more\n0\n", f"{HEAD}\n0{',1' * 40}\n", "", "\n", "epoch\n0\n"])
def test_a_table_with_other_columns_is_not_continued(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(StorageError, match=r"results\.csv is not a results file of this program"):
        CsvObserver(tmp_path / "results.csv").started(RESUMED)


def test_odd_epochs_are_not_continued(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(
        f"\ufeff{HEAD}\n0,1\n\u00b2,1\n{'9' * 5000},1\n-1,1\n1,1\n2,1\n", encoding="utf-8"
    )
    observer = CsvObserver(tmp_path / "results.csv")
    observer.started(RESUMED)
    assert [row["epoch"] for row in vars(observer)["_rows"]] == ["0", "1"]


# --- JSON and YAML ----------------------------------------------------------------------------------------------------

BAD_VALUES: dict[str, tuple[str, str]] = {
    "1e999": ('"seconds": 1e999', r"seconds: got inf, expected a number"),
    "NaN": ('"seconds": NaN', r"seconds: got nan, expected a number"),
    "the last of two equal keys": ('"seconds": 1, "seconds": "x"', r"seconds: got a text, expected a number"),
    "a hundred levels": (f'"provenance": {{"settings": {{"a": {json.dumps(deep(100))}}}}}', r"more than 50 levels"),
    "900 levels": (f'"provenance": {{"a": {json.dumps(deep(900))}}}', r"more than 50 levels|not valid JSON"),
    "a million values": (f'"provenance": {{"a": {[0] * 1_000_000}}}', r"more than 200,000 values"),
    "a key with an escape sequence": ('"size": {"\\u001b[31m": 1}', r"it lacks size\.params"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_values_that_no_command_writes(name: str, run: Path, tmp_path: Path) -> None:
    text, words = BAD_VALUES[name]
    whole = (run / "record.json").read_text()
    (run / "record.json").write_text(f"{whole.rstrip()[:-1]}, {text}}}")
    with pytest.raises(StorageError, match=rf"record\.json .*{words}"):
        write_report([run], tmp_path / "page.html")


def test_a_byte_order_mark_is_read(run: Path, tmp_path: Path) -> None:
    for file in run.glob("*.json"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert write_report([run], tmp_path / "page.html").size_bytes > 0


def test_a_file_that_is_not_utf_8_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "curves.json").write_bytes(b'{"curves": "\xff"}')
    with pytest.raises(StorageError, match=r"curves\.json is not valid JSON"):
        write_report([run], tmp_path / "page.html")
    (run / "opt.yaml").write_bytes(b"data: '\xff'\n")
    with pytest.raises(StorageError, match=r"Cannot read .*opt\.yaml"):
        write_report([run], tmp_path / "page.html")
    with pytest.raises(ConfigError, match=r"cannot read .*opt\.yaml"):
        resumed_config(TrainConfig, run / "weights" / "last.pt", {})


def test_messages_quote_no_text_and_no_escape_sequence(tmp_path: Path) -> None:
    """A record may be a link to a private file, and its keys may hold anything."""
    write(tmp_path / "record.json", {"a\x1b[31m\n" + "k" * 500: {"b": "secret"}})
    (value,) = open_record(tmp_path / "record.json", "Do it again.").named().values()
    with pytest.raises(StorageError) as caught:
        value["b"].number()
    assert "secret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < len(str(tmp_path)) + 300
    assert "\\u001b[31m\\u000a" in str(caught.value)


BAD_OPTIONS = {
    "a date": ("epochs: 2026-01-02\n", r"epochs: got a value of the kind date"),
    "a key that is no text": ("1: 2\n", r"has a key that is no text"),
    "a set": ("data: !!set {a, b}\n", r"data: got a value of the kind set"),
    "infinity": ("epochs: .inf\n", r"epochs: got inf"),
    "bytes": ("data: !!binary aGVsbG8=\n", r"data: got a value of the kind bytes"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_no_training_wrote(name: str, tmp_path: Path) -> None:
    text, words = BAD_OPTIONS[name]
    (tmp_path / "run" / "weights").mkdir(parents=True)
    (tmp_path / "run" / "opt.yaml").write_text(text)
    with pytest.raises(StorageError, match=rf"opt\.yaml .*{words}"):
        write_report([tmp_path / "run"], tmp_path / "page.html")
    with pytest.raises(ConfigError, match=rf"--resume: .*opt\.yaml .*{words}"):
        resumed_config(TrainConfig, tmp_path / "run" / "weights" / "last.pt", {})


def test_a_wrong_option_is_blamed_on_the_one_who_gave_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights" / "last.pt"
    (tmp_path / "opt.yaml").write_text("data: d.yaml\ncfg: yolov5n\nworkers: -3\n")
    with pytest.raises(ConfigError, match=r"opt\.yaml holds settings that no run was started with\. --workers"):
        resumed_config(TrainConfig, checkpoint, {})
    (tmp_path / "opt.yaml").write_text("data: d.yaml\ncfg: yolov5n\n")
    with pytest.raises(ConfigError) as caught:
        resumed_config(TrainConfig, checkpoint, {"workers": -3})
    assert "opt.yaml" not in str(caught.value)


# --- links ------------------------------------------------------------------------------------------------------------

LINKED = ("record.json", "results.csv", "curves.json", "labels.json", "sample.json", "gammas.json")


@pytest.mark.parametrize("name", LINKED)
def test_a_record_that_is_a_link_out_of_the_folder_is_refused(name: str, run: Path, tmp_path: Path) -> None:
    """Otherwise the page could show a private file of the one who makes it."""
    (run / name).rename(tmp_path / name)
    (run / name).symlink_to(tmp_path / name)
    with pytest.raises(StorageError, match=rf"{name} is a link that leads out of the run folder"):
        write_report([run], tmp_path / "page.html")


@pytest.mark.parametrize("name", ["base", "bench", "val", "exported", "chain.json", "ending.json"])
def test_the_same_for_a_part_of_a_chain(name: str, tmp_path: Path) -> None:
    run = RECORDS.training(tmp_path / "run" / "base", "train", 0.6, evidence=False).parent
    write(run / "chain.json", RECORDS.provenance("compress"))
    write(run / "ending.json", {"warnings": []})
    RECORDS.exported(run)
    RECORDS.bench(run / "bench")
    RECORDS.evidence(run / "base" / "val", sparse=False, epochs=1)
    place = run / "base" / "val" if name == "val" else run / name
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=rf"{name}.* is a link that leads out of the run folder"):
        write_report([run], tmp_path / "page.html")


def test_a_picture_of_a_comparison_that_is_a_link_is_refused(tmp_path: Path) -> None:
    run = RECORDS.comparison(tmp_path / "run")
    (run / "pictures" / "0.jpg").rename(tmp_path / "0.jpg")
    (run / "pictures" / "0.jpg").symlink_to(tmp_path / "0.jpg")
    with pytest.raises(StorageError, match=r"0\.jpg is a link that leads out of the run folder"):
        write_report([run], tmp_path / "page.html")


def test_links_in_a_circle_and_names_that_are_too_long(run: Path, tmp_path: Path) -> None:
    record = read_json(run / "sample.json")
    record["images"][0]["file"] = "n" * 5000
    record["images"][1]["file"] = "a\0b"
    write(run / "sample.json", record)
    (run / "sample" / "2.jpg").unlink()
    (run / "sample" / "2.jpg").symlink_to(run / "sample" / "2.jpg")
    (run / "gammas.json").unlink()
    (run / "gammas.json").symlink_to("gammas.json")
    write(run / "chain.json", RECORDS.provenance("compress"))
    RECORDS.exported(run)
    rows = read_json(run / "exported" / "record.json")
    rows["files"][0]["path"] = "n" * 5000
    write(run / "exported" / "record.json", rows)
    assert write_report([run], tmp_path / "page.html").size_bytes > 0
    (run / "chain.json").unlink()
    assert write_report([run], tmp_path / "page.html").size_bytes > 0


# --- what a record may do to a resumed run, and to a comparison -------------------------------------------------------


def test_a_resumed_run_writes_no_file_that_its_record_names(tmp_path: Path) -> None:
    run, victim = RECORDS.sensitivity(tmp_path / "run"), tmp_path / "victim"
    config = SensitivityConfig(weights="my.pt", data="d.yaml", json_file=victim)
    record = {**read_json(run / "sensitivity.json"), "provenance": run_provenance(config)}
    write_json(run / "sensitivity.json", {**record, "settings": settings_that_stay(config, "batch_size")})
    assert resumed_stages(SensitivityConfig, {"resume": str(run)}).json_file is None
    assert resumed_stages(SensitivityConfig, {"resume": str(run), "json_file": "own.json"}).json_file == Path(
        "own.json"
    )


def header_of(**changes: Any) -> np.ndarray[Any, Any]:
    whole = {"version": 1, "names": ["a"], "rule": "yolov5", "images": ["1.jpg"], "fingerprint": "f", "about": {}}
    thresholds = [round(0.5 + 0.05 * place, 2) for place in range(10)]
    return np.frombuffer(json.dumps({**whole, "thresholds": thresholds, **changes}).encode(), np.uint8)


def outcomes(path: Path, **changes: Any) -> None:
    parts: dict[str, Any] = {"header": header_of(), "detections": np.ones(1, np.int32), "labels": np.ones(1, np.int32)}
    parts |= {"classes": np.zeros(1, np.int32), "label_classes": np.zeros(1, np.int32)}
    parts |= {"correct": np.full((1, 2), 255, np.uint8), "scores": np.ones(1, np.float32)}
    np.savez(path, **{**parts, **changes})


BAD_OUTCOMES: dict[str, Callable[[Path], object]] = {
    "two thousand million detections": lambda path: outcomes(path, detections=np.array([2_000_000_000], np.int32)),
    "fewer than none": lambda path: outcomes(path, detections=np.array([-1], np.int32)),
    "a header that is a list": lambda path: outcomes(path, header=np.frombuffer(b"[]", np.uint8)),
    "a header of brackets": lambda path: outcomes(path, header=np.frombuffer(b"[" * 100_000, np.uint8)),
    "complex scores": lambda path: outcomes(path, scores=np.ones(1, np.complex64)),
    "texts as scores": lambda path: outcomes(path, scores=np.array(["1.0"])),
    "a single number": lambda path: outcomes(path, classes=np.int32(1)),
}


def test_the_outcomes_that_the_others_are_made_of_are_read(tmp_path: Path) -> None:
    outcomes(tmp_path / OUTCOMES_FILE)
    assert len(read_outcomes(tmp_path / OUTCOMES_FILE).outcomes.scores) == 1


@pytest.mark.parametrize("name", BAD_OUTCOMES)
def test_outcomes_that_no_command_wrote(name: str, tmp_path: Path) -> None:
    BAD_OUTCOMES[name](tmp_path / OUTCOMES_FILE)
    with pytest.raises(StorageError, match=r"outcomes\.npz is not a record of .*Measure the detector again"):
        read_outcomes(tmp_path / OUTCOMES_FILE)


def test_outcomes_with_a_password_or_another_compression(tmp_path: Path) -> None:
    path = tmp_path / OUTCOMES_FILE
    outcomes(path)
    whole = path.read_bytes()
    for place, value in ((6, 1), (8, 99)):  # of the header of a part: the flag of a password, the kind of compression
        content = bytearray(whole)
        for mark, offset in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            start = content.find(mark)
            content[start + place + offset] = value
        path.write_bytes(bytes(content))
        with pytest.raises(StorageError, match=r"outcomes\.npz is not a record of outcomes"):
            read_outcomes(path)


def test_the_command_line_prints_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_json(run / "record.json")
    write(run / "record.json", {**record, "size": {"\x1b]0;title\x07": 1}})
    tokens = ["report", str(run), "--page", str(tmp_path / "page.html")]
    assert run_safely(lambda: run_command_line(tokens)) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.isprintable() or said.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("distill: true", "--distill: got True"),
        ("freeze: 1.5", "--freeze: got 1.5"),
        ("epochs: yes", "--epochs: got true, expected a number"),
    ],
)
def test_a_value_that_an_option_does_not_take(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "opt.yaml").write_text(f"data: d.yaml\ncfg: yolov5n\n{text}\n")
    with pytest.raises(ConfigError, match=rf"opt\.yaml holds settings that no run was started with\. {words}"):
        resumed_config(TrainConfig, tmp_path / "weights" / "last.pt", {})
    with pytest.raises(ConfigError, match=r"--kept: got \[None\], which is not of a kind that this option takes"):
        SensitivityConfig(weights="my.pt", data="d.yaml", kept=[None])  # type: ignore[list-item]
