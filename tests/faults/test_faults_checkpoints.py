"""Table of cases, made from a seed: hostile checkpoints run nothing, cost little memory, and are answered by name."""

from __future__ import annotations

import encodings.cp437  # noqa: F401  # zipfile needs it for names
from pathlib import Path

import pytest
from hostile_checkpoints import CANARY, hostile_files, legacy, zipped
from watching import FORBIDDEN, memory_above_now, watched

from slimyolo.errors import CheckpointError, SlimyoloError, UnsafeCheckpointError
from slimyolo.families import load_checkpoint, read_tensors

HALF_A_GIGABYTE = 2**29


def test_hostile_checkpoints_run_nothing_and_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    for warm in (zipped, legacy):  # what Python itself imports late is imported now
        path.write_bytes(warm(b"\x80\x02}."))
        with pytest.raises(CheckpointError, match="an empty dict"):
            load_checkpoint(path)
    count = unsafe = 0
    for hostile in hostile_files(seed=0):
        path.write_bytes(hostile.content)
        with watched(*FORBIDDEN, "open for writing") as seen, memory_above_now(HALF_A_GIGABYTE):
            try:
                load_checkpoint(path)
            except SlimyoloError as error:
                caught: Exception | None = error
            except Exception as error:
                raise AssertionError(f"{hostile.name}: {type(error).__name__}: {error}") from error
            else:
                caught = None
        assert caught is not None, f"{hostile.name} was taken for a checkpoint"
        assert not seen, f"{hostile.name}: {seen}"
        assert "evil.pt" in str(caught), hostile.name
        assert len(str(caught)) < 2000, hostile.name
        if hostile.refused is not None:
            assert isinstance(caught, UnsafeCheckpointError), f"{hostile.name}: {caught}"
            assert f"`{hostile.refused}`" in str(caught), hostile.name
            unsafe += 1
        assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pt"], hostile.name
        count += 1
    assert count >= 300
    assert unsafe >= 130
    assert not (tmp_path / CANARY).exists()


def test_reading_tensors_alone_is_as_careful(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    for number, hostile in enumerate(hostile_files(seed=1)):
        if number % 7 or hostile.refused is None:
            continue
        path.write_bytes(hostile.content)
        with watched(*FORBIDDEN, "open for writing") as seen, pytest.raises(UnsafeCheckpointError):
            read_tensors(path)
        assert not seen, f"{hostile.name}: {seen}"
