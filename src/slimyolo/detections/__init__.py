"""Turns decoded rows into detections, and detections into metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.detections.average_precision import RankedClass, average_precision, ranked_class
    from slimyolo.detections.bootstrap.estimates import metric_differences, metric_estimates
    from slimyolo.detections.bootstrap.intervals import ClassEstimates, Estimate, MetricEstimates, interval_words
    from slimyolo.detections.confusion import ConfusionMatrix, confused_pairs, confusion_matrix
    from slimyolo.detections.image_changes import ImageChange, image_changes
    from slimyolo.detections.matching import match_detections
    from slimyolo.detections.metrics import (
        ClassMetrics,
        DetectionMetrics,
        MetricCurves,
        MetricsAccumulator,
        fitness,
        metrics_from,
    )
    from slimyolo.detections.nms import count_nonfinite_rows, greedy_suppression, nms
    from slimyolo.detections.one_to_one import one_to_one
    from slimyolo.detections.outcomes import IOU_THRESHOLDS, Outcomes
    from slimyolo.detections.rules import RULES, MetricRule, RuleName, find_rule, rule_words
    from slimyolo.detections.suppression import SUPPRESSIONS, GivesRows, Thresholds, find_detections

__all__ = [
    "IOU_THRESHOLDS",
    "RULES",
    "SUPPRESSIONS",
    "ClassEstimates",
    "ClassMetrics",
    "ConfusionMatrix",
    "DetectionMetrics",
    "Estimate",
    "GivesRows",
    "ImageChange",
    "MetricCurves",
    "MetricEstimates",
    "MetricRule",
    "MetricsAccumulator",
    "Outcomes",
    "RankedClass",
    "RuleName",
    "Thresholds",
    "average_precision",
    "confused_pairs",
    "confusion_matrix",
    "count_nonfinite_rows",
    "find_detections",
    "find_rule",
    "fitness",
    "greedy_suppression",
    "image_changes",
    "interval_words",
    "match_detections",
    "metric_differences",
    "metric_estimates",
    "metrics_from",
    "nms",
    "one_to_one",
    "ranked_class",
    "rule_words",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.detections.average_precision": "RankedClass average_precision ranked_class",
        "slimyolo.detections.bootstrap.estimates": "metric_differences metric_estimates",
        "slimyolo.detections.bootstrap.intervals": "ClassEstimates Estimate MetricEstimates interval_words",
        "slimyolo.detections.confusion": "ConfusionMatrix confused_pairs confusion_matrix",
        "slimyolo.detections.image_changes": "ImageChange image_changes",
        "slimyolo.detections.matching": "match_detections",
        "slimyolo.detections.metrics": (
            "ClassMetrics DetectionMetrics MetricCurves MetricsAccumulator fitness metrics_from"
        ),
        "slimyolo.detections.nms": "count_nonfinite_rows greedy_suppression nms",
        "slimyolo.detections.one_to_one": "one_to_one",
        "slimyolo.detections.outcomes": "IOU_THRESHOLDS Outcomes",
        "slimyolo.detections.rules": "RULES MetricRule RuleName find_rule rule_words",
        "slimyolo.detections.suppression": "SUPPRESSIONS GivesRows Thresholds find_detections",
    },
)
