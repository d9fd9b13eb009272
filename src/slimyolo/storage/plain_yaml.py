"""Reading YAML of other people: as data, and within bounds.

`yaml.safe_load` runs nothing, but a few lines may still cost all the memory or time there is: aliases that unfold a
thousandfold ("billion laughs"), a hundred thousand brackets, numbers of a million digits. Here a file is read up to
`LARGEST_FILE`, is at most `MAX_DEPTH` deep and `MAX_VALUES` large with every alias counted as what it stands for, so
the result may be walked, copied and printed. Everything that is wrong is a `yaml.YAMLError`, with its line where known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

__all__ = ["compose_yaml", "parse_yaml", "read_yaml", "read_yaml_text", "scalar_value"]

LARGEST_FILE = 2**20  # bytes, five seconds of work for PyYAML; no public dataset needs a hundredth of it
MAX_DEPTH = 50
MAX_VALUES = 500_000
_TEXT_PER_VALUE = 8  # characters that count as one value
_LONGEST_NUMBER = 200  # characters
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


def read_yaml(path: Path) -> Any:
    """The data in a YAML file. Raises `OSError`, `UnicodeDecodeError` and `yaml.YAMLError`."""
    return parse_yaml(read_yaml_text(path))


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file, without a byte-order mark. Raises `yaml.YAMLError` when it is larger than any can be."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise yaml.YAMLError(f"it is larger than {LARGEST_FILE:,} bytes, which no such file needs")
    return content.decode("utf-8-sig")


def parse_yaml(text: str) -> Any:
    """The data in `text`. Raises `yaml.YAMLError`."""
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def compose_yaml(text: str) -> yaml.Node | None:
    """The nodes of `text`, which know their lines. Raises `yaml.YAMLError`."""
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
        self._open: list[int] = []  # values so far of every node that is not finished
        self._sizes: dict[int, int] = {}  # of finished nodes

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
                raise ComposerError(None, None, "an alias of something that it is itself a part of", mark)
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
        except (ValueError, OverflowError, AttributeError, KeyError, TypeError) as error:  # how PyYAML says `!!int x`
            shown = repr(node.value[:40]) if isinstance(node, yaml.ScalarNode) else "what stands there"
            raise ConstructorError(None, None, f"{shown} cannot be read as {node.tag}", node.start_mark) from error
