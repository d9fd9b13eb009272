"""Table of cases: label rows, what is wrong with them, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimyolo.data.dataset.labels import label_path, parse_labels

FILE = Path("labels/a.txt")
GOOD = "0 0.5 0.5 0.2 0.2"


@pytest.mark.parametrize(
    "content",
    [
        b"1 0.5 0.25 0.2 0.1\n",
        b"1 0.5 0.25 0.2 0.1",  # no line end
        b"\xef\xbb\xbf1 0.5 0.25 0.2 0.1\r\n\r\n",  # byte-order mark, Windows, blank line
        b"\n  1.0\t0.5  0.25 0.2 1e-1  \n",  # tabs, float class, exponent
    ],
)
def test_readable_forms(content: bytes) -> None:
    labels = parse_labels(content, FILE, nc=2)
    np.testing.assert_allclose(labels.boxes, [[1, 0.5, 0.25, 0.2, 0.1]])
    assert labels.usable
    assert labels.defects == ()


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        ("0 0.5 0.5 0.2", "columns", "has 4 numbers"),
        ("0 0.5 0.5 0.2 0.2 0.9", "columns", "is the sixth a confidence?"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "columns", "has 8 numbers"),  # an outline with half a point
        ("0 0.5 0.5 0.2 face", "not a number", "its word 5 is not a number"),
        ("0,0.5,0.5,0.2,0.2", "not a number", "is not a number"),  # CSV
        ("0 nan 0.5 0.2 0.2", "not finite", "NaN"),
        ("0 0.5 inf 0.2 0.2", "not finite", "infinity"),
        ("2 0.5 0.5 0.2 0.2", "class", "has class 2, but the classes are 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "class", "has class -1"),
        ("0.5 0.5 0.5 0.2 0.2", "class", "has class 0.5"),
        ("0 -0.2 0.5 0.2 0.2", "out of range", "holds -0.2"),
        ("0 0.5 0.5 0.2 1.2", "out of range", "holds 1.2"),
        ("0 320 240 50 60", "out of range", "pixels must be divided"),
        ("0 0.5 0.5 0 0.2", "no area", "without area"),
        ("0 0.5 0.5 0.2 -0.001", "no area", "without area"),
        ("0 1.0 0.5 0 0.2", "no area", "without area"),
        (GOOD, "duplicate", "the same row is above"),
    ],
)
def test_bad_row_is_skipped_and_the_others_stay(row: str, kind: str, words: str) -> None:
    labels = parse_labels(f"{GOOD}\n{row}\n1 0.3 0.3 0.1 0.1\n".encode(), FILE, nc=2)
    assert labels.usable
    np.testing.assert_allclose(labels.boxes[:, 0], [0, 1])
    (defect,) = labels.defects
    assert (defect.file, defect.line, defect.kind, defect.outcome) == (FILE, 2, kind, "row skipped")
    assert words in str(defect)
    assert str(defect).startswith("labels/a.txt:2: ")


@pytest.mark.parametrize(
    ("row", "box"),
    [
        ("0 0.5 0.5 1.0001 0.2", [0.5, 0.5, 1.0, 0.2]),  # a rounding too far
        ("0 0.95 0.5 0.2 0.2", [0.925, 0.5, 0.15, 0.2]),  # half of it outside
        ("0 -0.005 0.5 0.11 0.2", [0.025, 0.5, 0.05, 0.2]),
        ("0 0.5 0.5 1.01 1.01", [0.5, 0.5, 1.0, 1.0]),
    ],
)
def test_over_the_edge_is_clipped_and_noted(row: str, box: list[float]) -> None:
    labels = parse_labels(row.encode(), FILE, nc=1)
    np.testing.assert_allclose(labels.boxes, [[0, *box]], atol=1e-6)
    assert [(d.kind, d.outcome) for d in labels.defects] == [("over the edge", "clipped")]


def test_rounding_of_six_decimals_is_clipped_without_a_note() -> None:
    labels = parse_labels(b"0 0.166667 0.5 0.333335 1.0", FILE, nc=1)
    assert labels.defects == ()
    assert (labels.boxes[0, 1] - labels.boxes[0, 3] / 2) >= 0


def test_one_class_message() -> None:
    labels = parse_labels(b"1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2", FILE, nc=1)
    assert "the only class is 0" in labels.defects[0].message


def test_outline_becomes_the_box_around_it() -> None:
    labels = parse_labels(b"1 0.2 0.2 0.6 0.3 0.4 0.7\n0 0.5 0.5 0.2 0.2", FILE, nc=2)
    np.testing.assert_allclose(labels.boxes, [[1, 0.4, 0.45, 0.4, 0.5], [0, 0.5, 0.5, 0.2, 0.2]], atol=1e-6)
    outline, none = labels.polygons
    assert none is None
    np.testing.assert_allclose(outline, [[0.2, 0.2], [0.6, 0.3], [0.4, 0.7]])


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n", b"\xef\xbb\xbf"])
def test_empty_file_is_background(content: bytes) -> None:
    labels = parse_labels(content, FILE, nc=1)
    assert labels.usable
    assert labels.boxes.shape == (0, 5)
    assert labels.defects == ()


def test_file_without_a_usable_row_loses_its_image() -> None:
    labels = parse_labels(b"7 0.5 0.5 0.2 0.2\n8 0.5 0.5 0.2 0.2", FILE, nc=1)
    assert not labels.usable
    assert [d.outcome for d in labels.defects] == ["row skipped", "row skipped", "image skipped"]


def test_binary_file_loses_its_image() -> None:
    labels = parse_labels(b"\x89PNG\r\n\xff", FILE, nc=1)
    assert not labels.usable
    assert "not UTF-8 text" in str(labels.defects[0])


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/x/images/a.b.png", "/images/x/labels/a.b.txt"),  # the last folder named images; the last suffix
        ("/d/train/a.jpg", "/d/train/a.txt"),  # beside the image
        ("/d/my_images/a.jpg", "/d/my_images/a.txt"),  # not a folder named images
        ("images/a.jpg", "labels/a.txt"),
        ("/d/images/images", "/d/labels/images.txt"),  # the file's own name does not count
    ],
)
def test_label_path(image: str, label: str) -> None:
    assert label_path(Path(image)) == Path(label)
