"""What a conversion did, as a record: how many pictures and boxes there are now, what was changed, what was left out and why."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimyolo.data.convert.formats.table import FORMATS
from slimyolo.data.convert.source import FormatName, Note
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted, one_shown_line

__all__ = ["ConversionReport", "ConvertedSplit"]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ConvertedSplit:
    """The numbers of one split. `class_boxes` has the number of boxes of each class."""

    name: str
    images: int
    boxes: int
    backgrounds: int
    unlabelled: int
    class_boxes: Mapping[str, int]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What `convert_dataset` did.

    | field | meaning |
    |---|---|
    | `data` | the dataset YAML that was written |
    | `divided` | how the pictures were divided into splits, as a sentence |
    | `placed` | how the pictures came into the folder: ``linked``, ``copied``, ``symbolic links`` → how many |
    | `changed` | what was changed → how many: boxes clipped, outlines turned into boxes … |
    | `left_out` | every single thing of the source that is not in the new dataset |
    | `renamed` | pictures whose name would not have been unique: path in the new folder → path in the source |
    | `remarks` | sentences about what a person should look at |
    """

    source: Path
    format: FormatName
    folder: Path
    data: Path
    names: tuple[str, ...]
    splits: tuple[ConvertedSplit, ...]
    divided: str
    placed: Mapping[str, int]
    changed: Mapping[str, int]
    left_out: tuple[Note, ...]
    renamed: Mapping[str, str]
    remarks: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many things were left out for each reason, the most frequent first."""
        return dict(Counter(note.kind for note in self.left_out).most_common())

    @property
    def obstacle(self) -> str:
        """Why a training with the new dataset would not start, or an empty text."""
        boxes = {split.name: split.boxes for split in self.splits}
        if "train" not in boxes:
            return "there is no split train"
        if "val" not in boxes:
            return "there is no split val. Convert again with --split 0.8/0.2"
        return "" if boxes["train"] else "the split train has no box"

    def lines(self, limit: int = 3) -> tuple[str, ...]:
        """The report as lines to print, with at most `limit` examples of each reason (0: all)."""
        classes = counted(len(self.names), "class", "classes")
        lines = [
            f"{one_shown_line(str(self.source))}: {FORMATS[self.format].title}, {classes} ({_first(self.names)})",
            self.divided,
        ]
        for split in self.splits:
            empty = f"{split.backgrounds} without objects" + (
                f" ({split.unlabelled} of them without labels)" if split.unlabelled else ""
            )
            lines.append(
                f"  {split.name}: {counted(split.images, 'image')}, {counted(split.boxes, 'box', 'boxes')}; {empty}"
            )
        placed = ", ".join(f"{count} {how}" for how, count in self.placed.items())
        lines.append(f"Pictures: {placed}. The source was not changed.")
        if self.renamed:
            lines.append(f"Pictures with a new name, because theirs was not unique: {len(self.renamed)}.")
        if self.changed:
            lines += ["", "Changed:", *(f"  {what}: {count}" for what, count in self.changed.items())]
        if self.left_out:
            lines += ["", "Left out:", *self._left_out(limit)]
        lines += ["", *self.remarks] if self.remarks else []
        obstacle = self.obstacle
        verdict = f"A training would not start: {obstacle}." if obstacle else "A training would start."
        data = shlex.quote(str(self.data))
        return (*lines, "", f"Written: {self.data}. {verdict}", f"Next: slimyolo data check {data}")

    def _left_out(self, limit: int) -> list[str]:
        lines = []
        for kind, count in self.counts.items():
            notes = [note for note in self.left_out if note.kind == kind]
            shown = notes if limit == 0 else notes[:limit]
            lines += [f"  {kind}: {count}", *(f"    {one_shown_line(str(note))}" for note in shown)]
            if len(shown) < count:
                lines.append(f"    … and {count - len(shown)} more")
        return lines


def _first(names: Sequence[str]) -> str:
    return one_shown_line(", ".join(names[:8])) + (", …" if len(names) > 8 else "")
