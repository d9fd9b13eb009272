"""Table of cases: numbers of things, sizes of files and long paths in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import slimyolo
from slimyolo.shown_text import counted, file_size, short_paths, told_apart

SOURCES = Path(slimyolo.__file__).parent


@pytest.mark.parametrize(
    ("number", "words"), [(0, ("0 images", "0 boxes")), (1, ("1 image", "1 box")), (12, ("12 images", "12 boxes"))]
)
def test_one_thing_is_not_plural(number: int, words: tuple[str, str]) -> None:
    assert (counted(number, "image"), counted(number, "box", "boxes")) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (3_118_000, "3.12 MB"),
        (2_500_000_000, "2500.00 MB"),
    ],
)
def test_no_file_has_the_size_0_mb(size: int, words: str) -> None:
    assert file_size(size) == words


def test_log_lines_count_with_the_function() -> None:
    """A template such as ``%d images`` would say "1 images"."""
    template = re.compile(
        r"log\.\w+\(\s*\"[^\"]*(?<!of )%d (?:images|epochs|classes|boxes|defects|networks|threads|layers|groups)\b"
    )
    assert [str(path) for path in SOURCES.rglob("*.py") if template.search(path.read_text())] == []


def test_the_same_name_twice_is_told_apart() -> None:
    assert told_apart(["a", "b", "a", "c"]) == ["a (1 of 2)", "b", "a (2 of 2)", "c"]
    assert told_apart([]) == []


RUN = "runs/compress/exp"


@pytest.mark.parametrize(
    ("paths", "width", "labels"),
    [
        (["a.pt", "b.pt"], 20, ["a.pt", "b.pt"]),
        (["a.pt", "a.pt"], 20, ["a.pt", "a.pt"]),
        (["yolov5n.pt", f"{RUN}/base/weights/best.pt"], 20, ["yolov5n.pt", "best.pt"]),
        ([f"{RUN}/{one}/weights/best.pt" for one in ("base", "sparse")], 20, ["base/…/best.pt", "sparse/…/best.pt"]),
        (["runs/prune/exp/pruned.pt", "runs/prune/exp2/pruned.pt"], 20, ["exp/pruned.pt", "exp2/pruned.pt"]),
        (["one/runs/prune/exp/p.pt", "two/runs/prune/exp/p.pt"], 20, ["one/…/p.pt", "two/…/p.pt"]),
        (["pt/x/b.pt", "a/b/pt/x/b.pt"], 8, ["…/…/b.pt", "b/…/b.pt"]),  # one is the end of the other
        ([f"{'n' * 30}{one}{'m' * 30}" for one in "ab"], 20, [f"{n}: …{'m' * 16}" for n in (1, 2)]),
        ([r"C:\runs\exp\weights\best.pt", r"C:\runs\exp2\weights\best.pt"], 16, ["exp/…/best.pt", "exp2/…/best.pt"]),
    ],
)
def test_different_paths_have_different_labels(paths: list[str], width: int, labels: list[str]) -> None:
    found = short_paths(paths, width)
    assert [found[path] for path in paths] == labels
    assert all(len(label) <= width for label in labels)
