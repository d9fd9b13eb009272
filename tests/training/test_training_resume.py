"""Property: a run that was killed and resumed equals the uninterrupted one bit for bit."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from toy_run import layer_groups

from slimyolo.errors import TrainingError
from slimyolo.sparsity import NoSparsity, ReferenceL1, ShareDriven, SoftThreshold, Sparsity
from slimyolo.training import (
    Autocast,
    BatchReport,
    CheckpointObserver,
    EarlyStopping,
    Ema,
    EpochReport,
    Fp32,
    MultiScale,
    Recipe,
    RunReport,
    build_optimizer,
    fit,
)

EPOCHS = 4


class Killer:
    """Ends the run in the middle of an epoch, as a kill would."""

    def __init__(self, epoch: int, step: int) -> None:
        self._at = (epoch, step)

    def started(self, report: RunReport) -> None: ...

    def batch_done(self, report: BatchReport) -> None:
        if (report.progress.epoch, report.progress.step) == self._at:
            raise KeyboardInterrupt

    def epoch_done(self, report: EpochReport) -> None: ...

    def ended(self) -> None: ...


class Runner:
    """A run of the toy that saves after each epoch, and goes on from what was saved with everything made anew."""

    def __init__(self, toy: SimpleNamespace, method: str, optimizer: str, half: bool, batch: int) -> None:
        self._toy, self._method, self._optimizer, self._half, self._batch = toy, method, optimizer, half, batch
        self.files: list[bytes] = []
        self.losses: list[dict[str, float]] = []

    def run(self, file: bytes | None = None, kill_at: tuple[int, int] | None = None, epochs: int = EPOCHS) -> nn.Module:
        model = self._toy.net(seed=0 if file is None else 99, dropout=0.2)
        ema = Ema(model)
        saved: dict[str, Any] | None = None
        if file is not None:
            saved = torch.load(io.BytesIO(file), weights_only=True)
            model.load_state_dict(saved["model"])
            ema.module.load_state_dict(saved["ema"])
        sparsity = self._sparsity(model, ema)

        def save(report: EpochReport) -> None:
            buffer = io.BytesIO()
            contiguous = {name: value.contiguous() for name, value in report.model.state_dict().items()}
            tensors = {"model": contiguous, "ema": report.averaged.state_dict()}
            torch.save({**tensors, "training": report.training_state()}, buffer)
            self.files.append(buffer.getvalue())
            self.losses.append(dict(report.losses))

        watchers: list[Any] = [CheckpointObserver(save)]
        if kill_at is not None:
            watchers.append(Killer(*kill_at))
        torch.manual_seed(5 if file is None else 77)  # a resumed run must not depend on how it was started
        fit(
            model,
            self._toy.batches(length=7),
            self._toy.objective,
            build_optimizer(model, self._optimizer, weight_decay=0.01),
            Recipe(batch_size=self._batch, warmup_epochs=1),
            epochs=epochs,
            sparsity=sparsity,
            ema=ema,
            observers=watchers,
            stopper=EarlyStopping(100),
            precision=Autocast("cpu", torch.bfloat16) if self._half else Fp32(),
            validate=lambda module, epoch: (0.1 * epoch, {}),
            resize=MultiScale(4, seed=1),
            resume_state=None if saved is None else saved["training"],
        )
        return model

    def _sparsity(self, model: nn.Module, ema: Ema) -> Sparsity:
        return {
            "none": NoSparsity,
            "reference": lambda: ReferenceL1(model, ["1.weight"], ["1.bias"], 0.01),
            "soft-threshold": lambda: SoftThreshold(model, layer_groups(model), 0.002, ema=ema.module),
            "share": lambda: ShareDriven(model, layer_groups(model), 0.4, reach=0.6, ema=ema.module),
        }[self._method]()


@pytest.mark.parametrize(
    ("method", "optimizer", "half", "batch", "kill_at"),
    [
        ("none", "SGD", False, 64, (2, 3)),
        ("none", "Adam", False, 64, (2, 0)),
        ("none", "SGD", True, 64, (1, 6)),
        ("none", "SGD", False, 1, (2, 3)),  # accumulation spans the epochs: gradients wait at their end
        ("reference", "SGD", False, 64, (3, 6)),
        ("soft-threshold", "AdamW", False, 64, (2, 3)),
        ("share", "SGD", False, 64, (1, 3)),  # in the ramp
        ("share", "SGD", False, 16, (2, 1)),  # in the ramp, accumulating
        ("share", "SGD", False, 64, (3, 3)),  # after it
    ],
)
def test_killed_and_resumed_equals_straight(
    toy: SimpleNamespace, method: str, optimizer: str, half: bool, batch: int, kill_at: tuple[int, int]
) -> None:
    straight = Runner(toy, method, optimizer, half, batch)
    straight.run()
    broken = Runner(toy, method, optimizer, half, batch)
    with pytest.raises(KeyboardInterrupt):
        broken.run(kill_at=kill_at)
    assert len(broken.files) == kill_at[0]
    broken.run(broken.files[-1])
    assert broken.losses == straight.losses
    ours = torch.load(io.BytesIO(broken.files[-1]), weights_only=True)
    theirs = torch.load(io.BytesIO(straight.files[-1]), weights_only=True)
    assert_equal(ours, theirs)


def assert_equal(ours: Any, theirs: Any, where: str = "") -> None:
    """The same numbers bit for bit, all the way down."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for position, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(mine, other, f"{where}/{position}")
    elif torch.is_tensor(ours):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def test_the_toy_would_notice(toy: SimpleNamespace) -> None:
    """Without the exported state the resumed run differs, so the test above tests something."""
    runner = Runner(toy, "none", "SGD", False, 64)
    runner.run()
    bare = torch.load(io.BytesIO(runner.files[1]), weights_only=True)
    for part in ("random", "optimizer"):
        state = dict(bare["training"])
        state[part] = torch.load(io.BytesIO(runner.files[0]), weights_only=True)["training"][part]
        buffer = io.BytesIO()
        torch.save({**bare, "training": state}, buffer)
        other = Runner(toy, "none", "SGD", False, 64)
        other.run(buffer.getvalue())
        assert other.losses[-1] != runner.losses[-1]


def test_a_finished_run_has_nothing_left_to_do(toy: SimpleNamespace) -> None:
    runner = Runner(toy, "none", "SGD", False, 64)
    runner.run()
    model = runner.run(runner.files[-1])
    assert len(runner.files) == EPOCHS
    assert torch.equal(
        model[0].weight, torch.load(io.BytesIO(runner.files[-1]), weights_only=True)["model"]["0.weight"]
    )


def test_another_schedule_another_version_another_optimizer_are_refused(toy: SimpleNamespace, tmp_path: Path) -> None:
    runner = Runner(toy, "none", "SGD", False, 64)
    runner.run(epochs=1)
    with pytest.raises(TrainingError, match=r"had epochs = 1, but this one has 4.*--epochs"):
        runner.run(runner.files[0])
    whole = torch.load(io.BytesIO(runner.files[0]), weights_only=True)
    model = toy.net()

    def resume(state: dict[str, Any], optimizer: str = "SGD") -> None:
        fit(
            model,
            toy.batches(length=7),
            toy.objective,
            build_optimizer(model, optimizer),
            Recipe(batch_size=64),
            epochs=1,
            resume_state=state,
        )

    with pytest.raises(TrainingError, match=r"version 9, but this slimyolo reads version 1"):
        resume({**whole["training"], "version": 9})
    with pytest.raises(TrainingError, match=r"steps_per_epoch = 8, but this one has 7"):
        resume({**whole["training"], "steps_per_epoch": 8})
    broken = {**whole["training"]["optimizer"], "param_groups": whole["training"]["optimizer"]["param_groups"][:2]}
    with pytest.raises(TrainingError, match="optimizer state to resume from does not fit"):
        resume({**whole["training"], "optimizer": broken})
