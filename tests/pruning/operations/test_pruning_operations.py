"""Property: the table of operations has one row for every kind, and both rules of a kind stand in one file."""

from __future__ import annotations

from slimyolo.pruning.graph.channel_workspace import Coupling
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.operations.table import OPERATIONS
from slimyolo.tracing.kinds import Kind

ELSEWHERE = {Kind.LIKE, Kind.SPLIT}  # share a rule with another kind of their own group


def test_every_kind_has_a_row() -> None:
    assert set(OPERATIONS) == set(Kind)


def test_both_rules_of_a_kind_stand_in_one_file() -> None:
    general = {Coupling.__module__, ConstantFlow.__module__}
    for kind, operation in OPERATIONS.items():
        files = {rule.__module__ for rule in (operation.channels, operation.constants)} - general
        assert len(files) <= 1 or kind in ELSEWHERE, (kind, files)
