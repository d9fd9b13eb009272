"""Table of cases: files that are kept in the user's cache, found again, damaged, too many, or not allowed."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slimyolo.storage import KeptFiles, user_cache_folder

KEPT = KeptFiles("graphs", limit=100)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `KEPT`, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "slimyolo" / "graphs"


def test_what_was_put_is_found(folder: Path) -> None:
    assert KEPT.get("aa") is None
    assert KEPT.put("aa", b"graph")
    assert KEPT.put("aab", b"other")  # a key that begins in the same way
    assert (KEPT.get("aa"), KEPT.get("aab"), KEPT.get("a")) == (b"graph", b"other", None)
    KEPT.remove("aa")
    assert (KEPT.get("aa"), KEPT.get("aab")) == (None, b"other")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damaged", [b"", b"grap", b"Graph"], ids=["empty", "cut short", "one bit"])
def test_a_damaged_file_is_not_found_and_removed(folder: Path, damaged: bytes) -> None:
    KEPT.put("aa", b"graph")
    (file,) = folder.iterdir()
    file.write_bytes(damaged)
    assert KEPT.get("aa") is None
    assert not list(folder.iterdir())
    assert KEPT.put("aa", b"graph")
    assert KEPT.get("aa") == b"graph"


def test_the_files_that_were_not_used_for_longest_make_room(folder: Path) -> None:
    for age, key in enumerate(("cc", "bb", "aa")):
        KEPT.put(key, key.encode() * 20)
        (file,) = folder.glob(f"{key}-*")
        os.utime(file, (time.time() - 100 + age, time.time() - 100 + age))
    assert len(list(folder.iterdir())) == 2  # two of 40 bytes fit into 100
    assert KEPT.get("bb") is not None  # used now, so that "aa" is the oldest
    KEPT.put("dd", b"d" * 40)
    assert [KEPT.get(key) is not None for key in ("aa", "bb", "cc", "dd")] == [False, True, False, True]
    assert not KEPT.put("ee", b"e" * 101)  # alone too large: nothing has to go for it
    assert KEPT.get("dd") is not None


def test_unfinished_files_of_killed_processes_go_and_young_ones_stay(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    for name, age in ((".old.part", 7200), (".young.part", 5)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age, time.time() - age))
    KEPT.put("aa", b"graph")
    assert sorted(file.name for file in folder.glob(".*")) == [".young.part"]


def test_many_at_once_see_whole_files_only() -> None:
    def work(number: int) -> bytes | None:
        KEPT.put("aa", b"graph")
        return KEPT.get("aa")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(40))) == {b"graph"}


def test_without_a_folder_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")  # nobody can make a folder there, not even root
    assert not KEPT.put("aa", b"graph")
    assert KEPT.get("aa") is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says to ignore it
    monkeypatch.setenv("HOME", str(folder))
    assert user_cache_folder() == folder / ".cache" / "slimyolo"


@pytest.mark.skipif(os.name == "nt", reason="each user has a folder of its own")
def test_a_folder_in_which_others_may_write_is_not_believed(folder: Path) -> None:
    KEPT.put("aa", b"graph")
    folder.chmod(0o777)
    assert KEPT.get("aa") is None
    assert not KEPT.put("bb", b"graph")
