"""Training: one loop, with schedules, weight averaging, number formats and observers as separate objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.training.compiling import PayingCompilation, compile_if_it_pays, eager
    from slimyolo.training.contracts import BatchSource, Loss, Objective, TrainBatch, Validate
    from slimyolo.training.ema import Averaging, Ema, NoEma, ema_decay
    from slimyolo.training.events import BatchReport, EpochReport, Observer, RunReport, Snapshot
    from slimyolo.training.loop import FitResult, fit
    from slimyolo.training.loss_watch import LossWatch
    from slimyolo.training.multi_scale import MultiScale, NoResizing, Resizing
    from slimyolo.training.musgd import MuSGD, orthogonalised
    from slimyolo.training.observers import (
        CSV_COLUMNS,
        CheckpointObserver,
        CsvObserver,
        FirstBatchesObserver,
        GammaObserver,
        RichProgressObserver,
        TensorBoardObserver,
        csv_columns,
    )
    from slimyolo.training.optimizers import (
        OPTIMIZERS,
        FittingOptimizer,
        apply_settings_,
        build_optimizer,
        fitting_optimizer,
        parameter_groups,
    )
    from slimyolo.training.precision import Autocast, Fp32, Precision
    from slimyolo.training.progress import Progress
    from slimyolo.training.resume_state import RunState, random_state, restore_random_state_
    from slimyolo.training.schedule import (
        ConstantSchedule,
        Recipe,
        Schedule,
        Settings,
        accumulation_after_warmup,
        cosine_factor,
        linear_factor,
        scaled_weight_decay,
    )
    from slimyolo.training.stopping import EarlyStopping, NoStopping, Stopper, TimeBudget
    from slimyolo.training.sync_batchnorm import SharedBatchNorm2d, share_batchnorms_
    from slimyolo.training.team import Alone, Team, Together

__all__ = [
    "CSV_COLUMNS",
    "OPTIMIZERS",
    "Alone",
    "Autocast",
    "Averaging",
    "BatchReport",
    "BatchSource",
    "CheckpointObserver",
    "ConstantSchedule",
    "CsvObserver",
    "EarlyStopping",
    "Ema",
    "EpochReport",
    "FirstBatchesObserver",
    "FitResult",
    "FittingOptimizer",
    "Fp32",
    "GammaObserver",
    "Loss",
    "LossWatch",
    "MuSGD",
    "MultiScale",
    "NoEma",
    "NoResizing",
    "NoStopping",
    "Objective",
    "Observer",
    "PayingCompilation",
    "Precision",
    "Progress",
    "Recipe",
    "Resizing",
    "RichProgressObserver",
    "RunReport",
    "RunState",
    "Schedule",
    "Settings",
    "SharedBatchNorm2d",
    "Snapshot",
    "Stopper",
    "Team",
    "TensorBoardObserver",
    "TimeBudget",
    "Together",
    "TrainBatch",
    "Validate",
    "accumulation_after_warmup",
    "apply_settings_",
    "build_optimizer",
    "compile_if_it_pays",
    "cosine_factor",
    "csv_columns",
    "eager",
    "ema_decay",
    "fit",
    "fitting_optimizer",
    "linear_factor",
    "orthogonalised",
    "parameter_groups",
    "random_state",
    "restore_random_state_",
    "scaled_weight_decay",
    "share_batchnorms_",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.training.compiling": "PayingCompilation compile_if_it_pays eager",
        "slimyolo.training.contracts": "BatchSource Loss Objective TrainBatch Validate",
        "slimyolo.training.ema": "Averaging Ema NoEma ema_decay",
        "slimyolo.training.events": "BatchReport EpochReport Observer RunReport Snapshot",
        "slimyolo.training.loop": "FitResult fit",
        "slimyolo.training.loss_watch": "LossWatch",
        "slimyolo.training.multi_scale": "MultiScale NoResizing Resizing",
        "slimyolo.training.musgd": "MuSGD orthogonalised",
        "slimyolo.training.observers": (
            "CSV_COLUMNS CheckpointObserver CsvObserver FirstBatchesObserver GammaObserver RichProgressObserver "
            "TensorBoardObserver csv_columns"
        ),
        "slimyolo.training.optimizers": (
            "OPTIMIZERS FittingOptimizer apply_settings_ build_optimizer fitting_optimizer parameter_groups"
        ),
        "slimyolo.training.precision": "Autocast Fp32 Precision",
        "slimyolo.training.progress": "Progress",
        "slimyolo.training.resume_state": "RunState random_state restore_random_state_",
        "slimyolo.training.schedule": (
            "ConstantSchedule Recipe Schedule Settings accumulation_after_warmup cosine_factor linear_factor "
            "scaled_weight_decay"
        ),
        "slimyolo.training.stopping": "EarlyStopping NoStopping Stopper TimeBudget",
        "slimyolo.training.sync_batchnorm": "SharedBatchNorm2d share_batchnorms_",
        "slimyolo.training.team": "Alone Team Together",
    },
)
