"""One training run, whatever it is for: data in, loop, checkpoints, record out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    read_split,
)
from slimyolo.detections import DetectionMetrics, fitness
from slimyolo.errors import ConfigError, TrainingError
from slimyolo.evaluation import evaluate_detector
from slimyolo.inference.picture_grid import jpeg_bytes
from slimyolo.losses import DetectionLoss, Supervised, boxes_at_size, choose_anchors, scaled_gains
from slimyolo.models import Detector
from slimyolo.reports.plot_files import write_plots
from slimyolo.sparsity import NoSparsity, Sparsity
from slimyolo.storage import create_run_folder, write_bytes, write_json, write_text
from slimyolo.tasks.configs import TrainConfig
from slimyolo.tasks.configs.hyperparameters import HyperParameters
from slimyolo.tasks.devices import pick_device, pick_precision
from slimyolo.tasks.evidence import ValidationPictures, train_picture, write_evidence, write_labels
from slimyolo.tasks.provenance import data_provenance, run_provenance
from slimyolo.tasks.records import SizeRecord, TrainRecord
from slimyolo.tasks.resume import write_options
from slimyolo.tasks.sizes import size_of
from slimyolo.tasks.starting import starting_detector
from slimyolo.training import (
    CheckpointObserver,
    CsvObserver,
    EarlyStopping,
    Ema,
    EpochReport,
    FirstBatchesObserver,
    FitResult,
    GammaObserver,
    MultiScale,
    NoResizing,
    Observer,
    Recipe,
    RichProgressObserver,
    TensorBoardObserver,
    TrainBatch,
    Validate,
    build_optimizer,
    fit,
    scaled_weight_decay,
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
    ``weights/best.pt`` (the averaged weights of the best epoch), what its report is made from (``labels.json``,
    ``gammas.json`` of a sparse run, ``curves.json``), and TensorBoard events where tensorboard is installed. Without
    ``noplots`` also pictures: a sample of the validation images, and the plots that the reference writes.

    `step_every_batch`: no accumulation and no clipping, as the reference's sparse training.
    """
    if config.sync_bn:
        raise ConfigError("--sync-bn synchronises several processes; this version trains in one. Leave it out.")
    started = time.perf_counter()
    device = pick_device(config.device)
    precision = pick_precision(config.precision, device)
    dataset = read_dataset_yaml(config.data)
    train_split, val_split = _read_splits(dataset, config)
    _seed_everything(config.seed)
    resumed = _resumable(config)
    names = ("item",) if config.single_cls and dataset.nc > 1 else dataset.names
    model = resumed.detector(prefer_ema=False).train() if resumed is not None else starting_detector(config, names)
    hyp = config.hyperparameters
    stride = int(model.stride.max())
    if config.imgsz % stride:
        raise ConfigError(
            f"--imgsz {config.imgsz} is not a multiple of {stride}, the model's largest stride. "
            f"Use {max(stride, round(config.imgsz / stride) * stride)}."
        )
    if resumed is None and not config.noautoanchor:
        _fit_anchors_(model, train_split, config, hyp)
    _freeze_(model, config.freeze)
    folder = _run_folder(config)
    run = _Run(config, model, hyp, train_split, val_split, dataset, device, folder, step_every_batch)
    log.info("run folder: %s", folder)
    ema = Ema(model, start=resumed.detector() if resumed is not None and resumed.ema is not None else None)
    sparsity = make_sparsity(model, ema.module) if make_sparsity is not None else NoSparsity()
    optimizer = build_optimizer(
        model, config.optimizer, lr0=hyp.lr0, momentum=hyp.momentum,
        weight_decay=scaled_weight_decay(hyp.weight_decay, config.batch_size, config.nominal_batch),
    )  # fmt: skip
    with closing(run.train_batches()) as batches, closing(run.eval_batches()) as eval_batches:
        result = fit(
            model, batches, Supervised(run.loss()), optimizer, run.schedule(), epochs=config.epochs, device=device,
            precision=precision, sparsity=sparsity, ema=ema, clip=None if step_every_batch else 10.0, observers=run.observers(),
            validate=None if config.noval else run.validation(eval_batches), stopper=EarlyStopping(config.patience),
            resume_state=resumed.training if resumed is not None else None,
            resize=MultiScale(stride, seed=config.seed) if config.multi_scale else NoResizing(),
        )  # fmt: skip
        return run.finish(result, eval_batches, started)


@dataclass
class _Run:
    """What the parts of one run share. `class_map`: mAP50-95 of each class, for --image-weights."""

    config: TrainConfig
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
    tensorboard: TensorBoardObserver | None = None

    def train_batches(self) -> TrainBatches:
        config = self.config
        fields = Augmentation.__dataclass_fields__
        augmentation = Augmentation(**{name: value for name, value in self.hyp.to_plain().items() if name in fields})
        return TrainBatches(
            self.train_split, config.imgsz, config.batch_size, augmentation, seed=config.seed, workers=config.workers,
            cache=config.cache, rect=config.rect, close_mosaic=config.close_mosaic, epochs=config.epochs,
            image_weights=self._image_weights if config.image_weights else None, stride=int(self.model.stride.max()),
        )  # fmt: skip

    def eval_batches(self) -> EvalBatches:
        config = self.config
        return EvalBatches(
            self.val_split, config.imgsz, 2 * config.batch_size, stride=int(self.model.stride.max()),
            workers=min(config.workers, 1), cache=config.cache,
        )  # fmt: skip

    def loss(self) -> DetectionLoss:
        model, hyp = self.model, self.hyp
        gains = scaled_gains(hyp.to_plain(), len(model.stride), model.nc, self.config.imgsz)
        return DetectionLoss(
            model.anchors, model.stride, model.nc, **gains, cls_pw=hyp.cls_pw, obj_pw=hyp.obj_pw, anchor_t=hyp.anchor_t,
            fl_gamma=hyp.fl_gamma, label_smoothing=self.config.label_smoothing,
        )  # fmt: skip

    def schedule(self) -> Recipe:
        hyp = self.hyp
        return Recipe(
            self.config.batch_size, hyp.lr0, hyp.lrf, hyp.momentum, hyp.warmup_epochs, hyp.warmup_momentum,
            hyp.warmup_bias_lr, cosine=self.config.cos_lr,
            nominal_batch=self.config.batch_size if self.step_every_batch else self.config.nominal_batch,
        )  # fmt: skip

    def observers(self) -> list[Observer]:
        write_labels(self.folder, {"train": self.train_split, "val": self.val_split})
        observers: list[Observer] = [
            CsvObserver(self.folder / "results.csv"), GammaObserver(self.folder / "gammas.json"), RichProgressObserver(),
        ]  # fmt: skip
        try:
            self.tensorboard = TensorBoardObserver(self.folder, self._hyperparameters())
            observers.append(self.tensorboard)
        except TrainingError:
            log.info("TensorBoard events are not written (pip install 'slimyolo[tensorboard]'); results.csv is")
        if not self.config.noplots:
            observers.insert(0, FirstBatchesObserver(self._draw_batch))
        return [*observers, CheckpointObserver(self._save)]

    def validation(self, batches: EvalBatches) -> Validate:
        loss = self.loss()

        def validate(module: nn.Module, epoch: int) -> tuple[float, Mapping[str, float]]:
            assert isinstance(module, Detector)  # fit hands back what it was given
            result = evaluate_detector(
                module.fused(), batches, conf=CONF, iou=IOU, max_det=MAX_DET, device=self.device, loss=loss,
                single_class=self.config.single_cls,
            )  # fmt: skip
            metrics = result.metrics
            self.class_map = np.nan_to_num(np.asarray([one.map50_95 for one in metrics.per_class]))
            columns = {
                "metrics/precision": metrics.precision, "metrics/recall": metrics.recall,
                "metrics/mAP_0.5": metrics.map50, "metrics/mAP_0.5:0.95": metrics.map50_95,
            }  # fmt: skip
            return fitness(metrics), {**columns, **{f"val/{k}_loss": v for k, v in (result.loss or {}).items()}}

        return validate

    def finish(self, result: FitResult, batches: EvalBatches, started: float) -> TrainRecord:
        """Strip ``last.pt``, measure ``best.pt``, write the record."""
        weights = self.folder / "weights"
        last, best = weights / "last.pt", weights / "best.pt"
        checkpoint = load_checkpoint(last)
        if not best.exists():  # nothing was validated, or a sparse run ended before its share was reached
            save_checkpoint(best, checkpoint.detector(), provenance=checkpoint.provenance)
        save_checkpoint(last, checkpoint.detector(), provenance=checkpoint.provenance)
        detector = load_checkpoint(best).detector()
        pictures = (
            None if self.config.noplots else ValidationPictures(self.val_split, single_class=self.config.single_cls)
        )
        whole = evaluate_detector(
            detector.fused(), batches, conf=CONF, iou=IOU, max_det=MAX_DET, device=self.device,
            single_class=self.config.single_cls, on_batch=None if pictures is None else pictures.see,
        ).metrics  # fmt: skip
        write_evidence(self.folder, whole)
        metrics = whole.without_arrays()
        record = TrainRecord(
            command=self.config.command, folder=str(self.folder), best=str(best), last=str(last),
            epochs_done=result.epochs_done, best_epoch=result.best_epoch, stopped_early=result.stopped_early,
            metrics=metrics, size=size_of(detector, self.config.imgsz), zero_share=result.sparsity.share,
            seconds=time.perf_counter() - started, images_per_second=self.images / max(self.train_seconds, 1e-9),
            provenance=self._provenance(),
        )  # fmt: skip
        write_json(self.folder / "record.json", record)
        if pictures is not None:
            self._show(pictures.write(self.folder), result.epochs_done)
            write_plots(self.folder)
        _say_result(record)
        return record

    def _draw_batch(self, number: int, batch: TrainBatch) -> None:
        picture = train_picture(batch, self.train_split.names)
        write_bytes(self.folder / f"train_batch{number}.jpg", jpeg_bytes(picture, longest_side=1920, quality=90))
        self._show({f"train_batch{number}": np.ascontiguousarray(picture[..., ::-1])}, 0)

    def _show(self, pictures: Mapping[str, npt.NDArray[np.uint8]], epoch: int) -> None:
        if self.tensorboard is not None:
            self.tensorboard.add_pictures(pictures, epoch)

    def _hyperparameters(self) -> dict[str, Any]:
        names = ("epochs", "batch_size", "imgsz", "optimizer", "seed")
        chosen = {name: getattr(self.config, name) for name in names}
        return {**chosen, **{name: value for name, value in self.hyp.to_plain().items() if value is not None}}

    def _save(self, report: EpochReport) -> None:
        self.images += report.images
        self.train_seconds += report.train_seconds
        is_end = report.epoch + 1 == report.progress.epochs
        if self.config.nosave and not is_end:
            return
        model, averaged, weights = report.model, report.averaged, self.folder / "weights"
        assert isinstance(model, Detector)
        assert isinstance(averaged, Detector)
        about = {**self._provenance(), "epoch": report.epoch, "metrics": dict(report.metrics)}
        if report.is_best:
            save_checkpoint(weights / "best.pt", averaged, provenance=about)
        save_checkpoint(
            weights / "last.pt", model, ema=averaged, training=report.training_state(), provenance=about
        )  # fmt: skip
        period = self.config.save_period
        if period > 0 and (report.epoch + 1) % period == 0:
            save_checkpoint(weights / f"epoch{report.epoch}.pt", averaged, provenance=about)

    def _provenance(self) -> dict[str, Any]:
        return {
            **run_provenance(self.config),
            "data": data_provenance(self.dataset, {"train": self.train_split, "val": self.val_split}),
        }

    def _image_weights(self, epoch: int) -> npt.ArrayLike:
        known = self.class_map if self.class_map is not None else np.zeros(self.train_split.nc)
        class_weights = class_balance_weights(self.train_split) * (1 - known) ** 2
        return image_weights_of_classes(self.train_split, class_weights)


def _read_splits(dataset: DatasetSpec, config: TrainConfig) -> tuple[SplitData, SplitData]:
    splits = []
    for name in ("train", "val"):
        split = read_split(dataset, name, single_class=config.single_cls)
        log.info("%s: %d images, %d boxes, %d without boxes", name, len(split), split.boxes, split.backgrounds)
        if split.defects:
            log.warning(
                "%s: %d defects in images and labels, the first: %s. `slimyolo data check %s` lists them all.",
                name, len(split.defects), split.defects[0], config.data,
            )  # fmt: skip
        splits.append(split)
    if not splits[0].boxes:
        log.warning("train: no image has a box; the detector can only learn to find nothing")
    return splits[0], splits[1]


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
        return Path(config.resume).resolve().parent.parent
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    write_options(folder, config)
    lines = [f"{name}: {value}" for name, value in config.hyperparameters.to_plain().items() if value is not None]
    write_text(folder / "hyp.yaml", "\n".join(lines) + "\n")
    return folder


def _fit_anchors_(model: Detector, split: SplitData, config: TrainConfig, hyp: HyperParameters) -> None:
    generator = torch.Generator().manual_seed(config.seed)
    sizes = [sample.size for sample in split.samples]
    wh = boxes_at_size(sizes, [sample.boxes for sample in split.samples], config.imgsz, generator)
    choice = choose_anchors(wh, model.anchors.cpu(), config.imgsz, generator, hyp.anchor_t)
    log.info("%s", choice.summary)
    if choice.changed:
        model.set_anchors_(choice.anchors)


def _freeze_(model: Detector, layers: tuple[int, ...]) -> None:
    if not layers:
        return
    if max(layers) >= len(model.model):
        raise ConfigError(f"--freeze {max(layers)}: the model has layers 0 to {len(model.model) - 1}.")
    for index in layers:
        for parameter in model.model[index].parameters():
            parameter.requires_grad_(False)
    log.info("frozen layers: %s", ", ".join(map(str, layers)))


def _seed_everything(seed: int) -> None:
    torch.manual_seed(seed + 1)
    np.random.seed(seed + 1)


def _say_result(record: TrainRecord) -> None:
    metrics: DetectionMetrics = record.metrics
    size: SizeRecord = record.size
    log.info(
        "best: P %.3f  R %.3f  mAP50 %.3f  mAP50-95 %.3f  |  %.2f M parameters, %.2f GFLOPs at %d  |  %.0f images/s  |  %s",
        metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, size.params / 1e6, size.gflops, size.imgsz,
        record.images_per_second, record.best,
    )  # fmt: skip
