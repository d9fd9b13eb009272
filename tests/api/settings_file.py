"""Writes ``src/slimyolo/api/settings.py``, the types of the settings, from the configurations of the commands.

After a setting was added or changed: ``python tests/api/settings_file.py``.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimyolo.cli.commands import COMMANDS
from slimyolo.tasks.common.config import Config, option_facts
from slimyolo.tasks.train.config import SparsifyConfig, TrainConfig

FILE = Path(__file__).parents[2] / "src" / "slimyolo" / "api" / "settings.py"
WITHOUT_FUNCTION = ("plan show", "plan diff", "completion")
NOT_BY_KEYWORD = {"val": ("verbose",)}
"""A parameter of the function itself."""
WRITTEN: dict[str, str] = {
    "parse_share": "Share",
    "parse_amount": "float | str",
    "parse_latency": "Share",
    "parse_device": "str | int",
    "parse_image_size": "Size",
    "parse_square_size": "Size",
    "parse_side_or_rectangle": "Size",
    "parse_classes": "int | str | Sequence[int | str]",
    "parse_layers": "int | Sequence[int]",
    "parse_formats": "str | Sequence[str] | None",
    "parse_terms": "str | Sequence[str]",
    "<lambda>": "bool | str | Sequence[str] | None",
    "parse_pattern_shares": "Pairs",
    "parse_resume": "bool | PathText | None",
    "check_cache": "bool | Literal['ram'] | None",
    "_check_duration": "str | None",
    "check_address": "str",
    "_shares": "float | Sequence[float]",
}
"""The function that reads a value of a setting → the type of what it takes."""
HEAD = '''"""The types of the settings of each command, for editors and type checkers.

This file is written by ``python tests/api/settings_file.py`` from the configurations of the commands; a test compares them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

PathText: TypeAlias = "str | os.PathLike[str]"
PathTexts: TypeAlias = "PathText | Sequence[PathText]"
Share: TypeAlias = "float | str"
"""A share, 0.4 or ``"40%"``, or with a unit, ``"8ms"``."""
Size: TypeAlias = "int | Sequence[int]"
"""One number, or height and width, in pixels."""
Pairs: TypeAlias = "Mapping[str, object] | Sequence[str]"
"""``{"lr0": 0.01}``, or ``["lr0=0.01"]``."""
'''


def settings_file() -> str:
    """The text of the file."""
    parts = [HEAD]
    for command in COMMANDS:
        if command.name in WITHOUT_FUNCTION or command.name == "inspect":
            continue
        kind = command.settings
        base = TrainConfig if kind is SparsifyConfig else None  # the others change the type of a setting
        known = set(base.model_fields) if base is not None else set()
        parent = f"{_name(base)}, total=False" if base is not None else "TypedDict, total=False"
        lines = [f"\n\nclass {_name(kind)}({parent}):", f'    """Settings of ``slimyolo {command.name}``."""\n']
        lines += [
            f"    {name}: {_type(name, kind)}"
            for name, field in kind.model_fields.items()
            if name not in known
            and not option_facts(field).positional
            and name not in NOT_BY_KEYWORD.get(command.name, ())
        ]
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _name(kind: type[Config]) -> str:
    return kind.__name__.removesuffix("Config") + "Settings"


def _type(name: str, kind: type[Config]) -> str:
    """The type of what the setting takes from Python; a setting whose option may stand alone also takes True."""
    field = kind.model_fields[name]
    hint = typing.get_type_hints(kind, include_extras=True)[name]
    text = _taken(hint)
    if option_facts(field).bare is not None and "bool" not in text:
        text = f"bool | {text}"
    return "Pairs" if name == "hyp_set" else text


def _taken(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        for one in inner[1:]:
            reader = getattr(getattr(one, "func", None), "__name__", "")
            if reader in WRITTEN:
                return WRITTEN[reader]
        return _taken(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(part for one in inner for part in _taken(one).split(" | ")))
    if origin is tuple:
        one = _taken(inner[0])
        return "PathTexts" if one == "PathText" else f"{one} | Sequence[{one}]"
    if origin is typing.Literal:
        return f"Literal[{', '.join(repr(word) for word in inner)}]"
    return {Path: "PathText", type(None): "None"}.get(hint) or hint.__name__


def written(paths: Sequence[Path] = (FILE,)) -> None:
    """Write the file, formatted."""
    import subprocess

    for path in paths:
        path.write_text(settings_file(), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(path)], check=True)


if __name__ == "__main__":
    written()
