"""Table of cases: run folders are numbered like YOLOv5's and never given out twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slimyolo.errors import StorageError
from slimyolo.storage import create_run_folder, latest_run_folder


def test_numbers_count_up_from_nothing_and_gaps_are_filled(tmp_path: Path) -> None:
    project = tmp_path / "runs" / "train"
    assert [create_run_folder(project).name for _ in range(3)] == ["exp", "exp2", "exp3"]
    (project / "exp2").rmdir()
    assert create_run_folder(project).name == "exp2"
    assert create_run_folder(project).name == "exp4"


def test_names_are_counted_apart(tmp_path: Path) -> None:
    assert create_run_folder(tmp_path, "mask").name == "mask"
    assert create_run_folder(tmp_path).name == "exp"
    assert create_run_folder(tmp_path, "mask").name == "mask2"


def test_a_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("mine")
    assert create_run_folder(tmp_path).name == "exp2"
    assert create_run_folder(tmp_path, exist_ok=True).name == "exp2"
    assert (tmp_path / "exp").read_text() == "mine"


def test_exist_ok_returns_the_folder_as_it_is(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path)
    (folder / "results.csv").write_text("kept")
    assert create_run_folder(tmp_path, exist_ok=True) == folder
    assert (folder / "results.csv").read_text() == "kept"


def test_runs_started_at_once_get_different_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: create_run_folder(tmp_path / "runs"), range(64)))
    assert len(set(folders)) == 64
    assert {folder.name for folder in folders} == {"exp", *(f"exp{number}" for number in range(2, 65))}


@pytest.mark.parametrize("name", ["", "a/b", "../exp", "/exp", "."])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match=r"--name must be a plain folder name, got .* Put the path into --project"):
        create_run_folder(tmp_path / "runs", name)


def test_a_project_that_cannot_be_made_is_answered(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=r"Cannot create a run folder in .*runs.*--project FOLDER"):
        create_run_folder(tmp_path / "runs")


def test_a_read_only_project_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:  # root may write everywhere, so the refusal is simulated
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(StorageError, match="Permission denied"):
        create_run_folder(tmp_path)


@pytest.mark.parametrize(
    ("present", "latest"),
    [
        ([], None),  # nothing yet
        (["exp"], "exp"),  # the first has no number
        (["exp", "exp2", "exp10", "exp9"], "exp10"),  # by number, not by text
        (["exp", "expert", "exp2b", "myexp3"], "exp"),  # other names do not count
    ],
)
def test_latest_run_folder(tmp_path: Path, present: list[str], latest: str | None) -> None:
    for name in present:
        (tmp_path / name).mkdir()
    (tmp_path / "exp99").write_text("a file is not a run")
    found = latest_run_folder(tmp_path)
    assert (found.name if found else None) == latest


def test_latest_of_a_project_that_does_not_exist_is_none(tmp_path: Path) -> None:
    assert latest_run_folder(tmp_path / "runs") is None
