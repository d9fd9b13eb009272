"""Properties on a GPU: fp16 with a scaled loss, bf16 and TF32 train, shrink and resume as fp32 on a processor does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from toy_run import layer_groups

from slimyolo.sparsity import ShareDriven, SoftThreshold
from slimyolo.training import (
    Autocast,
    CheckpointObserver,
    Ema,
    EpochReport,
    Fp32,
    Precision,
    Progress,
    Recipe,
    build_optimizer,
    fit,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
KINDS = ["fp32", "tf32", "bf16", "fp16"]


def precision_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> Precision:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", kind == "tf32")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", kind == "tf32")
    if kind in ("fp32", "tf32"):
        return Fp32()
    return Autocast("cuda", torch.bfloat16 if kind == "bf16" else torch.float16)


def trained(toy: SimpleNamespace, precision: Precision, accumulate: int = 1, device: str = "cuda") -> dict[str, Any]:
    model = toy.net()
    ema, losses, states = Ema(model), [], []

    def save(report: EpochReport) -> None:
        losses.append(report.losses["box"])
        states.append(report.training_state())

    fit(
        model,
        toy.batches(length=8 * accumulate, size=8),
        toy.objective,
        build_optimizer(model),
        Recipe(batch_size=64 // accumulate, warmup_epochs=0),
        epochs=6,
        device=device,
        precision=precision,
        ema=ema,
        sparsity=ShareDriven(model, layer_groups(model), 0.5, reach=0.5, ema=ema.module),
        observers=[CheckpointObserver(save)],
    )
    gammas = [module.weight.detach().cpu() for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return {"gammas": torch.cat(gammas), "losses": losses, "state": states[-1], "ema": ema.module}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accumulate", [1, 4])
def test_every_precision_learns_and_reaches_the_same_zeros(
    toy: SimpleNamespace, kind: str, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = trained(toy, precision_of(kind, monkeypatch), accumulate)
    assert result["losses"][-1] < result["losses"][0]
    assert int((result["gammas"] == 0).sum()) == 14
    assert all(bool(value.isfinite().all()) for value in result["ema"].state_dict().values())
    assert all(not value.is_cuda for value in result["state"]["random"]["cuda"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_shrinks_as_on_a_processor(toy: SimpleNamespace, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """γ that the task does not touch: what is left after twelve steps is the method's doing alone."""

    def gammas(device: str, precision: Precision) -> torch.Tensor:
        model = nn.Sequential(nn.BatchNorm2d(3))
        weight = nn.Parameter(torch.ones(3, device=device))
        model.register_parameter("beside", weight)

        def objective(module: nn.Module, images: torch.Tensor, targets: torch.Tensor, progress: Progress) -> Any:
            return toy.loss((weight * targets.mean(0)).sum() + 0.0 * model[0].weight.sum(), {})

        fit(
            model,
            toy.batches(length=12),
            objective,
            build_optimizer(model, weight_decay=0.0),
            Recipe(batch_size=64, warmup_epochs=0),
            epochs=1,
            device=device,
            precision=precision,
            sparsity=SoftThreshold(model, layer_groups(model), 0.01),
        )
        return model[0].weight.detach().cpu()

    assert torch.allclose(gammas("cuda", precision_of(kind, monkeypatch)), gammas("cpu", Fp32()), atol=1e-6)
