"""Sparse training inside their trainer: channels are brought to exactly zero while it trains, and then held there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slimyolo.errors import TrainingError
from slimyolo.pruning import CutRules, Target, rules_with
from slimyolo.shown_text import counted
from slimyolo.slimming import Slimming
from slimyolo.ultralytics.state import read_state, write_state
from slimyolo.ultralytics.theirs import (
    Trainer,
    Yolo,
    image_sides,
    input_channels,
    refuse_spawning,
    trainer_class,
)
from slimyolo.ultralytics.widths import fits, given_network, named_after

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from slimyolo.pruning import RuleFields

__all__ = ["ZERO_COLUMN", "sparse_trainer"]

ZERO_COLUMN = "slimyolo/zero"
"""The column of their results.csv that holds the share of the MACs, parameters or channels that is at zero."""


def sparse_trainer(
    model: Yolo | type,
    target: Target,
    rules: CutRules | None = None,
    *,
    reach: float = 0.5,
    **fields: Unpack[RuleFields],
) -> type:
    """A trainer class that brings channels to zero while it trains, so that a cut to `target` removes nothing but zeros.

    ``model.train(data=..., epochs=30, trainer=sparse_trainer(model, MacsShare(0.5)))``. `model` is the `YOLO` that will be
    trained, or a trainer class of your own. `target`, `rules` and its single `fields` are those of `Slimming`: give `prune`
    the same ones. The target is reached after the share `reach` of the run; in the rest of it the channels that stay make
    up for the others. `best.pt` is the best one of the epochs that have reached the target. With ``resume=True`` and the
    same arguments, an interrupted run goes on.
    """
    base: Any = trainer_class(model)
    settings = _Settings(target, rules_with(rules, fields), reach)

    class SparseTrainer(base):  # type: ignore[misc]  # the class is the user's own
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.slimyolo = _SparseRun(settings)
            for event, listener in self.slimyolo.listeners.items():
                self.add_callback(event, listener)

        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
            if isinstance(weights, nn.Module) and fits(weights, self.data):
                return given_network(weights, self.data)
            built: nn.Module = super().get_model(cfg, weights, verbose)
            return built

        def train(self) -> Any:
            refuse_spawning(self)
            return super().train()

        def save_metrics(self, metrics: dict[str, Any]) -> None:
            super().save_metrics({**metrics, ZERO_COLUMN: round(self.slimyolo.slim.status.gone, 5)})

    return named_after(SparseTrainer, base)


@dataclass(frozen=True)
class _Settings:
    target: Target
    rules: CutRules
    reach: float


@dataclass
class _SparseRun:
    """One sparse run: what listens to the trainer's events and to the steps of its optimizer."""

    settings: _Settings
    batches: int = 0  # of this epoch that are done
    done: float = 0.0  # share of the run at the last step
    steps: int = 0  # of the optimizer, since this process started
    counted: bool = False  # whether the trainer's best fitness is one of an epoch that had reached the target
    made: Slimming[nn.Module] | None = None
    saved: dict[int, dict[str, Any]] = field(default_factory=dict)  # states by epoch, the two newest

    @property
    def listeners(self) -> dict[str, Any]:
        """Event of the trainer → what is called."""
        return {
            "on_train_start": self.start,
            "on_train_epoch_start": self.begin_epoch,
            "on_train_batch_end": self.end_batch,
            "on_train_epoch_end": self.end_epoch,
            "on_model_save": self.save,
            "on_train_end": self.end,
        }

    @property
    def slim(self) -> Slimming[nn.Module]:
        """What fades the channels."""
        if self.made is None:
            raise TrainingError(
                "The trainer did not call on_train_start, as ultralytics 8.4.190 does before the first epoch."
            )
        return self.made

    def start(self, trainer: Trainer) -> None:
        """Find the channels that can fade, and listen to the optimizer."""
        network = trainer.model
        example = torch.zeros(1, input_channels(network), *image_sides(trainer.args.imgsz))
        self.made = Slimming(
            network,
            example,
            self.settings.target,
            steps=max(1, trainer.epochs * len(trainer.train_loader)),
            reach=self.settings.reach,
            ema=None if trainer.ema is None else trainer.ema.ema,
            rules=self.settings.rules,
        )
        if trainer.start_epoch > 0:
            state = read_state(trainer.wdir, trainer.start_epoch - 1)
            self.slim.load_state_dict(state["slimming"])
            self.counted, self.done = bool(state["counted"]), float(state["done"])
        trainer.optimizer.register_step_post_hook(lambda *_: self.step(trainer))
        status, share = self.slim.status, f"{self.settings.reach:.0%}"
        print(
            f"slimyolo: channels with {status.target:.1%} of the {status.unit} are brought to zero by {share} of the run "
            f"({status.channels} channels may fade)."
        )

    def begin_epoch(self, trainer: Trainer) -> None:
        """Count batches from zero."""
        self.batches = 0

    def end_batch(self, trainer: Trainer) -> None:
        """Count the batch."""
        self.batches += 1

    def step(self, trainer: Trainer) -> None:
        """After a step of the optimizer: the gradients are unscaled, clipped and still there; the average is not updated yet."""
        now = (trainer.epoch + (self.batches + 1) / len(trainer.train_loader)) / trainer.epochs
        self.done = min(max(self.done, now), 1.0)  # time= and a return to an earlier epoch change how far the run is
        self.steps += 1
        self.slim.step(done=self.done)

    def end_epoch(self, trainer: Trainer) -> None:
        """Before validation: forget the best fitness as long as it is one of a network that had not reached the target."""
        if not self.counted:
            trainer.best_fitness = None
            trainer.stopper.best_fitness = 0.0
            trainer.stopper.best_epoch = trainer.epoch
        self.counted = self.slim.settled

    def save(self, trainer: Trainer) -> None:
        """Write the state beside their last.pt."""
        state = {"slimming": self.slim.state_dict(), "counted": self.counted, "done": self.done}
        self.saved = write_state(trainer.wdir, trainer.epoch, state, self.saved)

    def end(self, trainer: Trainer) -> None:
        """Say what was reached."""
        status = self.slim.status
        if status.settled:
            print(f"slimyolo: {status.gone:.1%} of the {status.unit} are at zero ({status.target:.1%} were asked for).")
        else:
            print(
                f"slimyolo: WARNING: the run ended before the target: {status.gone:.1%} of the {status.unit} are at zero, "
                f"{status.target:.1%} were asked for, after {counted(self.steps, 'step')} of the optimizer. Train for "
                f"more epochs."
            )
