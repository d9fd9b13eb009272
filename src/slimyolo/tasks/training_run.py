"""One training run, whatever it is for: data in, loop, checkpoints, record out."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from slimyolo.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from slimyolo.data import (
    Augmentation,
    DatasetSpec,
    EvalBatches,
    SplitData,
    TrainBatches,
    class_balance_weights,
    image_weights_of_classes,
    read_dataset_yaml,
)
from slimyolo.detections import DetectionMetrics, fitness
from slimyolo.errors import ConfigError, TrainingError
from slimyolo.evaluation import EvaluationResult, evaluate_detector
from slimyolo.losses import DetectionLoss, scaled_gains
from slimyolo.models import Detector
from slimyolo.sparsity import NoSparsity, Sparsity
from slimyolo.storage import create_run_folder, remove_leftovers, write_json, write_text
from slimyolo.tasks.configs import TrainConfig
from slimyolo.tasks.configs.hyperparameters import HyperParameters
from slimyolo.tasks.devices import pick_precision
from slimyolo.tasks.distilling import objective_of, train_beside_
from slimyolo.tasks.preparing import check_image_size, fit_anchors_, freeze_, read_splits, seed_everything
from slimyolo.tasks.processes import joined_team, loader_processes, share_of_batch
from slimyolo.tasks.provenance import data_provenance, run_provenance
from slimyolo.tasks.records import SizeRecord, TrainRecord
from slimyolo.tasks.resume import write_options
from slimyolo.tasks.sizes import size_of
from slimyolo.tasks.starting import starting_detector
from slimyolo.training import (
    Alone,
    CheckpointObserver,
    CsvObserver,
    EarlyStopping,
    Ema,
    EpochReport,
    FitResult,
    MultiScale,
    NoResizing,
    Observer,
    Recipe,
    RichProgressObserver,
    Snapshot,
    Team,
    TensorBoardObserver,
    Validate,
    build_optimizer,
    fit,
    scaled_weight_decay,
    share_batchnorms_,
)

__all__ = ["SparsityMaker", "run_training"]

log = logging.getLogger("slimyolo")

SparsityMaker = Callable[[Detector, nn.Module], Sparsity]
"""(model, averaged copy) → the sparsity object of the run."""

CONF, IOU, MAX_DET = 0.001, 0.6, 300  # validation as the reference


def run_training(
    config: TrainConfig, make_sparsity: SparsityMaker | None = None, *, step_every_batch: bool = False
) -> TrainRecord:
    """Train as `config` says and return the record, which is also ``record.json`` in the run folder.

    Everything that can be refused is refused before the run folder is made. The folder then holds ``opt.yaml``,
    ``hyp.yaml``, ``results.csv``, ``weights/last.pt`` (with the state to resume from, until the run has ended) and
    ``weights/best.pt`` (the averaged weights of the best epoch), and TensorBoard events where tensorboard is installed.

    `step_every_batch`: no accumulation and no clipping, as the reference's sparse training.
    """
    with joined_team(config.device) as (team, device):
        return _train(config, make_sparsity, step_every_batch, team, device)


def _train(
    config: TrainConfig, make_sparsity: SparsityMaker | None, step_every_batch: bool, team: Team, device: torch.device
) -> TrainRecord:
    started = time.perf_counter()
    if config.sync_bn and team.world == 1:
        raise ConfigError(
            "--sync-bn synchronises several processes, but this is one. Leave it out, or start several: "
            "torchrun --nproc_per_node 2 -m slimyolo train …"
        )
    share_of_batch(config.batch_size, team.world)
    precision = pick_precision(config.precision, device)
    dataset = read_dataset_yaml(config.data)
    train_split, val_split = read_splits(dataset, config)
    seed_everything(config.seed)
    resumed = _resumable(config)
    names = ("item",) if config.single_cls and dataset.nc > 1 else dataset.names
    model = resumed.detector(prefer_ema=False).train() if resumed is not None else starting_detector(config, names)
    hyp = config.hyperparameters
    stride = int(model.stride.max())
    check_image_size(config.imgsz, stride)
    if resumed is None and not config.noautoanchor:
        fit_anchors_(model, train_split, config, hyp)
    freeze_(model, config.freeze)
    team.align_(model)
    folder = team.told(_run_folder(config) if team.rank == 0 else Path())
    run = _Run(config, team, model, hyp, train_split, val_split, dataset, device, folder, step_every_batch)
    if resumed is not None and resumed.training is not None:
        run.class_map = class_map_of(resumed.training)
    log.info("run folder: %s", folder)
    if config.sync_bn:
        share_batchnorms_(model)
    ema = Ema(model, start=resumed.detector() if resumed is not None and resumed.ema is not None else None)
    team.align_(ema.module)
    sparsity = make_sparsity(model, ema.module) if make_sparsity is not None else NoSparsity()
    objective, beside = objective_of(config, model, run.loss(team.sum), device)
    team.align_(beside)
    optimizer = build_optimizer(
        model, config.optimizer, lr0=hyp.lr0, momentum=hyp.momentum,
        weight_decay=scaled_weight_decay(hyp.weight_decay, config.batch_size, config.nominal_batch),
    )  # fmt: skip
    train_beside_(optimizer, beside)
    with closing(run.train_batches()) as batches, closing(run.eval_batches()) as eval_batches:
        result = fit(
            model, batches, objective, optimizer, run.schedule(), epochs=config.epochs, device=device,
            precision=precision, sparsity=sparsity, ema=ema, clip=None if step_every_batch else 10.0, observers=run.observers(),
            validate=None if config.noval else run.validation(eval_batches), stopper=EarlyStopping(config.patience),
            resume_state=resumed.training if resumed is not None else None,
            resize=MultiScale(stride, seed=config.seed) if config.multi_scale else NoResizing(), team=team,
            beside=beside,
        )  # fmt: skip
        return run.finish(result, eval_batches, started)


@dataclass
class _Run:
    """What the parts of one run share. `class_map`: mAP50-95 of each class, for --image-weights."""

    config: TrainConfig
    team: Team
    model: Detector
    hyp: HyperParameters
    train_split: SplitData
    val_split: SplitData
    dataset: DatasetSpec
    device: torch.device
    folder: Path
    step_every_batch: bool
    class_map: npt.NDArray[np.float64] | None = None
    images: int = 0
    train_seconds: float = 0.0

    def train_batches(self) -> TrainBatches:
        config = self.config
        fields = Augmentation.__dataclass_fields__
        augmentation = Augmentation(**{name: value for name, value in self.hyp.to_plain().items() if name in fields})
        return TrainBatches(
            self.train_split, config.imgsz, share_of_batch(config.batch_size, self.team.world), augmentation,
            seed=config.seed, workers=loader_processes(config.workers), cache=config.cache, rect=config.rect,
            close_mosaic=config.close_mosaic, epochs=config.epochs, stride=int(self.model.stride.max()),
            image_weights=self._image_weights if config.image_weights else None,
            rank=self.team.rank, world=self.team.world,
        )  # fmt: skip

    def eval_batches(self) -> EvalBatches:
        config = self.config
        return EvalBatches(
            self.val_split, config.imgsz, 2 * share_of_batch(config.batch_size, self.team.world),
            stride=int(self.model.stride.max()), workers=min(config.workers, 1), cache=config.cache,
            rank=self.team.rank, world=self.team.world,
        )  # fmt: skip

    def loss(self, total: Callable[[torch.Tensor], torch.Tensor] = Alone().sum) -> DetectionLoss:
        """`total` adds up over the processes where all of them call the loss together: in training."""
        model, hyp = self.model, self.hyp
        gains = scaled_gains(hyp.to_plain(), len(model.stride), model.nc, self.config.imgsz)
        return DetectionLoss(
            model.anchors, model.stride, model.nc, **gains, cls_pw=hyp.cls_pw, obj_pw=hyp.obj_pw, anchor_t=hyp.anchor_t,
            fl_gamma=hyp.fl_gamma, label_smoothing=self.config.label_smoothing, total=total,
        )  # fmt: skip

    def schedule(self) -> Recipe:
        hyp = self.hyp
        return Recipe(
            self.config.batch_size, hyp.lr0, hyp.lrf, hyp.momentum, hyp.warmup_epochs, hyp.warmup_momentum,
            hyp.warmup_bias_lr, cosine=self.config.cos_lr,
            nominal_batch=self.config.batch_size if self.step_every_batch else self.config.nominal_batch,
        )  # fmt: skip

    def observers(self) -> list[Observer]:
        """Those that write and show: in process 0 alone."""
        if self.team.rank:
            return []
        observers: list[Observer] = [CsvObserver(self.folder / "results.csv"), RichProgressObserver()]
        try:
            observers.append(TensorBoardObserver(self.folder))
        except TrainingError:
            log.info("TensorBoard events are not written (pip install 'slimyolo[tensorboard]'); results.csv is")
        return [*observers, CheckpointObserver(self._save, self._begin)]

    def validation(self, batches: EvalBatches) -> Validate:
        loss = self.loss()

        def validate(module: nn.Module, epoch: int) -> tuple[float, Mapping[str, float]]:
            assert isinstance(module, Detector)  # fit hands back what it was given
            result = self.measured(module, batches, loss)
            metrics = result.metrics
            self.class_map = np.nan_to_num(np.asarray([one.map50_95 for one in metrics.per_class]))
            columns = {
                "metrics/precision": metrics.precision, "metrics/recall": metrics.recall,
                "metrics/mAP_0.5": metrics.map50, "metrics/mAP_0.5:0.95": metrics.map50_95,
            }  # fmt: skip
            columns |= {f"val/{name}_loss": value for name, value in (result.loss or {}).items()}
            return self.team.told((fitness(metrics), columns))

        return validate

    def measured(self, detector: Detector, batches: EvalBatches, loss: DetectionLoss | None = None) -> EvaluationResult:
        """The detector on all validation images, each process on its share of them."""
        return evaluate_detector(
            detector.fused(), batches, conf=CONF, iou=IOU, max_det=MAX_DET, device=self.device, loss=loss,
            single_class=self.config.single_cls, shard=(self.team.rank, self.team.world), gather=self.team.gather,
        )  # fmt: skip

    def finish(self, result: FitResult, batches: EvalBatches, started: float) -> TrainRecord:
        """Measure ``best.pt``, write the record, strip ``last.pt``: in this order, so that a kill leaves what to resume."""
        best, last = (self.folder / "weights" / name for name in ("best.pt", "last.pt"))
        first = self.team.rank == 0
        if first and not best.exists():  # nothing was validated, or a sparse run ended before its share was reached
            checkpoint = load_checkpoint(last)
            save_checkpoint(best, checkpoint.detector(), provenance=checkpoint.provenance)
        detector = (load_checkpoint(best).detector() if first else copy.deepcopy(self.model)).to(self.device)
        self.team.align_(detector)
        metrics = self.measured(detector, batches).metrics.without_arrays()
        if not first:
            return self.team.told(cast(TrainRecord, None))
        record = TrainRecord(
            command=self.config.command, folder=str(self.folder), best=str(best), last=str(last),
            epochs_done=result.epochs_done, best_epoch=result.best_epoch, stopped_early=result.stopped_early,
            metrics=metrics, size=size_of(detector, self.config.imgsz), zero_share=result.sparsity.share,
            seconds=time.perf_counter() - started, images_per_second=self.images / max(self.train_seconds, 1e-9),
            provenance=self._provenance(),
        )  # fmt: skip
        write_json(self.folder / "record.json", record)
        checkpoint = load_checkpoint(last)
        save_checkpoint(last, checkpoint.detector(), provenance=checkpoint.provenance)
        _say_result(record)
        return self.team.told(record)

    def _save(self, report: EpochReport) -> None:
        self.images += report.images
        self.train_seconds += report.train_seconds
        is_end = report.epoch + 1 == report.progress.epochs
        if self.config.nosave and not is_end:
            return
        averaged, weights = report.averaged, self.folder / "weights"
        assert isinstance(averaged, Detector)  # fit hands back what it was given
        about = {**self._provenance(), "epoch": report.epoch, "metrics": dict(report.metrics)}
        if report.is_best:
            save_checkpoint(weights / "best.pt", averaged, provenance=about)
        self._save_state(Snapshot(report.model, averaged, report.training_state), about)
        period = self.config.save_period
        if period > 0 and (report.epoch + 1) % period == 0:
            save_checkpoint(weights / f"epoch{report.epoch}.pt", averaged, provenance=about)

    def _begin(self, snapshot: Snapshot) -> None:
        if not self.config.nosave:
            self._save_state(snapshot, {**self._provenance(), "epoch": -1})

    def _save_state(self, snapshot: Snapshot, about: Mapping[str, Any]) -> None:
        """``last.pt``, from which the run goes on: the loop's state, and the class mAP that --image-weights follows."""
        assert isinstance(snapshot.model, Detector)  # fit hands back what it was given
        state = {**snapshot.training_state(), "class_map": self.class_map}
        path = self.folder / "weights" / "last.pt"
        save_checkpoint(path, snapshot.model, ema=snapshot.averaged, training=state, provenance=about)

    def _provenance(self) -> dict[str, Any]:
        return {
            **run_provenance(self.config),
            "data": data_provenance(self.dataset, {"train": self.train_split, "val": self.val_split}),
        }

    def _image_weights(self, epoch: int) -> npt.ArrayLike:
        known = self.class_map if self.class_map is not None else np.zeros(self.train_split.nc)
        class_weights = class_balance_weights(self.train_split) * (1 - known) ** 2
        return image_weights_of_classes(self.train_split, class_weights)


def class_map_of(training: Mapping[str, Any]) -> npt.NDArray[np.float64] | None:
    """mAP50-95 of each class at the last validation before a run was stopped; None when there was none."""
    kept = training.get("class_map")  # runs of slimyolo 0.1 did not keep it
    return None if kept is None else np.asarray(kept, np.float64)


def _resumable(config: TrainConfig) -> Checkpoint | None:
    if config.resume is None:
        return None
    checkpoint = load_checkpoint(config.resume)
    if checkpoint.training is None:
        raise TrainingError(
            f"{config.resume} holds no state to resume from: the run has ended (or the file was stripped). "
            f"Start a new run from it with --weights {config.resume}."
        )
    return checkpoint


def _run_folder(config: TrainConfig) -> Path:
    if config.resume is not None:
        weights = Path(config.resume).resolve().parent
        remove_leftovers(weights)
        return weights.parent
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    write_options(folder, config)
    lines = [f"{name}: {value}" for name, value in config.hyperparameters.to_plain().items() if value is not None]
    write_text(folder / "hyp.yaml", "\n".join(lines) + "\n")
    return folder


def _say_result(record: TrainRecord) -> None:
    metrics: DetectionMetrics = record.metrics
    size: SizeRecord = record.size
    log.info(
        "best: P %.3f  R %.3f  mAP50 %.3f  mAP50-95 %.3f  |  %.2f M parameters, %.2f GFLOPs at %d  |  %.0f images/s  |  %s",
        metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, size.params / 1e6, size.gflops, size.imgsz,
        record.images_per_second, record.best,
    )  # fmt: skip
