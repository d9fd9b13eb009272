"""Reads YAML files of other people: only as data, and within limits.

`yaml.safe_load` runs nothing, but a few lines can still use up all memory or time: aliases that unfold a thousand times
("billion laughs"), a hundred thousand brackets, numbers with a million digits. Here a file has at most 1 MiB
(`LARGEST_BYTES`), `MAX_DEPTH` levels and `MAX_VALUES` values, where an alias counts as much as the value it stands for. So the
result can be walked, copied and printed. Every problem is a `yaml.YAMLError`, with its line when the line is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from slimyolo.storage.plain_text import decode_text
from slimyolo.storage.user_files import read_user_file

__all__ = ["compose_yaml", "parse_yaml", "read_yaml", "read_yaml_text", "scalar_value"]

MAX_DEPTH = 50
MAX_VALUES = 500_000
_TEXT_PER_VALUE = 8  # characters that count as one value
_LONGEST_NUMBER = 200  # characters
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


def read_yaml(path: Path) -> Any:
    """The data in a YAML file. Raises `OSError`, `UnicodeDecodeError` and `yaml.YAMLError`."""
    return parse_yaml(read_yaml_text(path))


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file, without a byte-order mark. Raises `OSError` and `UnicodeDecodeError`."""
    return decode_text(read_user_file(path, "YAML file"))


def parse_yaml(text: str) -> Any:
    """The data in `text`. Raises `yaml.YAMLError`."""
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def compose_yaml(text: str) -> yaml.Node | None:
    """The nodes of `text`. A node knows its line. Raises `yaml.YAMLError`."""
    loader = _BoundedLoader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def scalar_value(node: yaml.ScalarNode) -> Any:
    """The number, text, truth value or None that a node of `compose_yaml` means. Raises `yaml.YAMLError`."""
    return _BoundedLoader("").construct_object(node)


class _BoundedLoader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[int] = []  # for each unfinished node, the number of its values until now
        self._sizes: dict[int, int] = {}  # of finished nodes, by id

    def get_mark(self) -> yaml.Mark:
        """The place without the lines around it: an error must not print them, as the file can be a link to another one."""
        mark = super().get_mark()
        return yaml.Mark(mark.name, mark.index, mark.line, mark.column, None, 0)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        if len(self._open) > MAX_DEPTH:
            raise ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        self._open.append(1)
        node: yaml.Node | None = super().compose_node(parent, index)
        size = self._open.pop()
        if isinstance(node, yaml.ScalarNode):
            size += len(node.value) // _TEXT_PER_VALUE
        if is_alias:
            if id(node) not in self._sizes:
                raise ComposerError(None, None, "an alias of a value that contains it", mark)
            size = self._sizes[id(node)]
        else:
            self._sizes[id(node)] = size
        if self._open:
            self._open[-1] += size
        if size > MAX_VALUES or (self._open and self._open[-1] > MAX_VALUES):
            raise ComposerError(None, None, f"with its aliases it unfolds to more than {MAX_VALUES:,} values", mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise ConstructorError(None, None, f"a number of {len(node.value):,} characters", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (
            ValueError,
            OverflowError,
            AttributeError,
            KeyError,
            TypeError,
        ) as error:  # PyYAML raises these for `!!int x`
            shown = repr(node.value[:40]) if isinstance(node, yaml.ScalarNode) else "this value"
            raise ConstructorError(None, None, f"{shown} cannot be read as {node.tag}", node.start_mark) from error
