"""Property: whatever is done to a dataset, reading it with what was kept of an earlier reading equals reading it anew."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimyolo import file_stamps
from slimyolo.data import SplitData, read_dataset_yaml, read_split
from slimyolo.data.dataset import kept_reading, splits
from slimyolo.data.pictures import image_scan
from slimyolo.errors import DataError

MakeDataset = Callable[..., Path]
TICK_S = 0.02  # longer than the ticks of this machine's file clock


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep every reading of files that are older than a tick; gives the folder of the readings."""
    monkeypatch.setattr(kept_reading, "_WORTH_KEEPING_S", -1.0)
    monkeypatch.setattr(image_scan, "_WORTH_KEEPING_S", -1.0)
    monkeypatch.setattr(file_stamps, "SETTLED_NS", int(TICK_S / 2 * 1e9))
    return tmp_path / "user-cache" / "slimyolo"


def read(source: Path, **settings: Any) -> SplitData:
    return read_split(read_dataset_yaml(source), "train", **settings)


def content(source: Path, **settings: Any) -> Any:
    """All that a reading says, in a form that can be compared; the message where it is refused."""
    try:
        split = read(source, **settings)
    except DataError as error:
        return str(error)
    samples = [
        (
            one.image,
            one.label,
            one.size,
            one.boxes.tobytes(),
            one.boxes.shape,
            one.boxes.dtype,
            one.boxes.flags.writeable,
            [None if outline is None else (outline.tobytes(), outline.shape) for outline in one.polygons],
        )
        for one in split.samples
    ]
    return split.name, split.root, split.names, samples, split.defects, split.fingerprint


def anew(source: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
    """`content`, without anything that was kept."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(source.parent.parent / "nothing" / str(time.time_ns())))
        patch.setattr(kept_reading, "_WORTH_KEEPING_S", 1e9)
        patch.setattr(image_scan, "_WORTH_KEEPING_S", 1e9)
        return content(source, **settings)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that are opened from now on."""
    seen: list[str] = []
    look, labels = image_scan.look_at_image, splits._read_labels
    monkeypatch.setattr(image_scan, "look_at_image", lambda image: seen.append(image.name) or look(image))
    monkeypatch.setattr(splits, "_read_labels", lambda path, spec: seen.append(path.name) or labels(path, spec))
    return seen


def quietly(change: Callable[[Path], object], file: Path) -> None:
    """Change `file` and set its modification time back, as `touch -r` and some synchronising programs do."""
    before = file.stat()
    change(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def picture(file: Path, shade: int, side: int = 40) -> None:
    cv2.imwrite(str(file), np.full((side, side, 3), shade, np.uint8))


def images(root: Path) -> list[Path]:
    return sorted(file for file in (root / "images" / "train").rglob("*") if file.suffix == ".png")


def label(image: Path) -> Path:
    return Path(str(image).replace("images", "labels")).with_suffix(".txt")


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_suffix(".tmp"))
    other.rename(one)
    one.with_suffix(".tmp").rename(other)


def relink(root: Path) -> None:
    """Put a link to a copy of the labels in the place of their folder; the copy of the next call has other rows."""
    labels, number = root / "labels" / "train", len(list(root.glob("copy*")))
    copy = root / f"copy{number}"
    shutil.copytree(labels, copy)
    for file in copy.glob("*.txt"):
        text = file.read_text()
        quietly(lambda path, text=text: path.write_text(text.replace("0.5", "0.4")), file)  # type: ignore[misc]
    shutil.rmtree(labels) if not labels.is_symlink() else labels.unlink()
    labels.symlink_to(copy)


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    # (root, one of the images)
    "nothing": lambda root, image: None,
    "new picture": lambda root, image: picture(root / "images" / "train" / f"new{time.time_ns()}.png", 9),
    "new picture with label": lambda root, image: (
        shutil.copy(image, image.with_name("zz.png")),
        label(image.with_name("zz.png")).write_text("1 0.5 0.5 0.2 0.2"),
    ),
    "picture removed": lambda root, image: image.unlink(missing_ok=True),
    "picture of another size": lambda root, image: picture(image, 3, side=52),
    "picture changed, same time": lambda root, image: quietly(lambda file: picture(file, 200, side=44), image),
    "picture damaged": lambda root, image: image.write_bytes(b"damaged"),
    "picture too small": lambda root, image: picture(image, 3, side=4),
    "pictures swapped": lambda root, image: swap(*images(root)[:2]) if len(images(root)) > 1 else None,
    "picture renamed": lambda root, image: image.rename(image.with_stem(f"{image.stem}r")),
    "dangling link": lambda root, image: (image.unlink(), image.symlink_to(root / "later.png")),
    "its target appears": lambda root, image: picture(root / "later.png", 7),
    "label removed": lambda root, image: label(image).unlink(missing_ok=True),
    "label added": lambda root, image: label(image).write_text("0 0.5 0.5 0.25 0.25\n1 0.4 0.4 0.1 0.1"),
    "label emptied": lambda root, image: label(image).write_text(""),
    "label changed, same size and time": lambda root, image: (
        label(image).exists()
        and quietly(lambda file: file.write_text(file.read_text().replace("0.", ".0", 1)), label(image))
    ),
    "outline": lambda root, image: label(image).write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.5 0.2 0.2\n"),
    "wrong rows": lambda root, image: label(image).write_text("7 0.5 0.5 0.2 0.2\n0 x 0 0 0\n0 0.5 0.5 0.2 0.2"),
    "label that is a folder": lambda root, image: (
        label(image).unlink(missing_ok=True),
        label(image).is_dir() or label(image).mkdir(),
    ),
    "label beside the picture": lambda root, image: image.with_suffix(".txt").write_text("1 0.3 0.3 0.2 0.2"),
    "label in large letters": lambda root, image: (
        label(image).is_file() and label(image).rename(label(image).with_suffix(".TXT"))
    ),
    "link to a label": lambda root, image: (
        label(image).unlink(missing_ok=True),
        label(image).is_dir() or label(image).symlink_to(root / "later.txt"),
    ),
    "target of that link": lambda root, image: (root / "later.txt").write_text("0 0.5 0.5 0.5 0.5"),
    "labels behind a link": lambda root, image: relink(root),
    "labels in a folder Labels": lambda root, image: (root / "labels").rename(root / "Labels"),
    "folder of pictures": lambda root, image: shutil.copytree(
        root / "images" / "train", root / "images" / "train" / f"more{time.time_ns()}"
    ),
    "hidden folder": lambda root, image: shutil.copytree(
        root / "images" / "train", root / "images" / "train" / f".more{time.time_ns()}"
    ),
    "unsupported picture": lambda root, image: image.with_suffix(".gif").write_bytes(b"GIF89a"),
    "other classes": lambda root, image: (root / "data.yaml").write_text("train: images/train\nnames: [a, b, c]\n"),
    "one class": lambda root, image: (root / "data.yaml").write_text("train: images/train\nnames: [a]\n"),
    "a list": lambda root, image: (
        (root / "list.txt").write_text("\n".join(f"images/train/{file.name}" for file in images(root)[::2])),
        (root / "data.yaml").write_text("train: list.txt\nnames: [face, face_mask]\n"),
    ),
    "moved away and back": lambda root, image: (
        root.rename(root.with_name(f"away-{root.name}")),
        shutil.copytree(root.with_name(f"away-{root.name}"), root, symlinks=True),
    ),
}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 3)), min_size=1, max_size=6))
def test_kept_readings_change_nothing(
    changes: list[tuple[str, int]], keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_dataset(folder=f"set{time.time_ns()}", train=4)
    for name, place in [("nothing", 0), *changes]:
        found = images(source.parent)
        if found:
            with contextlib.suppress(OSError):  # an earlier change left nothing to change
                CHANGES[name](source.parent, found[place % len(found)])
        time.sleep(TICK_S)
        for single in (False, True):
            expected = anew(source, monkeypatch, single_class=single)
            assert content(source, single_class=single) == expected, (name, "first")
            assert content(source, single_class=single) == expected, (name, "again")


def test_every_change_is_noticed_by_itself(
    keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change alone, after a reading that was kept."""
    for number, (name, change) in enumerate(CHANGES.items()):
        source = make_dataset(folder=f"set{number}", train=3)
        time.sleep(TICK_S)
        before = content(source)
        assert len(list(keeping.glob("split-*"))) > number, name
        change(source.parent, images(source.parent)[1])
        time.sleep(TICK_S)
        expected = anew(source, monkeypatch)
        assert content(source) == expected, name
        assert content(source) == expected, name
        assert (expected == before) == (name in SAME), name


SAME = ("nothing", "its target appears", "target of that link", "hidden folder", "moved away and back")
"""Changes after which a reading says what it said before."""


def test_a_second_reading_opens_no_file(
    keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_dataset(train=5)
    time.sleep(TICK_S)
    first = content(source)
    seen = opened(monkeypatch)
    assert content(source) == first
    assert seen == []
    label(images(source.parent)[2]).write_text("1 0.5 0.5 0.3 0.3")
    assert content(source) != first
    assert seen == [f"{number:03}.txt" for number in range(5)]  # the pictures are still those that were looked at


@pytest.mark.parametrize("damage", [b"", b"damaged", None], ids=["empty", "other content", "one bit"])
def test_a_damaged_reading_is_ignored(damage: bytes | None, keeping: Path, make_dataset: MakeDataset) -> None:
    source = make_dataset(train=3)
    time.sleep(TICK_S)
    first = content(source)
    (file,) = keeping.glob("split-*")
    whole = file.read_bytes()
    for place in range(0, len(whole), 97) if damage is None else (0,):
        altered = bytearray(whole)
        altered[place] ^= 1
        file.write_bytes(altered if damage is None else damage)
        assert kept_reading.find_reading(file, list(map(str, images(source.parent)))) is None
    assert content(source) == first
    assert file.read_bytes() == whole  # it was written again


def test_a_reading_of_another_version_is_ignored(
    keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_dataset(train=3)
    time.sleep(TICK_S)
    first = content(source)
    seen = opened(monkeypatch)
    monkeypatch.setattr(kept_reading, "__version__", "0.3.0")
    assert content(source) == first
    assert len(seen) == 3  # the labels; pictures have a version of their own


def test_files_that_were_just_changed_prove_nothing(
    keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_stamps, "SETTLED_NS", 3 * 10**9)
    content(make_dataset(train=3))
    assert not list(keeping.glob("split-*"))


def test_files_that_could_not_be_read_are_read_again(
    keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_dataset(train=3)
    time.sleep(TICK_S)

    def failing(image: Path) -> bytes:
        raise DataError(f"{image} cannot be read: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(image_scan, "read_image_bytes", failing)
        assert "Input/output error" in content(source)
    assert not list(keeping.glob("split-*"))
    assert len(read(source)) == 3


def test_several_commands_at_once(keeping: Path, make_dataset: MakeDataset) -> None:
    source = make_dataset(train=4)
    time.sleep(TICK_S)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: content(source), range(8)))
    assert all(one == found[0] for one in found)


def test_paths_are_those_of_the_working_directory(
    keeping: Path, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        make_dataset(folder=f"{name}/set", train=2 if name == "one" else 3)
    time.sleep(TICK_S)
    for name, count in (("one", 2), ("two", 3), ("one", 2)):
        monkeypatch.chdir(tmp_path / name)
        assert len(read(Path("set/data.yaml"))) == count


def test_a_cache_folder_that_cannot_be_written_does_not_matter(
    keeping: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    source = make_dataset(train=2)
    time.sleep(TICK_S)
    assert len(read(source)) == len(read(source)) == 2


def test_old_readings_are_deleted(keeping: Path, make_dataset: MakeDataset) -> None:
    keeping.mkdir(parents=True)
    for name, days in (("split-old.reading", 100), ("split-new.reading", 80), ("times.json", 100)):
        (keeping / name).write_text("")
        os.utime(keeping / name, (time.time() - days * 86400,) * 2)
    source = make_dataset(train=2)
    time.sleep(TICK_S)
    read(source)
    assert not (keeping / "split-old.reading").exists()
    assert (keeping / "split-new.reading").exists()
    assert (keeping / "times.json").exists()
