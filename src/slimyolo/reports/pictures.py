"""The same validation images side by side, as SVG over one small JPEG each: truth, dense, pruned."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from slimyolo.errors import StorageError
from slimyolo.reports.run_files import SampleImage, SampleSet

__all__ = ["BOX_COLOURS", "Panel", "PictureRow", "picture_rows"]

BOX_COLOURS = 8
MOST_WORDS = 8  # boxes: with more, words would hide the picture


@dataclass(frozen=True)
class Panel:
    """One look at an image: who says it, what is said in words, and the drawing."""

    title: str
    words: str
    svg: Markup


@dataclass(frozen=True)
class PictureRow:
    """One image: its file name, the picture itself (defined once, hidden), and the panels that show it."""

    name: str
    definition: Markup
    panels: tuple[Panel, ...]


def picture_rows(samples: Sequence[tuple[str, SampleSet]], count: int, prefix: str) -> tuple[PictureRow, ...]:
    """At most `count` images that all `samples` (title, set) hold: the truth first, then each one's detections.

    `prefix` keeps the ids of several runs on one page apart. Raises `StorageError` when a JPEG cannot be read.
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
        content = base64.b64encode(image.jpeg.read_bytes()).decode()
    except OSError as error:
        raise StorageError(f"Cannot read {image.jpeg}: {error.strerror}.") from error
    size = f'width="{image.width}" height="{image.height}"'
    return Markup(f'<image id="{mark}" {size} preserveAspectRatio="none" href="data:image/jpeg;base64,{content}"/>')


def _panel(
    title: str,
    image: SampleImage,
    boxes: Sequence[tuple[float, float | None, Sequence[float]]],
    names: Sequence[str],
    mark: str,
) -> Panel:
    counts = Counter(_name(names, int(number)) for number, _, _ in boxes)
    said = ", ".join(f"{count} × {name}" for name, count in counts.most_common(4)) or "nothing"
    letter = max(0.05 * max(image.width, image.height), 8)
    parts = [
        f'<svg class="photo" viewBox="0 0 {image.width} {image.height}" role="img" '
        f'aria-label="{escape(title)}, {escape(image.name)}: {escape(said)}"><use href="#{mark}"/>'
    ]
    drawn = [_box(image, int(number), score, box, names, letter) for number, score, box in reversed(boxes)]
    parts += [rectangle for rectangle, _ in drawn]
    if len(boxes) <= MOST_WORDS:
        parts += [words for _, words in drawn]
    return Panel(title, said, Markup("".join([*parts, "</svg>"])))


def _box(
    image: SampleImage, number: int, score: float | None, box: Sequence[float], names: Sequence[str], letter: float
) -> tuple[str, str]:
    left, top, right, bottom = (
        value * size for value, size in zip(box, (image.width, image.height) * 2, strict=True)
    )  # fmt: skip
    said = _name(names, number) + ("" if score is None else f" {score:.2f}")
    place = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1):.1f}" height="{max(bottom - top, 1):.1f}"'
    rectangle = (
        f'<g><title>{escape(said)}</title><rect class="case" {place}/>'
        f'<rect class="box b{number % BOX_COLOURS}" {place}/></g>'
    )
    base = top - letter * 0.3 if top > letter * 1.4 else top + letter * 1.1
    start = min(max(left, 2), max(image.width - 0.56 * letter * len(said), 2))
    words = f'<text class="tag" x="{start:.1f}" y="{base:.1f}" font-size="{letter:.1f}">{escape(said)}</text>'
    return rectangle, words


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else f"class {number}"
