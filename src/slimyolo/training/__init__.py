"""Training: one loop, with schedules, weight averaging, number formats and observers as separate objects."""

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
