"""Validates the detector after each epoch of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from slimyolo.data import Batch, EvalBatches
from slimyolo.detections import fitness
from slimyolo.evaluation import EvaluationResult
from slimyolo.models import Detector, DetectorLoss
from slimyolo.tasks.common.distributed import share_of_batch
from slimyolo.tasks.common.measuring import Look, Measuring, evaluation_batches, measure_batches
from slimyolo.tasks.train.assemble.assemble import TrainingParts, loss_of
from slimyolo.tasks.train.class_accuracy import ClassAccuracy
from slimyolo.training import Validate

__all__ = ["measured", "validation_batches", "validation_of"]


def validation_batches(parts: TrainingParts) -> EvalBatches:
    """This process's share of the validation images, in batches. The caller closes them."""
    return evaluation_batches(parts.val_split, _how(parts), parts.stride, parts.team)


def measured(
    parts: TrainingParts,
    detector: Detector,
    batches: Iterable[Batch],
    *,
    loss: DetectorLoss | None = None,
    look: Look | None = None,
) -> EvaluationResult:
    """Measure `detector` on the validation images. Every process calls this with its `batches` and gets the total result."""
    return measure_batches(detector, batches, _how(parts), device=parts.device, loss=loss, look=look, team=parts.team)


def validation_of(parts: TrainingParts, batches: EvalBatches, classes: ClassAccuracy) -> Validate:
    """The validation that `fit` calls: (fitness, columns of ``results.csv``). Also stores the accuracy in `classes`."""
    loss = loss_of(parts)

    def validate(module: nn.Module, epoch: int) -> tuple[float, Mapping[str, float]]:
        assert isinstance(module, Detector)  # fit hands back what it was given
        result = measured(parts, module, batches, loss=loss)
        metrics = result.metrics
        classes.note_(metrics)
        columns = {
            "metrics/precision": metrics.precision,
            "metrics/recall": metrics.recall,
            "metrics/mAP_0.5": metrics.map50,
            "metrics/mAP_0.5:0.95": metrics.map50_95,
        }
        columns |= {f"val/{name}_loss": value for name, value in (result.loss or {}).items()}
        return parts.team.told((fitness(metrics), columns))

    return validate


def _how(parts: TrainingParts) -> Measuring:
    """The thresholds of the family, and batches twice as large as those of training, because no gradients are kept."""
    config = parts.config
    return Measuring(
        imgsz=config.imgsz,
        batch_size=2 * share_of_batch(config.batch_size, parts.team.world),
        single_class=config.single_cls,
        workers=min(config.workers, 1),
        cache=config.cache,
    ).for_model(parts.model)
