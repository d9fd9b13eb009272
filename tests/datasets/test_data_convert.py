"""Property: the same dataset in each format of other tools becomes the same boxes; table of cases: what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_datasets import PICTURES, WRITERS, Picture, names_of

from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.data.convert.convert import Conversion, convert_dataset
from slimyolo.data.convert.report import ConversionReport


def convert(source: Path, folder: Path, **how: object) -> ConversionReport:
    how.setdefault("shares", (0.5, 0.5))
    return convert_dataset(Conversion(source=source, folder=folder, **how))  # type: ignore[arg-type]  # fields by name


def boxes_of(report: ConversionReport) -> dict[str, list[list[float]]]:
    """The name of each picture → its rows (class, cx, cy, w, h), as training reads them."""
    spec = read_dataset_yaml(report.data)
    found = {}
    for split in report.splits:
        for sample in read_split(spec, split.name).samples:
            found[sample.image.stem.replace("_", " ")] = sample.boxes.tolist()
    return found


def expected(pictures: tuple[Picture, ...]) -> dict[str, list[list[float]]]:
    names = names_of(pictures)

    def row(one: Picture, name: str, left: float, top: float, right: float, bottom: float) -> list[float]:
        height, width = one.size
        centre = [(left + right) / 2 / width, (top + bottom) / 2 / height]
        return [names.index(name), *centre, (right - left) / width, (bottom - top) / height]

    return {Path(one.name).stem: [row(one, *box) for box in one.boxes] for one in pictures}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_boxes(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / "source")
    report = convert(source, tmp_path / "new")
    assert report.names == ("cat", "dog")
    assert report.counts == {}
    found, wanted = boxes_of(report), expected(PICTURES)
    assert found.keys() == wanted.keys()
    for name, rows in wanted.items():
        np.testing.assert_allclose(found[name], rows, rtol=0, atol=1e-6)
    assert sum(split.images for split in report.splits) == 3


EXACT = [kind for kind in WRITERS if "yolo" not in kind]  # text files have six decimals, when others write them


@pytest.mark.parametrize("kind", EXACT)
def test_random_boxes_come_back(kind: str, tmp_path: Path) -> None:
    """From pixels through the format into rows and back into pixels: the same to 1e-6 of the side."""
    generator = np.random.default_rng(len(kind))
    pictures = []
    for number, size in enumerate(((37, 91), (480, 640))):
        height, width = size
        low = generator.uniform(0, 0.7, (40, 2))
        high = low + generator.uniform(0.01, 0.3, (40, 2))
        boxes = np.concatenate([low, high], 1) * (width, height, width, height)
        pictures.append(Picture(f"{number}.png", size, tuple(("cat", *row) for row in boxes.round(2).tolist())))
    report = convert(WRITERS[kind](tmp_path / "source", pictures), tmp_path / "new")
    assert report.counts == {}
    found, wanted = boxes_of(report), expected(tuple(pictures))
    for name, rows in wanted.items():
        np.testing.assert_allclose(found[name], rows, rtol=0, atol=1e-6)


def test_converting_again_changes_nothing(tmp_path: Path) -> None:
    first = convert(WRITERS["coco"](tmp_path / "source"), tmp_path / "new")
    again = convert(first.data, tmp_path / "again", shares=None)
    third = convert(tmp_path / "again", tmp_path / "third", shares=None)
    assert again.splits == first.splits == third.splits
    for folder in ("again", "third"):
        for file in sorted((tmp_path / "new").rglob("*")):
            if file.is_file() and file.name != "conversion.json":
                assert (tmp_path / folder / file.relative_to(tmp_path / "new")).read_bytes() == file.read_bytes()
