"""Computes metrics from a detector and a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
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
    from slimyolo.evaluation.outcome_files import (
        OUTCOMES_FILE,
        StoredOutcomes,
        folder_differences,
        outcomes_in_dataset,
        read_outcomes,
        write_outcomes,
    )
    from slimyolo.evaluation.stage_clock import StageSpeed

__all__ = [
    "NUMBER_KINDS",
    "OUTCOMES_FILE",
    "DecodingDetector",
    "EvaluatedPart",
    "EvaluationBatch",
    "EvaluationResult",
    "EvaluationSettings",
    "LossValue",
    "NumberKind",
    "StageSpeed",
    "StoredOutcomes",
    "evaluate_detector",
    "folder_differences",
    "outcomes_in_dataset",
    "read_outcomes",
    "write_outcomes",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.evaluation.evaluate": (
            "DecodingDetector EvaluatedPart EvaluationBatch EvaluationResult EvaluationSettings LossValue "
            "evaluate_detector"
        ),
        "slimyolo.evaluation.numbers": "NUMBER_KINDS NumberKind",
        "slimyolo.evaluation.outcome_files": (
            "OUTCOMES_FILE StoredOutcomes folder_differences outcomes_in_dataset read_outcomes write_outcomes"
        ),
        "slimyolo.evaluation.stage_clock": "StageSpeed",
    },
)
