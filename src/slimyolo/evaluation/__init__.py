"""Computes metrics from a detector and a dataset."""

from slimyolo.evaluation.evaluate import (
    DecodingDetector,
    EvaluatedPart,
    EvaluationBatch,
    EvaluationResult,
    EvaluationSettings,
    LossValue,
    evaluate_detector,
)
from slimyolo.evaluation.numbers import NUMBER_KINDS, NumberKind
from slimyolo.evaluation.stage_clock import StageSpeed

__all__ = [
    "NUMBER_KINDS",
    "DecodingDetector",
    "EvaluatedPart",
    "EvaluationBatch",
    "EvaluationResult",
    "EvaluationSettings",
    "LossValue",
    "NumberKind",
    "StageSpeed",
    "evaluate_detector",
]
