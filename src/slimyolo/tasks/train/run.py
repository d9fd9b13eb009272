"""One training run, whatever it is for: data in, loop, checkpoints, record out."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from slimyolo.checkpoints import Checkpoint, save_checkpoint
from slimyolo.data import (
    Augmentation,
    Batch,
    DatasetSpec,
    EvalBatches,
    LoaderSettings,
    Sharding,
    SplitData,
    TrainBatches,
    class_balance_weights,
    image_weights_of_classes,
    read_dataset_yaml,
)
from slimyolo.detections import fitness
from slimyolo.errors import ConfigError, TrainingError
from slimyolo.evaluation import EvaluationResult
from slimyolo.families import load_checkpoint
from slimyolo.inference.picture_grid import jpeg_bytes
from slimyolo.models import Detector, DetectorLoss, LossSettings
from slimyolo.reports.plot_files import write_plots
from slimyolo.sparsity import NoSparsity, Sparsity
from slimyolo.storage import write_bytes, write_json
from slimyolo.tasks.common.devices import pick_precision
from slimyolo.tasks.common.distributed import joined_team, loader_processes, share_of_batch
from slimyolo.tasks.common.measuring import Measuring, evaluation_batches, measure_batches
from slimyolo.tasks.common.model_size import size_of
from slimyolo.tasks.common.provenance import data_provenance, run_provenance
from slimyolo.tasks.common.records import TrainRecord, result_line
from slimyolo.tasks.common.report_files import ValidationPictures, train_picture, write_evidence, write_labels
from slimyolo.tasks.train.bad_batch import keeping_bad_batch
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.distilling import objective_of, train_beside_
from slimyolo.tasks.train.epochs_in_time import epochs_that_fit, rehearsed_epoch_seconds
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.tasks.train.memory import answering_out_of_memory, measured_batch_size
from slimyolo.tasks.train.preparing import (
    check_image_size,
    freeze_,
    prepare_,
    read_splits,
    reproducible,
    seed_everything,
)
from slimyolo.tasks.train.run_folder import class_map_of, resumable, run_folder
from slimyolo.tasks.train.starting import starting_detector
from slimyolo.training import (
    Alone,
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
    Precision,
    Recipe,
    Resizing,
    RichProgressObserver,
    Schedule,
    Snapshot,
    Stopper,
    Team,
    TensorBoardObserver,
    TimeBudget,
    TrainBatch,
    Validate,
    build_optimizer,
    compile_if_it_pays,
    eager,
    fit,
    scaled_weight_decay,
    share_batchnorms_,
)

__all__ = ["SparsityMaker", "run_training"]

log = logging.getLogger("slimyolo")

SparsityMaker = Callable[[Detector, nn.Module, Schedule], Sparsity]
"""(model, averaged copy, schedule) → the sparsity object of the run."""

_ALONE = Alone()


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
    precision = pick_precision(config.precision, device)
    dataset = read_dataset_yaml(config.data)
    train_split, val_split = read_splits(dataset, config)
    seed_everything(config.seed)
    resumed = resumable(config)
    names = ("item",) if config.single_cls and dataset.nc > 1 else dataset.names
    model = resumed.detector(prefer_ema=False).train() if resumed is not None else starting_detector(config, names)
    check_image_size(config.imgsz, int(model.stride.max()))
    if resumed is None and not config.noautoanchor:
        prepare_(model, train_split, config, config.hyperparameters)
    freeze_(model, config.freeze)
    team.align_(model)
    if config.batch_size == -1:
        with answering_out_of_memory(config.changed(batch_size=1), device):
            each = measured_batch_size(model, config.imgsz, len(train_split), device, precision)
        config = config.changed(batch_size=team.told(each * team.world))
    share_of_batch(config.batch_size, team.world)
    run = _Run(config, team, model, precision, train_split, val_split, dataset, device, step_every_batch)
    if config.sync_bn:
        share_batchnorms_(model)
    with answering_out_of_memory(config, device), reproducible(config.deterministic, not config.multi_scale):
        return run.train(resumed, make_sparsity, started)


@dataclass
class _Run:
    """What the parts of one run share. `class_map`: mAP50-95 of each class, for --image-weights."""

    config: TrainConfig
    team: Team
    model: Detector
    precision: Precision
    train_split: SplitData
    val_split: SplitData
    dataset: DatasetSpec
    device: torch.device
    step_every_batch: bool
    folder: Path = Path()
    class_map: npt.NDArray[np.float64] | None = None
    images: int = 0
    train_seconds: float = 0.0
    tensorboard: TensorBoardObserver | None = None

    @property
    def hyp(self) -> HyperParameters:
        """The numbers of the recipe."""
        return self.config.hyperparameters

    def train(self, resumed: Checkpoint | None, make_sparsity: SparsityMaker | None, started: float) -> TrainRecord:
        """From the prepared model to the record."""
        model, team, device = self.model, self.team, self.device
        objective, beside = objective_of(self.config, model, self.loss(team.sum), device)
        if self.config.seconds is not None and resumed is None:
            self.config = self.config.changed(epochs=self.fitting_epochs(self.config.seconds))
        config, hyp = self.config, self.hyp
        ema = Ema(model, start=resumed.detector() if resumed is not None and resumed.ema is not None else None)
        for module in (ema.module, beside):
            team.align_(module)
        sparsity = make_sparsity(model, ema.module, self.schedule()) if make_sparsity is not None else NoSparsity()
        optimizer = build_optimizer(
            model,
            config.optimizer,
            lr0=hyp.lr0,
            momentum=hyp.momentum,
            weight_decay=scaled_weight_decay(hyp.weight_decay, config.batch_size, config.nominal_batch),
        )
        train_beside_(optimizer, beside)
        state = resumed.training if resumed is not None else None
        self.class_map = class_map_of(state) if state is not None else None
        stopper: Stopper = EarlyStopping(config.patience)
        self.folder = team.told(run_folder(config) if team.rank == 0 else Path())
        log.info("run folder: %s", self.folder)
        with closing(self.train_batches()) as batches, closing(self.eval_batches()) as evaluation:
            with keeping_bad_batch(batches, self.folder, team.rank):
                result = fit(
                    model,
                    batches,
                    objective,
                    optimizer,
                    self.schedule(),
                    epochs=config.epochs,
                    device=device,
                    precision=self.precision,
                    sparsity=sparsity,
                    ema=ema,
                    clip=None if self.step_every_batch else 10.0,
                    observers=self.observers(),
                    validate=None if config.noval else self.validation(evaluation),
                    stopper=stopper if config.seconds is None else TimeBudget(stopper, config.seconds),
                    resume_state=state,
                    resize=self.resizing(),
                    team=team,
                    beside=beside,
                    compiled=compile_if_it_pays if config.compile else eager,
                )
            return self.finish(result, evaluation, started)

    def fitting_epochs(self, seconds: float) -> int:
        """The epochs that fit into `seconds`, at most those of the configuration."""
        with closing(self.train_batches()) as batches, closing(self.eval_batches()) as evaluation:
            epoch_seconds = rehearsed_epoch_seconds(
                self.model,
                batches,
                evaluation,
                objective=lambda copied: objective_of(self.config, copied, self.loss(self.team.sum), self.device)[0],
                validate=self.measured,
                device=self.device,
                precision=self.precision,
            )
        epochs = self.team.told(epochs_that_fit(seconds, epoch_seconds, self.config.epochs))
        log.info("--time %s: an epoch takes about %.0f s, so %d epochs", self.config.time, epoch_seconds, epochs)
        return epochs

    def resizing(self) -> Resizing:
        """Every batch at another size with --multi-scale."""
        config = self.config
        return MultiScale(int(self.model.stride.max()), seed=config.seed) if config.multi_scale else NoResizing()

    def train_batches(self) -> TrainBatches:
        config = self.config
        fields = Augmentation.__dataclass_fields__
        augmentation = Augmentation(**{name: value for name, value in self.hyp.to_plain().items() if name in fields})
        return TrainBatches(
            self.train_split,
            LoaderSettings(
                imgsz=config.imgsz,
                batch_size=share_of_batch(config.batch_size, self.team.world),
                stride=int(self.model.stride.max()),
                workers=loader_processes(config.workers),
                cache=config.cache,
            ),
            augmentation,
            seed=config.seed,
            rect=config.rect,
            image_weights=self._image_weights if config.image_weights else None,
            plain_from=config.epochs - config.close_mosaic if config.close_mosaic else None,
            shard=Sharding(self.team.rank, self.team.world),
        )

    def eval_batches(self) -> EvalBatches:
        return evaluation_batches(self.val_split, self.measuring, int(self.model.stride.max()), self.team)

    @property
    def measuring(self) -> Measuring:
        """How this run validates: with the thresholds of the reference."""
        config = self.config
        return Measuring(
            imgsz=config.imgsz,
            batch_size=2 * share_of_batch(config.batch_size, self.team.world),
            single_class=config.single_cls,
            workers=min(config.workers, 1),
            cache=config.cache,
        )

    def loss(self, total: Callable[[torch.Tensor], torch.Tensor] = _ALONE.sum) -> DetectorLoss:
        """`total` adds up over the processes where all of them call the loss together: in training."""
        settings = LossSettings(
            hyp=self.hyp.to_plain(),
            imgsz=self.config.imgsz,
            label_smoothing=self.config.label_smoothing,
            total=total,
        )
        return self.model.family.make_loss(self.model, settings)

    def schedule(self) -> Recipe:
        hyp = self.hyp
        return Recipe(
            batch_size=self.config.batch_size,
            lr0=hyp.lr0,
            lrf=hyp.lrf,
            momentum=hyp.momentum,
            warmup_epochs=hyp.warmup_epochs,
            warmup_momentum=hyp.warmup_momentum,
            warmup_bias_lr=hyp.warmup_bias_lr,
            cosine=self.config.cos_lr,
            nominal_batch=self.config.batch_size if self.step_every_batch else self.config.nominal_batch,
        )

    def observers(self) -> list[Observer]:
        """Those that write and show: in process 0 alone."""
        if self.team.rank:
            return []
        write_labels(self.folder, {"train": self.train_split, "val": self.val_split})
        observers: list[Observer] = [
            CsvObserver(self.folder / "results.csv"),
            GammaObserver(self.folder / "gammas.json"),
        ]
        if log.level <= logging.INFO:  # not with --quiet
            observers.append(RichProgressObserver())
        try:
            self.tensorboard = TensorBoardObserver(self.folder, self._hyperparameters())
            observers.append(self.tensorboard)
        except TrainingError:
            log.info("TensorBoard events are not written (pip install 'slimyolo[tensorboard]'); results.csv is")
        if not self.config.noplots:
            observers.insert(0, FirstBatchesObserver(self._draw_batch))
        return [*observers, CheckpointObserver(self._save, self._begin)]

    def validation(self, batches: EvalBatches) -> Validate:
        loss = self.loss()

        def validate(module: nn.Module, epoch: int) -> tuple[float, Mapping[str, float]]:
            assert isinstance(module, Detector)  # fit hands back what it was given
            result = self.measured(module, batches, loss)
            metrics = result.metrics
            self.class_map = np.nan_to_num(np.asarray([one.map50_95 for one in metrics.per_class]))
            columns = {
                "metrics/precision": metrics.precision,
                "metrics/recall": metrics.recall,
                "metrics/mAP_0.5": metrics.map50,
                "metrics/mAP_0.5:0.95": metrics.map50_95,
            }
            columns |= {f"val/{name}_loss": value for name, value in (result.loss or {}).items()}
            return self.team.told((fitness(metrics), columns))

        return validate

    def measured(
        self,
        detector: Detector,
        batches: Iterable[Batch],
        loss: DetectorLoss | None = None,
        pictures: ValidationPictures | None = None,
    ) -> EvaluationResult:
        """The detector on all validation images, each process on its share of them."""
        look = None if pictures is None else pictures.see
        return measure_batches(
            detector, batches, self.measuring, device=self.device, loss=loss, look=look, team=self.team
        )

    def finish(self, result: FitResult, batches: EvalBatches, started: float) -> TrainRecord:
        """Measure ``best.pt``, write the record, strip ``last.pt``: in this order, so that a kill leaves what to resume."""
        best, last = (self.folder / "weights" / name for name in ("best.pt", "last.pt"))
        first = self.team.rank == 0
        if first and not best.exists():  # nothing was validated, or a sparse run ended before its share was reached
            checkpoint = load_checkpoint(last)
            save_checkpoint(best, checkpoint.detector(), provenance=checkpoint.provenance)
        detector = (load_checkpoint(best).detector() if first else copy.deepcopy(self.model)).to(self.device)
        self.team.align_(detector)
        wanted = first and not self.config.noplots
        pictures = ValidationPictures(self.val_split, single_class=self.config.single_cls) if wanted else None
        whole = self.measured(detector, batches, pictures=pictures).metrics
        metrics = whole.without_arrays()
        if not first:
            return self.team.told(cast(TrainRecord, None))
        write_evidence(self.folder, whole)
        record = TrainRecord(
            command=self.config.command,
            folder=str(self.folder),
            best=str(best),
            last=str(last),
            epochs_done=result.epochs_done,
            best_epoch=result.best_epoch,
            stopped_early=result.stopped_early,
            metrics=metrics,
            size=size_of(detector, self.config.imgsz),
            zero_share=result.sparsity.share,
            seconds=time.perf_counter() - started,
            images_per_second=self.images / max(self.train_seconds, 1e-9),
            provenance=self._provenance(),
        )
        write_json(self.folder / "record.json", record)
        if pictures is not None:
            self._show(pictures.write(self.folder), result.epochs_done)
            write_plots(self.folder)
        checkpoint = load_checkpoint(last)
        save_checkpoint(last, checkpoint.detector(), provenance=checkpoint.provenance)
        log.info("%s", result_line(record))
        return self.team.told(record)

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
