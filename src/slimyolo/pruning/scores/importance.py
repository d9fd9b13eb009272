"""The values that a user may give as `importance`, and the scores that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.pruning.graph.channel_graph import ChannelGraph
from slimyolo.pruning.scores.data import DATA_IMPORTANCES, DataImportance
from slimyolo.pruning.scores.weights import Scores, score

__all__ = ["Importance", "ImportanceLike", "importance_name", "scores_by"]

Importance = Callable[[nn.Module, ChannelGraph], Scores]
ImportanceLike = str | Scores | Importance
"""A name of `IMPORTANCES`, scores by group id, or a function of model and graph that gives them (`DataImportance`)."""


def scores_by(importance: ImportanceLike, model: nn.Module, graph: ChannelGraph) -> Scores:
    """The scores of every group. Raises `ConfigError` for an unknown name, or one that needs data."""
    if isinstance(importance, str):
        if importance in DATA_IMPORTANCES:
            raise ConfigError(
                f"importance={importance!r} is measured on data: pass importance=DataImportance({importance!r}, batches, loss)."
            )
        return score(model, graph, importance)
    if isinstance(importance, Mapping):
        return importance
    return importance(model, graph)


def importance_name(importance: ImportanceLike) -> str:
    """The name of an importance in a plan."""
    if isinstance(importance, str):
        return importance
    return importance.kind if isinstance(importance, DataImportance) else "given"
