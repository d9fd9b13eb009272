"""Parameters and MACs of a module, with a list of what could not be counted."""

from __future__ import annotations

from slimyolo.costs.counting import LayerCost, ModelCost, model_cost

__all__ = ["LayerCost", "ModelCost", "model_cost"]
