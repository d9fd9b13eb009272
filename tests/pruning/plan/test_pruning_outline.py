"""Table of cases: the summary of a plan, in at most a dozen rows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from slimyolo.pruning.plan.outline import block_of, outline


@dataclass(frozen=True)
class Group:
    name: str
    layers: tuple[str, ...]
    width: int
    kept: tuple[int, ...]


def group(kept: int, width: int, *layers: str) -> Group:
    return Group(layers[0], layers, width, tuple(range(kept)))


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("model.2.cv1.conv", "model.2"),
        ("model.10.m.0.cv1.bn", "model.10"),
        ("layer1.0.conv1", "layer1.0"),
        ("stem.conv", "stem"),
        ("fc", "fc"),
        ("features.3", "features.3"),
    ],
)
def test_the_block_of_a_layer(layer: str, block: str) -> None:
    assert block_of(layer) == block


def test_rows_follow_the_network_and_coupled_groups_count_in_each_row() -> None:
    groups = [
        group(8, 8, "stem.conv"),
        group(3, 6, "model.2.cv1.conv", "model.10.cv1.conv"),
        group(1, 4, "model.9.conv"),
        group(2, 2, "head.conv"),
    ]
    assert outline(groups).splitlines() == [
        "blocks    groups  channels  kept",
        "stem           1         8     8  100%",
        "model.2        1         6     3   50%",
        "model.9        1         4     1   25%",
        "model.10       1         6     3   50%",
        "head           1         2     2  100%",
    ]


@pytest.mark.parametrize("blocks", [0, 1, 12, 13, 57])
def test_many_blocks_share_rows(blocks: int) -> None:
    lines = outline([group(1, 2, f"model.{number}.conv") for number in range(blocks)]).splitlines()
    assert len(lines) - 1 == -(-blocks // (-(-blocks // 12) or 1))
    assert len(lines) - 1 <= 12
    if blocks == 57:
        assert lines[1].split() == ["model.0", "–", "model.4", "5", "10", "5", "50%"]
        assert lines[-1].startswith("model.55 – model.56")
