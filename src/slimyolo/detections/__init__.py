"""From decoded rows to detections, and from detections to metrics."""

from slimyolo.detections.average_precision import RankedClass, average_precision, ranked_class
from slimyolo.detections.confusion import ConfusionMatrix, confused_pairs, confusion_matrix
from slimyolo.detections.matching import IOU_THRESHOLDS, MatchingRule, match_detections
from slimyolo.detections.metrics import (
    ClassMetrics,
    DetectionMetrics,
    MetricCurves,
    MetricsAccumulator,
    fitness,
)
from slimyolo.detections.nms import count_nonfinite_rows, greedy_suppression, nms

__all__ = [
    "IOU_THRESHOLDS",
    "ClassMetrics",
    "ConfusionMatrix",
    "DetectionMetrics",
    "MatchingRule",
    "MetricCurves",
    "MetricsAccumulator",
    "RankedClass",
    "average_precision",
    "confused_pairs",
    "confusion_matrix",
    "count_nonfinite_rows",
    "fitness",
    "greedy_suppression",
    "match_detections",
    "nms",
    "ranked_class",
]
