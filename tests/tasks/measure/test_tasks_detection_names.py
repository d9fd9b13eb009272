"""Table of cases: the label file and the COCO id that ``val`` gives to each image; no two images share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimyolo.storage import remove_earlier_files
from slimyolo.tasks.measure.detection_names import detection_names


@pytest.mark.parametrize(
    ("images", "files", "ids"),
    [
        (["000139.jpg", "000285.jpg"], ["000139", "000285"], [139, 285]),  # COCO
        (["a/1.jpg", "b/2.jpg"], ["1", "2"], [1, 2]),
        (["a/1.jpg", "a/01.jpg"], ["1", "01"], ["1", "01"]),
        (["三.jpg", "1.jpg"], ["三", "1"], ["三", "1"]),  # isnumeric(), but int() fails
        (["²/²a.jpg", "²/².jpg"], ["²a", "²"], ["²a", "²"]),
        (["٣.jpg", "3.jpg"], ["٣", "3"], ["٣", "3"]),  # int() reads both as 3
        (["-1.jpg", "1.jpg"], ["-1", "1"], ["-1", "1"]),
        (["cam1/1.jpg", "cam2/1.jpg"], ["cam1/1", "cam2/1"], ["cam1/1", "cam2/1"]),
        (["x/cam1/1.jpg", "x/cam1/1.png"], ["1.jpg", "1.png"], ["1.jpg", "1.png"]),
        (["x/a.jpg", "x/y/a.jpg", "x/b.jpg"], ["a", "y/a", "b"], ["a", "y/a", "b"]),
        (
            ["x/A.jpg", "x/a.jpg"],
            ["A.jpg", "a.jpg"],
            ["A.jpg", "a.jpg"],
        ),  # one file on some systems, whatever it is called
        ([], [], []),
    ],
)
def test_names(images: list[str], files: list[str], ids: list[object]) -> None:
    names = detection_names([Path("/data") / image for image in images])
    assert (list(names.files), list(names.image_ids)) == (files, ids)
    assert [type(one) for one in names.image_ids] == [type(one) for one in ids]
    assert len(set(names.files)) == len(set(names.image_ids)) == len(images)


def test_only_files_of_the_patterns_are_removed(tmp_path: Path) -> None:
    for name in ("record.json", "labels/a.txt", "labels/cam/b.txt", "notes.txt", "labels/notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_earlier_files(tmp_path, ("record.json", "labels/**/*.txt", "none.json"))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["notes.md", "notes.txt"]
