"""Property: a file written by `atomic_file` is whole or is not there; nothing else is left in the folder."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from slimyolo.errors import StorageError
from slimyolo.storage import atomic_file, atomic_folder, write_bytes, write_text


def test_the_file_appears_with_its_content_and_folders_are_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    write_text(target, "γ = 0\n")
    assert target.read_text(encoding="utf-8") == "γ = 0\n"
    assert [entry.name for entry in target.parent.iterdir()] == ["a.txt"]


def test_until_the_block_ends_readers_see_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    with atomic_file(target) as file:
        file.write(b"new, half writ")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new, half writ"


@pytest.mark.parametrize("error", [RuntimeError("in the middle"), KeyboardInterrupt()])
@pytest.mark.parametrize("existed", [True, False])
def test_an_error_in_the_block_changes_nothing(tmp_path: Path, error: BaseException, existed: bool) -> None:
    target = tmp_path / "a.bin"
    if existed:
        write_bytes(target, b"old")

    def interrupted() -> None:
        with atomic_file(target) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert (target.read_bytes() if target.exists() else None) == (b"old" if existed else None)
    assert len(list(tmp_path.iterdir())) == int(existed), "a temporary file was left behind"


def test_a_full_disk_is_answered_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "a.bin", b"old")

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match=r"Cannot write .*a\.bin: No space left on device\. Choose a folder"):
        write_bytes(tmp_path / "a.bin", b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_a_read_only_folder_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:  # root may write everywhere, so the refusal is simulated
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    with pytest.raises(StorageError, match=r"Permission denied\. Choose a folder that you may write to"):
        write_text(tmp_path / "a.txt", "x")
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_should_be_is_answered(tmp_path: Path) -> None:
    write_text(tmp_path / "runs", "a file")
    with pytest.raises(StorageError, match="Cannot write"):
        write_text(tmp_path / "runs" / "a.txt", "x")


def test_a_folder_where_the_file_should_be_is_answered(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(StorageError, match="Cannot write"):
        write_text(tmp_path / "a.txt", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_follow_the_umask_and_not_the_temporary_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(0o022) == 0o022, "the umask was changed"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_a_long_name_still_fits(tmp_path: Path) -> None:
    name = "n" * 250
    write_text(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    with atomic_folder(target) as folder:
        (folder / "a.txt").write_text("1")
    assert (target / "a.txt").read_text() == "1"
    with pytest.raises(RuntimeError, match="half way"):
        _write_half_way(target)
    assert (target / "a.txt").read_text() == "1"
    with atomic_folder(target) as folder:
        (folder / "a.txt").write_text("3")
        (folder / "b.txt").write_text("3")
    assert (target / "a.txt").read_text() == "3"
    assert sorted(path.name for path in target.parent.iterdir()) == ["model"]


def test_a_folder_with_files_of_others_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "diary.txt").write_text("mine")
    words = r"model holds diary\.txt, which would be lost\. Move the folder away first"
    with pytest.raises(StorageError, match=words), atomic_folder(target):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "diary.txt"]
    (tmp_path / "file").write_text("a file")
    words = r"is a file; a folder will be written there"
    with pytest.raises(StorageError, match=words), atomic_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "a file"


def _write_half_way(target: Path) -> None:
    with atomic_folder(target) as folder:
        (folder / "a.txt").write_text("2")
        raise RuntimeError("half way")
