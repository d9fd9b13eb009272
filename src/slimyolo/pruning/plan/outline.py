"""A plan in about a dozen rows: for each part of the network, how many channels of its groups stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

__all__ = ["OutlinedGroup", "block_of", "outline"]

MOST_ROWS = 12


class OutlinedGroup(Protocol):
    """What an outline reads of a group of a plan: its name, its layers, its channels before and after."""

    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def width(self) -> int: ...
    @property
    def kept(self) -> tuple[int, ...]: ...


def outline(groups: Sequence[OutlinedGroup], most: int = MOST_ROWS) -> str:
    """A table of at most `most` rows: blocks, groups of channels, channels before and kept, share kept.

    A group that spans several rows counts in each of them. Neighbouring blocks share a row when there are more blocks than
    rows.
    """
    blocks = _in_order(dict.fromkeys(block for group in groups for block in _blocks(group)))
    each = -(-len(blocks) // most) or 1
    rows = [("blocks", "groups", "channels", "kept", "")]
    for start in range(0, len(blocks), each):
        part = blocks[start : start + each]
        found = [group for group in groups if not set(part).isdisjoint(_blocks(group))]
        width, kept = sum(group.width for group in found), sum(len(group.kept) for group in found)
        name = part[0] if len(part) == 1 else f"{part[0]} – {part[-1]}"
        rows.append((name, str(len(found)), str(width), str(kept), f"{kept / max(width, 1):.0%}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def block_of(layer: str) -> str:
    """The block of a layer: its name up to the first number (``model.2`` of ``model.2.cv1.conv``), or its first word."""
    parts = layer.split(".")
    end = next((place for place, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[: end + 1])


def _blocks(group: OutlinedGroup) -> list[str]:
    return [block_of(layer) for layer in group.layers or (group.name,)]


def _in_order(blocks: Iterable[str]) -> list[str]:
    """Parts of the network in the order in which they first appear; the numbered blocks of a part by their numbers."""
    found = [(block, *_part_and_number(block)) for block in blocks]
    parts = list(dict.fromkeys(part for _, part, _ in found))
    return [block for block, _, _ in sorted(found, key=lambda one: (parts.index(one[1]), one[2]))]


def _part_and_number(block: str) -> tuple[str, int]:
    part, _, last = block.rpartition(".")
    return (part, int(last)) if last.isdigit() else (block, 0)
