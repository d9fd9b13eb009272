"""Properties of the loop: the order of what acts, what is told, what counts as best, what stops it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_run import layer_groups

from slimyolo.errors import TrainingError
from slimyolo.sparsity import (
    ChannelRegulariser,
    NoSparsity,
    ReferenceL1,
    ShareDriven,
    SoftThreshold,
    Sparsity,
    cost_weighted_lasso,
    group_lasso,
    polarisation,
)
from slimyolo.training import (
    Autocast,
    BatchReport,
    ConstantSchedule,
    EarlyStopping,
    Ema,
    EpochReport,
    Fp32,
    MultiScale,
    Precision,
    Progress,
    Recipe,
    RunReport,
    build_optimizer,
    fit,
)


class Diary:
    """Writes down what it is told."""

    def __init__(self, fail_at: tuple[int, int] | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.runs: list[RunReport] = []
        self.batches: list[BatchReport] = []
        self.epochs: list[EpochReport] = []
        self.endings = 0
        self._fail_at, self._error = fail_at, error

    def started(self, report: RunReport) -> None:
        self.runs.append(report)

    def batch_done(self, report: BatchReport) -> None:
        self.batches.append(report)
        if (report.progress.epoch, report.progress.step) == self._fail_at:
            raise self._error

    def epoch_done(self, report: EpochReport) -> None:
        self.epochs.append(report)

    def ended(self) -> None:
        self.endings += 1


def test_it_learns_and_tells(toy: SimpleNamespace) -> None:
    model, diary = toy.net(), Diary()
    ema = Ema(model)
    result = fit(
        model,
        toy.batches(),
        toy.objective,
        build_optimizer(model),
        ConstantSchedule(0.02),
        epochs=6,
        ema=ema,
        observers=(diary,),
        validate=lambda module, epoch: (0.1 * epoch, {"metrics/mAP_0.5": 0.5}),
    )
    assert diary.epochs[-1].losses["box"] < 0.3 * diary.epochs[0].losses["box"]
    assert [report.first_epoch for report in diary.runs] == [0]
    assert len(diary.batches) == 30
    assert [report.epoch for report in diary.epochs] == list(range(6))
    assert diary.epochs[2].images == 20
    assert diary.epochs[2].averaged is ema.module
    first = torch.stack([report.losses["box"] for report in diary.batches[:5]]).mean()
    assert diary.epochs[0].losses["box"] == pytest.approx(float(first))
    assert diary.endings == 1
    assert (result.epochs_done, result.best_epoch, result.stopped_early) == (6, 5, False)
    assert result.best_fitness == pytest.approx(0.5)
    assert result.metrics == {"metrics/mAP_0.5": 0.5}
    assert ema.updates == 30


def test_validation_gets_the_model_in_eval_mode_and_training_goes_on_in_train_mode(toy: SimpleNamespace) -> None:
    model = toy.net()
    modes = []

    def objective(model: nn.Module, images: Tensor, targets: Tensor, progress: Progress) -> Any:
        modes.append(model.training)
        return toy.objective(model, images, targets, progress)

    def validate(module: nn.Module, epoch: int) -> tuple[float, Mapping[str, float]]:
        assert module is model
        modes.append(module.training)
        return 0.0, {}

    fit(
        model,
        toy.batches(length=1),
        objective,
        build_optimizer(model),
        ConstantSchedule(0.01),
        epochs=2,
        validate=validate,
    )
    assert modes == [True, False, True, False]


class Penalised(nn.Module):
    """γ of a batch normalisation that the loss does not depend on (its gradient is zero, not absent), beside a weight
    that it does; so whatever happens to γ is the sparsity method's doing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.weight = nn.Parameter(torch.ones(3))
        with torch.no_grad():
            self.norm.weight.copy_(torch.linspace(0.4, 1.6, 8))
            self.norm.bias.copy_(torch.linspace(-1, 1, 8))


def penalised_gammas(
    toy: SimpleNamespace, method: str, *, precision: Precision, accumulate: int, clip: float | None, scale: float
) -> Tensor:
    """γ and β after 12 optimizer steps; `scale` multiplies the task's loss."""
    model = Penalised()

    def objective(module: nn.Module, images: Tensor, targets: Tensor, progress: Progress) -> Any:
        task = (model.weight * targets.mean(dim=0)).sum() * scale
        return toy.loss(task + 0.0 * (model.norm.weight.sum() + model.norm.bias.sum()), {})

    groups = layer_groups(model)
    sparsity: Sparsity = {
        "reference": lambda: ReferenceL1(model, ["norm.weight"], ["norm.bias"], 0.01),
        "soft-threshold": lambda: SoftThreshold(model, groups, 0.01),
        "share": lambda: ShareDriven(model, groups, 0.5, reach=0.9),
        "group-lasso": lambda: ChannelRegulariser(
            method, model, groups, 0.1, group_lasso(), learning_rate=lambda progress: 0.1
        ),
        "cost-weighted": lambda: ChannelRegulariser(
            method, model, groups, 0.1, cost_weighted_lasso(torch.arange(8.0)), learning_rate=lambda progress: 0.1
        ),
        "polarise": lambda: ChannelRegulariser(
            method, model, groups, 0.1, polarisation(), learning_rate=lambda progress: 0.1
        ),
    }[method]()
    fit(
        model,
        toy.batches(length=12 * accumulate),
        objective,
        build_optimizer(model, weight_decay=0.01),
        ConstantSchedule(0.1, accumulate=accumulate),
        epochs=1,
        precision=precision,
        sparsity=sparsity,
        clip=clip,
    )
    return torch.cat([model.norm.weight.detach(), model.norm.bias.detach()])


METHODS = ["reference", "soft-threshold", "share", "group-lasso", "cost-weighted", "polarise"]


@pytest.mark.parametrize("method", METHODS)
def test_the_penalty_knows_neither_loss_scale_nor_accumulation_nor_clipping(toy: SimpleNamespace, method: str) -> None:
    def after(**changes: Any) -> Tensor:
        usual: dict[str, Any] = {"precision": Fp32(), "accumulate": 1, "clip": None, "scale": 1.0}
        return penalised_gammas(toy, method, **(usual | changes))

    plain = after()
    start = torch.cat([torch.linspace(0.4, 1.6, 8), torch.linspace(-1, 1, 8)])
    assert not torch.allclose(plain, start)
    assert torch.equal(after(scale=1000.0), plain)
    assert torch.equal(after(clip=1e-3, scale=1000.0), plain)
    assert torch.equal(after(precision=Autocast("cpu", torch.bfloat16)), plain)
    assert torch.equal(after(precision=Autocast("cpu", torch.float16, initial_scale=2.0**12)), plain)
    if method == "share":  # its ramp is a share of the run: the same number of steps, the same result to rounding
        assert torch.allclose(after(accumulate=4, clip=1e-3), plain, atol=2e-6)
    else:
        assert torch.equal(after(accumulate=4, clip=1e-3), plain)


def test_the_reference_penalty_takes_the_steps_of_a_gradient(toy: SimpleNamespace) -> None:
    found = penalised_gammas(toy, "reference", precision=Fp32(), accumulate=1, clip=None, scale=1.0)
    gamma, velocity = 0.4, 0.0
    for _ in range(12):  # Nesterov momentum 0.9 on a gradient of .01
        velocity = 0.9 * velocity + 0.01
        gamma -= 0.1 * (0.01 + 0.9 * velocity)
    assert float(found[0]) == pytest.approx(gamma, abs=1e-6)


class Witness:
    """A sparsity method that writes down the gradient norms and weights it meets."""

    settled = True

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.norms: list[float] = []
        self.order: list[str] = []

    def add_gradient(self, progress: Any) -> None:
        gradients = [p.grad.flatten() for p in self._model.parameters() if p.grad is not None]
        self.norms.append(float(torch.cat(gradients).norm()))
        self.order.append("gradient")

    def after_step(self, progress: Any) -> None:
        assert all(parameter.grad is None for parameter in self._model.parameters())
        self.order.append("step")

    def status(self) -> Any:
        return NoSparsity().status()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def test_sparsity_meets_true_clipped_gradients_once_a_step(toy: SimpleNamespace) -> None:
    model = toy.net()
    witness = Witness(model)
    fit(
        model,
        toy.batches(length=8),
        toy.objective,
        build_optimizer(model),
        ConstantSchedule(0.01, accumulate=4),
        epochs=1,
        precision=Autocast("cpu", torch.bfloat16),
        sparsity=witness,
        clip=0.01,
    )
    assert witness.order == ["gradient", "step"] * 2
    assert witness.norms == pytest.approx([0.01, 0.01], rel=1e-3)


def test_accumulated_gradients_are_the_sum(toy: SimpleNamespace) -> None:
    def weights(accumulate: int, size: int, length: int) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3))
        whole = next(toy.batches(length=1, size=8).epoch(0))
        parts = [
            type(whole)(whole.images[i : i + size], whole.targets[i : i + size], whole.paths[i : i + size])
            for i in range(0, 8, size)
        ]
        batches = SimpleNamespace(epoch=lambda epoch: iter(parts))
        source = type(
            "Parts", (), {"__len__": lambda self: length, "epoch": lambda self, epoch: batches.epoch(epoch)}
        )()
        optimizer = build_optimizer(model)
        fit(model, source, toy.objective, optimizer, ConstantSchedule(0.01, accumulate=accumulate), epochs=1, clip=None)
        return model[1].weight.detach().clone()

    assert torch.allclose(weights(1, 8, 1), weights(4, 2, 4), atol=1e-7)


def test_accumulation_goes_on_across_epochs_and_the_end_is_stepped(toy: SimpleNamespace) -> None:
    model, diary = toy.net(), Diary()
    ema = Ema(model)
    fit(
        model,
        toy.batches(length=5),
        toy.objective,
        build_optimizer(model),
        ConstantSchedule(0.01, accumulate=4),
        epochs=3,
        ema=ema,
        observers=(diary,),
    )
    # steps at batches 3, 7, 11 and, unfinished, at the last one (14)
    assert ema.updates == 4


def test_sparse_training_reaches_its_share_whatever_the_accumulation(toy: SimpleNamespace) -> None:
    model = toy.net()
    ema = Ema(model)
    sparsity = ShareDriven(model, layer_groups(model), 0.5, reach=1.0, ema=ema.module)
    optimizer = build_optimizer(model)
    fit(
        model,
        toy.batches(length=5),
        toy.objective,
        optimizer,
        Recipe(batch_size=4),
        epochs=1,
        sparsity=sparsity,
        ema=ema,
    )
    for module in (model, ema.module):
        assert sum(int((m.weight == 0).sum()) for m in module.modules() if isinstance(m, nn.BatchNorm2d)) == 14


def test_best_is_looked_for_only_once_the_share_is_reached(toy: SimpleNamespace) -> None:
    model, diary = toy.net(), Diary()
    sparsity = ShareDriven(model, layer_groups(model), 0.5, reach=0.5)
    fitness = [0.9, 0.8, 0.3, 0.2, 0.3, 0.1]
    result = fit(
        model,
        toy.batches(),
        toy.objective,
        build_optimizer(model),
        ConstantSchedule(0.01),
        epochs=6,
        sparsity=sparsity,
        validate=lambda module, epoch: (fitness[epoch], {}),
        observers=(diary,),
        stopper=EarlyStopping(2),
    )
    assert [report.fitness for report in diary.epochs] == [None, None, 0.3, 0.2, 0.3, 0.1]
    assert [report.is_best for report in diary.epochs] == [False, False, True, False, True, False]
    assert (result.best_fitness, result.best_epoch) == (0.3, 4)


def test_early_stopping_ends_the_run(toy: SimpleNamespace) -> None:
    model = toy.net()
    result = fit(
        model,
        toy.batches(length=1),
        toy.objective,
        build_optimizer(model),
        ConstantSchedule(0.01),
        epochs=9,
        validate=lambda module, epoch: (-epoch, {}),
        stopper=EarlyStopping(3),
    )
    assert (result.epochs_done, result.stopped_early, result.best_epoch) == (4, True, 0)


def test_a_loss_that_is_no_number_names_the_images(toy: SimpleNamespace) -> None:
    model, diary = toy.net(), Diary()
    with pytest.raises(
        TrainingError, match=r"became nan in epoch 2 of 3, batch 4 of 5, on: 1-3-0.jpg, .*--precision fp32"
    ):
        fit(
            model,
            toy.batches(poison=(1, 3)),
            toy.objective,
            build_optimizer(model),
            ConstantSchedule(0.01),
            epochs=3,
            observers=(diary,),
        )
    assert len(diary.epochs) == 1  # nothing was handed to the checkpoints after it
    assert diary.endings == 1
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_interruption_passes_through_after_the_observers_were_told(toy: SimpleNamespace) -> None:
    model, diary = toy.net(), Diary(fail_at=(1, 2))
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            toy.batches(),
            toy.objective,
            build_optimizer(model),
            ConstantSchedule(0.01),
            epochs=3,
            observers=(diary,),
        )
    assert (len(diary.epochs), diary.endings) == (1, 1)


@pytest.mark.parametrize(
    ("batches", "epochs", "says"),
    [
        ({"length": 0}, 1, "nothing to train: 1 epoch of 0 batches"),
        ({}, 0, "nothing to train: 0 epochs"),
        ({"gives": 4}, 1, "had 4 batches, but the schedule expected 5"),
        ({"gives": 0}, 1, "had 0 batches"),
    ],
)
def test_wrong_batches_are_answered(toy: SimpleNamespace, batches: dict[str, int], epochs: int, says: str) -> None:
    model = toy.net()
    with pytest.raises(TrainingError, match=says):
        fit(model, toy.batches(**batches), toy.objective, build_optimizer(model), ConstantSchedule(0.01), epochs=epochs)


def test_images_reach_the_objective_as_unit_floats_of_the_asked_size(toy: SimpleNamespace) -> None:
    model, seen = toy.net(), []

    def objective(model: nn.Module, images: Tensor, targets: Tensor, progress: Progress) -> Any:
        seen.append((images.dtype, float(images.max()) <= 1.0, images.is_contiguous(memory_format=torch.channels_last)))
        assert images.shape[-1] % 4 == 0
        return toy.objective(model, images, targets, progress)

    optimizer = build_optimizer(model)
    fit(model, toy.batches(), objective, optimizer, ConstantSchedule(0.01), epochs=1, resize=MultiScale(4))
    assert seen == [(torch.float32, True, True)] * 5


def test_the_loop_stays_short() -> None:
    assert len(inspect.getsource(inspect.getmodule(fit)).splitlines()) < 175  # type: ignore[arg-type]
