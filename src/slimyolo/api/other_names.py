"""What to type for a name that ``slimyolo`` does not have, and other packages do."""

from __future__ import annotations

from collections.abc import Sequence

from slimyolo.errors import nearest_name_hint
from slimyolo.tasks.spellings import COMMAND_WORDS

__all__ = ["name_hint"]

YOLO = (
    " A model is no object with methods here: slimyolo.load('best.pt') gives the network, slimyolo.predict('best.pt', "
    "'photo.jpg') detects, and slimyolo.train(data='data.yaml', cfg='yolov5n'), val, export and the others take their "
    "settings by keyword."
)


def name_hint(name: str, known: Sequence[str]) -> str:
    """A sentence for ``slimyolo.NAME``, or an empty text; `known` are the names that exist."""
    if name == "YOLO":
        return YOLO
    command = COMMAND_WORDS.get(name, "").partition(" --")[0].replace(" ", "_")
    return f" Did you mean {command!r}?" if command in known else nearest_name_hint(name, known)
