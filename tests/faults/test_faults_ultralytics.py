"""Table of cases, made from a seed: spoilt files of YOLOv8, YOLO11 and YOLO26 run nothing and are answered in words."""

from __future__ import annotations

import encodings.cp437  # noqa: F401  # zipfile needs it for names
import time
from pathlib import Path

import pytest
import torch
from hostile_ultralytics import CANARY, Spoilt, hostile_ultralytics
from inert_writer import file_of
from ultralytics_files import FAMILIES, checkpoint
from watching import FORBIDDEN, memory_above_now, watched

from slimyolo.errors import SlimyoloError, UnsafeCheckpointError
from slimyolo.families import load_checkpoint
from slimyolo.storage import ForeignObject, read_foreign_pickle

HALF_A_GIGABYTE = 2**29
MOST_SECONDS = 20.0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_honest_file_is_a_plain_tree(tmp_path: Path, family: str, training: bool) -> None:
    """What the spoilt files differ from: without this the refusals below would prove nothing."""
    path = tmp_path / "honest.pt"
    path.write_bytes(file_of(checkpoint(family, training=training)))
    tree = read_foreign_pickle(path)
    model = tree["ema" if training else "model"]
    assert isinstance(model, ForeignObject)
    assert model.class_name == "ultralytics.nn.tasks.DetectionModel"
    weight = (
        model.state["_modules"]["model"].state["_modules"]["0"].state["_modules"]["conv"].state["_parameters"]["weight"]
    )
    assert weight.shape == (8, 3, 3, 3)
    assert weight.dtype == torch.float16


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_honest_file_is_read(tmp_path: Path, family: str, training: bool) -> None:
    pytest.importorskip("slimyolo.families.yolov8.foreign", reason="the reader of these families is not there yet")
    path = tmp_path / "honest.pt"
    path.write_bytes(file_of(checkpoint(family, training=training)))
    detector = load_checkpoint(path).detector().eval()
    assert detector.nc == 2
    assert list(detector.names) == ["class0", "class1"]
    with torch.no_grad():
        assert torch.isfinite(detector(torch.rand(1, 3, 64, 96))).all()


def test_a_file_that_was_marked_as_cut_is_read_like_the_unmarked_one(tmp_path: Path) -> None:
    """`slimyolo.ultralytics.prune` puts a sentence in the place of the first class name, and the rows beside it."""
    tree = checkpoint("yolo11")
    path = tmp_path / "honest.pt"
    path.write_bytes(file_of(tree))
    plain = load_checkpoint(path)
    rows = tree["model"].state["yaml"]
    rows["uncut_backbone"] = rows["backbone"]
    rows["backbone"] = [[-1, 1, "This network was cut", [64, 3, 2]], *rows["backbone"][1:]]
    path.write_bytes(file_of(tree))
    marked = load_checkpoint(path)
    assert marked.architecture == plain.architecture
    assert all(torch.equal(tensor, marked.tensors[name]) for name, tensor in plain.tensors.items())
    rows["uncut_backbone"] = "nonsense"
    path.write_bytes(file_of(tree))
    with pytest.raises(SlimyoloError, match=r"honest\.pt"):
        load_checkpoint(path)


def test_spoilt_files_run_nothing_and_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _check(
        [spoilt for number, spoilt in enumerate(hostile_ultralytics(seed=0)) if number % 7 == 0], tmp_path, monkeypatch
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_all_spoilt_files_run_nothing_and_are_answered(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = list(hostile_ultralytics(seed))
    assert len(spoilt) > 250
    assert sum(one.refused is not None for one in spoilt) > 40
    _check(spoilt, tmp_path, monkeypatch)


def _check(files: list[Spoilt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    path.write_bytes(file_of(checkpoint("yolo26")))
    _answer(path)  # what Python itself imports late is imported now
    for spoilt in files:
        path.write_bytes(spoilt.content)
        began = time.process_time()
        with watched(*FORBIDDEN, "open for writing") as seen, memory_above_now(HALF_A_GIGABYTE):
            try:
                caught = _answer(path)
            except Exception as error:
                raise AssertionError(f"{spoilt.name}: {type(error).__name__}: {error}") from error
        assert not seen, f"{spoilt.name}: {seen}"
        assert time.process_time() - began < MOST_SECONDS, spoilt.name
        assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pt"], spoilt.name
        if caught is None:
            assert spoilt.readable, f"{spoilt.name} was taken for a checkpoint"
            continue
        assert "evil.pt" in str(caught), spoilt.name
        assert len(str(caught)) < 2000, spoilt.name
        if spoilt.refused is not None:
            assert isinstance(caught, UnsafeCheckpointError), f"{spoilt.name}: {caught}"
            assert f"`{spoilt.refused}`" in str(caught), spoilt.name
    assert not (tmp_path / CANARY).exists()


def _answer(path: Path) -> SlimyoloError | None:
    """The error that reading the file ends in, or None when a detector is made of it."""
    try:
        load_checkpoint(path).detector()
    except SlimyoloError as error:
        return error
    return None
