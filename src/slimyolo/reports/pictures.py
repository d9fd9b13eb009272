"""Draws the same validation images side by side: with their labels, and with the detections of each stage.

Every image is stored once, as a small JPEG; the boxes are SVG on top of it.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from slimyolo.errors import StorageError
from slimyolo.reports.records.run_files import SampleImage, SampleSet
from slimyolo.storage import read_user_file

JPEG = b"\xff\xd8"  # the first bytes

__all__ = ["BOX_COLOURS", "Panel", "PictureRow", "picture_rows"]

BOX_COLOURS = 8
MOST_WORDS = 10  # boxes that get a text; with more boxes, the texts would hide the picture
LETTER_HEIGHT = 0.045  # of a text, relative to the longer side of the picture
LETTER = 0.68  # width of a bold letter, relative to its height

Words = tuple[float, float, str]
"""Left edge and baseline of a text, in pixels of the image, and the text."""


@dataclass(frozen=True)
class Panel:
    """One drawing of an image: whose boxes it shows, what they are in words, and the SVG."""

    title: str
    words: str
    svg: Markup


@dataclass(frozen=True)
class PictureRow:
    """One image: its file name, the hidden SVG element that holds the JPEG, and the panels that show it."""

    name: str
    definition: Markup
    panels: tuple[Panel, ...]


def picture_rows(samples: Sequence[tuple[str, SampleSet]], count: int, prefix: str) -> tuple[PictureRow, ...]:
    """Rows of panels for at most `count` images that all `samples` (title, set) have in common.

    Each row shows the labels first and then the detections of each sample set. `prefix` makes the ids of several runs
    on one page different. Raises `StorageError` when a JPEG cannot be read.
    """
    if not samples:
        return ()
    by_name = [{image.name: image for image in sample.images} for _, sample in samples]
    shared = [name for name in by_name[0] if all(name in images for images in by_name)]
    rows = []
    for number, name in enumerate(shared[:count]):
        first, mark = by_name[0][name], f"{prefix}p{number}"
        names = samples[0][1].names
        panels = [_panel("truth", first, [(row[0], None, row[1:]) for row in first.truth], names, mark)]
        for (title, sample), images in zip(samples, by_name, strict=True):
            boxes = [(row[0], row[1], row[2:]) for row in images[name].detections]
            panels.append(_panel(title, first, boxes, sample.names, mark))
        rows.append(PictureRow(name, _definition(first, mark), tuple(panels)))
    return tuple(rows)


def _definition(image: SampleImage, mark: str) -> Markup:
    try:
        content = read_user_file(image.jpeg, "picture")
    except OSError as error:
        raise StorageError(f"Cannot read {image.jpeg}: {error.strerror}.") from error
    if not content.startswith(JPEG):
        raise StorageError(f"{image.jpeg} is not a JPEG picture. Remove it to make the report without it.")
    size, data = f'width="{image.width}" height="{image.height}"', base64.b64encode(content).decode()
    return Markup(f'<image id="{mark}" {size} preserveAspectRatio="none" href="data:image/jpeg;base64,{data}"/>')


def _panel(
    title: str,
    image: SampleImage,
    boxes: Sequence[tuple[float, float | None, Sequence[float]]],
    names: Sequence[str],
    mark: str,
) -> Panel:
    counts = Counter(_name(names, int(number)) for number, _, _ in boxes)
    said = ", ".join(f"{count} × {name}" for name, count in counts.most_common(4)) or "nothing"
    letter = LETTER_HEIGHT * max(
        image.width, image.height
    )  # the page scales small pictures up, and their letters with them
    parts = [
        f'<svg class="photo" viewBox="0 0 {image.width} {image.height}" role="img"',
        f' aria-label="{escape(title)}, {escape(image.name)}: {escape(said)}">',
        f'<use href="#{mark}"/>',
    ]
    parts += [_rectangle(image, int(number), score, box, names) for number, score, box in reversed(boxes)]
    taken: list[Words] = []
    for number, score, box in boxes if len(boxes) <= MOST_WORDS else ():
        words = _place_words(image, _said(names, int(number), score), box, letter, taken)
        if words is not None:
            taken.append(words)
            parts.append(
                f'<text class="tag" x="{words[0]:.1f}" y="{words[1]:.1f}" font-size="{letter:.1f}">{escape(words[2])}</text>'
            )
    return Panel(title, said, Markup("".join([*parts, "</svg>"])))


def _rectangle(image: SampleImage, number: int, score: float | None, box: Sequence[float], names: Sequence[str]) -> str:
    left, top, right, bottom = _pixels(image, box)
    place = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1):.1f}" height="{max(bottom - top, 1):.1f}"'
    return (
        f"<g><title>{escape(_said(names, number, score))}</title>"
        f'<rect class="case" {place}/><rect class="box b{number % BOX_COLOURS}" {place}/></g>'
    )


def _place_words(
    image: SampleImage, said: str, box: Sequence[float], letter: float, taken: Sequence[Words]
) -> Words | None:
    """A free place for the text: above the box, below it or inside it; None when there is no room.

    When the whole text does not fit, its last word (the score) is tried alone. `taken` are the texts that are already
    placed.
    """
    left, top, right, bottom = _pixels(image, box)
    for text in (said, said.rpartition(" ")[2]):
        width = LETTER * letter * len(text)
        across = (min(max(left, 2), max(image.width - width - 2, 2)), max(min(right, image.width - 2) - width, 2))
        for base in (top - letter * 0.35, bottom + letter, top + letter * 1.1):
            for start in across:
                inside = letter < base < image.height - 2
                if inside and not any(
                    abs(base - other[1]) < letter * 1.15
                    and start < other[0] + LETTER * letter * len(other[2])
                    and other[0] < start + width
                    for other in taken
                ):
                    return start, base, text
    return None


def _pixels(image: SampleImage, box: Sequence[float]) -> tuple[float, float, float, float]:
    return box[0] * image.width, box[1] * image.height, box[2] * image.width, box[3] * image.height


def _said(names: Sequence[str], number: int, score: float | None) -> str:
    return _name(names, number) + ("" if score is None else f" {score:.2f}")


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else f"class {number}"
