"""Table of cases and property: which pictures stay together, how they are divided, and which classes are kept."""

from __future__ import annotations

import re

import pytest

from slimyolo.data.convert.classes import choose_classes
from slimyolo.data.convert.splitting import divide, group_of, looks_numbered, parse_shares, torn_groups
from slimyolo.errors import ConfigError, DataError

HALVES = (0.5, 0.5)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("clip7_frame_0012.jpg", "./clip7"),
        ("clip7-frame12.png", "./clip7"),
        ("clip7_f0012.jpg", "./clip7"),
        ("day 1/clip7 frame 0012.jpg", "day 1/clip7"),
        ("cam1/frame_0012.jpg", "cam1/"),
        ("cam1/F0012.jpg", "cam1/"),
        ("clip7.mp4_0012.jpg", "./clip7"),
        ("clip7_mp4-12_jpg.rf.0a1b2c3d.jpg", "./clip7"),
        ("cat_jpg.rf.0a1b2c3d.jpg", "./cat"),
        ("IMG_0012.jpg", "IMG_0012.jpg"),
        ("000012.jpg", "000012.jpg"),
        ("shelf12.jpg", "shelf12.jpg"),  # the f belongs to a word
        ("leaf_12.jpg", "leaf_12.jpg"),
        ("cat.jpg", "cat.jpg"),
    ],
)
def test_groups_by_name(path: str, group: str) -> None:
    assert group_of(path) == group


def test_groups_by_a_pattern() -> None:
    pattern = re.compile(r"^([^/]+)/|^(\w+)-")
    assert group_of("a/1.jpg", pattern) == group_of("a/2.jpg", pattern) != group_of("b/1.jpg", pattern)
    assert group_of("x-1.jpg", pattern) == group_of("x-2.jpg", pattern)
    assert group_of("1.jpg", pattern) == "1.jpg"
    assert group_of("a_1.jpg", re.compile("^a")) == "a"


@pytest.mark.parametrize("sizes", [[1] * 100, [40, 30, 20, 10], [50, 50], [97, 1, 1, 1], [3] * 33])
@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.7, 0.2, 0.1), (0.5, 0.5)])
def test_groups_stay_together_and_shares_are_near(sizes: list[int], shares: tuple[float, ...]) -> None:
    if len(sizes) < len(shares):
        return
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    splits = divide(groups, shares, seed=3)
    assert splits == divide(groups, shares, seed=3)
    assert len(set(zip(groups, splits, strict=True))) == len(sizes)
    counts = [splits.count(name) for name in ("train", "val", "test")[: len(shares)]]
    assert min(counts) > 0
    if max(sizes) <= 3:
        assert all(abs(count / len(groups) - share) <= 0.02 for count, share in zip(counts, shares, strict=True))


def test_the_seed_decides() -> None:
    groups = [str(number) for number in range(50)]
    assert divide(groups, HALVES, 0) != divide(groups, HALVES, 1)


def test_too_few_groups() -> None:
    with pytest.raises(ConfigError, match=r"5 pictures, which form 1 group .* give --group-by '\.\*'"):
        divide(["clip"] * 5, HALVES, 0)


@pytest.mark.parametrize(
    ("text", "shares"), [("0.8/0.2", (0.8, 0.2)), ("80/20", (0.8, 0.2)), ("0.7/0.2/0.1", (0.7, 0.2, 0.1))]
)
def test_shares(text: str, shares: tuple[float, ...]) -> None:
    assert parse_shares(text) == pytest.approx(shares)


@pytest.mark.parametrize("text", ["0.8", "0.8/0.3", "a/b", "1/0", "1.2/-0.2", "nan/nan", "0.4/0.3/0.2/0.1", ""])
def test_wrong_shares(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected two or three shares that add up to 1, such as 0.8/0.2"):
        parse_shares(text)


def test_names_that_look_like_frames_are_asked_about() -> None:
    frames = [f"{clip}/{clip}_{number:04}.jpg" for clip in ("north", "south") for number in range(9)]
    pattern = re.compile(looks_numbered(frames))
    assert {group_of(frame, pattern) for frame in frames} == {"north", "south"}
    assert looks_numbered([f"IMG_{number}.jpg" for number in range(9)]) == ""
    assert looks_numbered(["cat.jpg", "dog.jpg"]) == ""


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (("cat", "dog"), ("dgo",), r"--classes: the source has no class 'dgo'. Did you mean 'dog'\? It has: cat, dog."),
        (("cat", "dog"), ("cat", "cat=kitten"), "'cat' is given twice"),
        (("cat", "cat"), (), "The classes 0 and 1 have the same name 'cat'. Rename one of them."),
        ((), (), "The source has no box, so there are no classes to learn."),
    ],
)
def test_classes_that_are_not_possible(names: tuple[str, ...], wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        choose_classes(names, wanted)


def test_names_with_equals_signs() -> None:
    assert choose_classes(("a=b", "a"), ("a=b", "a=c")).names == ("a=b", "c")


def test_groups_that_the_source_has_torn() -> None:
    paths = [
        "train/a_jpg.rf.01.jpg",
        "valid/a_jpg.rf.02.jpg",
        "train/b_jpg.rf.03.jpg",
        "train/frame_1.jpg",
        "valid/frame_2.jpg",
    ]
    assert torn_groups(paths, ["train", "val", "train", "train", "val"]) == ("a",)
