"""Sentences about datasets that can be read, but from which a training learns less than its metrics or its names promise."""

from __future__ import annotations

from collections.abc import Sequence

from slimyolo.shown_text import counted

__all__ = ["empty_classes_words", "few_images_words", "shared_images_words", "wrong_classes_words"]

FEW = 10
_NAMED = 8  # so many classes are named


def empty_classes_words(split: str, names: Sequence[str], boxes: Sequence[int]) -> str:
    """A sentence that names the classes without a box in `split`, from the number of `boxes` of each class; else empty."""
    empty = [name for name, count in zip(names, boxes, strict=True) if not count]
    if not empty or len(empty) == len(names):  # a split without any box is told elsewhere
        return ""
    shown = ", ".join(empty[:_NAMED]) + (f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else "")
    return (
        f"{split}: no box of {len(empty)} of the {len(names)} classes ({shown}). A detector does not learn what it is never "
        "shown: add such pictures and boxes, or take the names out of the dataset file."
    )


def few_images_words(split: str, images: int) -> str:
    """A sentence when `split` has so few `images` that numbers mean nothing; else empty."""
    if images >= FEW:
        return ""
    if split == "train":
        meaning = "A detector that sees so few pictures learns them by heart. Hundreds of each class are usual."
    else:
        meaning = (
            "Precision, recall and mAP of so few pictures mean nothing: other pictures give other numbers, and a training picks "
            "best.pt by chance. A hundred or more are usual."
        )
    return f"{split}: {counted(images, 'image')}. {meaning}"


def shared_images_words(shared: int, val: int) -> str:
    """A sentence that `shared` of the `val` validation images are training images, too; empty when there are none."""
    if not shared:
        return ""
    return (
        f"{shared} of the {val} val images are train images, too. The metrics will look better than the detector is on new "
        "pictures. Give val pictures of its own: slimyolo data convert … --split 0.8/0.2 divides a dataset."
    )


def wrong_classes_words(split: str, dropped: int, boxes: int, data: object, where: bool = True) -> str:
    """The warning that `dropped` label rows of `split` were skipped because of their class numbers; `boxes` are in use.

    With `where` it names the command that lists these rows.
    """
    have = "has" if dropped == 1 else "have"
    return (
        f"{split}: {dropped} of {dropped + boxes} labels ({dropped / (dropped + boxes):.0%}) {have} a class number that "
        f"`names:` of {data} does not hold. They were dropped, so the detector learns that these objects are background. "
        f"Add the missing names, or correct the labels{f': slimyolo data check {data}' if where else '.'}"
    )
