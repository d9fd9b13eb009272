"""Divides pictures into train, val and test. Pictures of one group stay together.

Frames of one video look alike. If some are in train and others in val, the metrics of val are too good, and nobody
notices. So pictures form groups where their names say so:

| name | group |
|---|---|
| ``clip7_frame_0012.jpg``, ``clip7-frame12.png``, ``clip7_f0012.jpg`` | ``clip7`` |
| ``frame_0012.jpg``, ``f0012.jpg`` | its folder |
| ``clip7.mp4_0012.jpg``, ``clip7_mp4-12_jpg.rf.0a1b….jpg`` (a frame in Roboflow) | ``clip7`` |
| ``cat_jpg.rf.0a1b….jpg`` (copies of one picture that Roboflow made) | ``cat`` |
| all other names, such as ``IMG_0012.jpg`` and ``000012.jpg`` | the picture itself |

A number at the end of other names is not taken as that of a frame, because cameras number photographs so.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from slimyolo.errors import ConfigError
from slimyolo.shown_text import counted

__all__ = ["SPLITS", "divide", "group_of", "looks_numbered", "parse_shares", "torn_groups"]

SPLITS = ("train", "val", "test")
_ROBOFLOW = re.compile(r"^(?P<name>.+)_(?:jpe?g|png|webp|bmp|tiff?)\.rf\.[0-9A-Za-z]+$", re.I)
_VIDEO = re.compile(r"^(?P<group>.+)[._](?:mp4|avi|mov|mkv|webm|m4v|mpe?g|wmv|ts)[\W_]*\d+$", re.I)
_FRAME = re.compile(r"^(?P<group>.*?)[\W_]*(?<![A-Za-z])(?:frames?|frm|fr|f)[\W_]*\d+$", re.I)
_NUMBERED = re.compile(r"^(.+?)[\W_]+\d+$")


def parse_shares(text: str) -> tuple[float, ...]:
    """``"0.8/0.2"``, ``"0.8/0.1/0.1"`` or ``"80/20"`` → the shares of train, val and test, which add up to 1.

    Raises `ValueError`.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if (
        len(numbers) not in (2, 3)
        or not all(number > 0 for number in numbers)
        or not min(abs(total - 1), abs(total - 100)) < 1e-6
    ):
        raise ValueError(
            f"got {text!r}, expected two or three shares that add up to 1, such as 0.8/0.2 (train/val) or 0.8/0.1/0.1 "
            "(train/val/test)."
        )
    return tuple(number / total for number in numbers)


def group_of(path: str, pattern: re.Pattern[str] | None = None) -> str:
    """The group of the picture at `path` (relative, with slashes), by the table above or by `pattern`.

    The group of a pattern is what its parentheses hold, or the whole match. A name that it does not fit is its own group.
    """
    if pattern is not None:
        found = pattern.search(path)
        if found is None:
            return path
        return "\0".join(part or "" for part in found.groups()) if found.groups() else found[0]
    place = PurePosixPath(path)
    folder, stem = place.parent.as_posix(), place.stem
    copied = _ROBOFLOW.match(stem)
    name = copied["name"] if copied else stem
    frame = _VIDEO.match(name) or _FRAME.match(name)
    if frame is not None:
        return f"{folder}/{frame['group']}"
    return f"{folder}/{name}" if copied else path


def divide(groups: Sequence[str], shares: Sequence[float], seed: int) -> tuple[str, ...]:
    """The split of each picture. `groups` names the group of each; pictures of a group get the same split.

    Groups come in random order, the largest first, and each goes to the split that lacks most pictures. Every split gets a
    group. Raises `ConfigError` when there are fewer groups than splits.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    names = SPLITS[: len(shares)]
    if len(members) < len(names):
        raise ConfigError(
            f"--split: {counted(len(groups), 'picture')}, which form {counted(len(members), 'group')} (frames of one "
            f"video stay together), are too few for {len(names)} splits. To divide single pictures give --group-by '.*'. Then "
            "neighbouring frames are in train and in val, and the metrics of val are too good."
        )
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    lacking = {name: share * len(groups) for name, share in zip(names, shares, strict=True)}
    given: dict[str, list[str]] = {name: [] for name in names}
    for group in order:
        name = max(names, key=lambda name: lacking[name])
        given[name].append(group)
        lacking[name] -= len(members[group])
    for name in names:
        if not given[name]:  # few large groups: the smallest one of the fullest split moves
            fullest = max(names, key=lambda name: len(given[name]))
            given[name].append(given[fullest].pop())
    split_of = {group: name for name, own in given.items() for group in own}
    return tuple(split_of[group] for group in groups)


def looks_numbered(paths: Sequence[str]) -> str:
    """A pattern for ``--group-by`` when most names end in a number after several different beginnings; else empty."""
    starts = [found[1] for path in paths if (found := _NUMBERED.match(PurePosixPath(path).stem))]
    several = 1 < len(set(starts)) < len(starts) / 3
    return r"([^/]+?)[\W_]+\d+\.\w+$" if several and len(starts) > len(paths) / 2 else ""


def torn_groups(paths: Sequence[str], splits: Sequence[str]) -> tuple[str, ...]:
    """The groups whose pictures are in several splits, by the names of the files alone: splits are folders in many sources."""
    places: dict[str, set[str]] = defaultdict(set)
    for path, split in zip(paths, splits, strict=True):
        name = PurePosixPath(path).name
        group = group_of(name)
        if group not in (name, "./"):
            places[group.removeprefix("./")].add(split)
    return tuple(group for group, found in places.items() if len(found) > 1)
