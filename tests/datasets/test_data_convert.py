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
