"""Table of cases: the trainer classes on a stand-in with the documented interface, without the ultralytics package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stand_in_trainer import Network, Trainer, Yolo

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.pruning import ChannelShare, LatencyBudget, MacsShare, ParamsShare
from slimyolo.ultralytics import finetune_trainer, prune, sparse_trainer
from slimyolo.ultralytics.state import STATE_NAME

HALF = MacsShare(0.5)


def gammas(network: torch.nn.Module) -> torch.Tensor:
    """All γ of the stand-in, [32]."""
    return torch.cat([network.first[1].weight, network.second[1].weight]).detach()


def sparse(folder: Path, target: Any = HALF, *, epochs: int = 6, base: type = Trainer, **more: Any) -> Any:
    trainer = sparse_trainer(base, target)(folder, epochs, **more)
    trainer.train()
    return trainer


@pytest.mark.parametrize("target", [HALF, ParamsShare(0.5), ChannelShare(0.4)])
@pytest.mark.parametrize("every", [1, 3])
def test_the_average_reaches_the_target_and_the_cut_changes_nothing(tmp_path: Path, target: Any, every: int) -> None:
    trainer = sparse(tmp_path, target, base=type("Rare", (Trainer,), {"every": every, "batches": 6}))
    averaged = trainer.ema.ema
    assert torch.equal(gammas(averaged) == 0, gammas(trainer.model) == 0)
    cut = prune(Yolo(averaged), target, tmp_path / "cut.pt")
    assert cut.plan.silent(averaged)
    images = torch.rand(4, 3, 16, 16)
    assert torch.allclose(cut.model.model(images), averaged(images), atol=1e-5)
    assert trainer.rows[-1]["slimyolo/zero"] > 0.3
    assert type(trainer).__name__ == "SparseRare"


def test_best_is_an_epoch_that_had_reached_the_target(tmp_path: Path) -> None:
    falling = type("Falling", (Trainer,), {"fitnesses": (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)})
    trainer = sparse(tmp_path, base=falling)
    epoch, network = trainer.best
    assert epoch == 2  # the ramp ends with the third epoch, at half of the run
    assert int((gammas(network) == 0).sum()) == int((gammas(trainer.model) == 0).sum())


def test_a_resumed_run_holds_its_zeros_and_finishes(tmp_path: Path) -> None:
    class Stop(Trainer):
        def run_callbacks(self, event: str) -> None:
            super().run_callbacks(event)
            if event == "on_model_save" and self.epoch == 1:
                raise KeyboardInterrupt

    first = sparse_trainer(Stop, HALF)(tmp_path, 6)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    gone = gammas(first.ema.ema) == 0
    assert int(gone.sum()) > 0
    again = sparse(tmp_path, weights=first.ema.ema, start=2)
    assert bool((gammas(again.ema.ema)[gone] == 0).all())
    assert prune(Yolo(again.ema.ema), HALF, tmp_path / "cut.pt").plan.silent(again.ema.ema)


def test_a_state_that_does_not_belong_to_the_checkpoint(tmp_path: Path) -> None:
    sparse(tmp_path)
    sparse(tmp_path, start=5, weights=Network())  # killed between the two files: one epoch older is known, too
    with pytest.raises(TrainingError, match=r"holds the states after the epochs .* but last.pt is one of epoch 3\."):
        sparse(tmp_path, start=3, weights=Network())
    (tmp_path / STATE_NAME).unlink()
    with pytest.raises(TrainingError, match=r"is missing: the run to resume was not a sparse one"):
        sparse(tmp_path, start=3, weights=Network())
    sparse(tmp_path)
    with pytest.raises(TrainingError, match=r"[Rr]esume|same target"):
        sparse(tmp_path, MacsShare(0.7), start=6, weights=Network())


def test_a_run_without_steps_says_that_the_target_was_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = sparse(tmp_path, base=type("Never", (Trainer,), {"every": 100}))
    assert "slimyolo: WARNING: the run ended before the target: 0.0% of the MACs are at zero" in capsys.readouterr().out
    prune(Yolo(trainer.model), HALF, tmp_path / "cut.pt")
    assert "This cut removes channels that are not at zero" in caplog.text


def test_several_gpus_are_refused_unless_the_script_itself_is_started_in_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in (sparse_trainer(Trainer, HALF), finetune_trainer(Trainer)):
        trainer = made(tmp_path, 2, weights=Network())
        trainer.world_size = 2
        with pytest.raises(ConfigError, match=r"Use one GPU \(device=0\)"):
            trainer.train()
    monkeypatch.setenv("LOCAL_RANK", "0")
    trainer.train()


def test_fine_tuning_keeps_the_widths(tmp_path: Path) -> None:
    cut = prune(Yolo(Network()), HALF, tmp_path / "cut.pt").model
    widths = {name: tensor.shape for name, tensor in cut.model.state_dict().items()}
    trainer = finetune_trainer(cut)(tmp_path, 2, weights=cut.model)
    trainer.train()
    assert {name: tensor.shape for name, tensor in trainer.model.state_dict().items()} == widths
    assert trainer.model is not cut.model
    assert all(one.requires_grad for one in trainer.model.parameters())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"names": {0: "a"}}, r"2 classes \(red, green\), but the dataset has 1 \(a\)\. The head of a cut network"),
        ({"names": ["a", "b"], "kpt_shape": [4, 3]}, r"and other keypoints"),
    ],
)
def test_another_dataset_is_refused_for_a_cut_network(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    network = Network()
    network.kpt_shape = [17, 3]
    trainer = finetune_trainer(Trainer)(tmp_path, 1, weights=network)
    trainer.data = data
    with pytest.raises(ConfigError, match=message):
        trainer.train()


def test_a_dense_network_for_other_classes_is_built_by_their_trainer(tmp_path: Path) -> None:
    network = Network()
    network.names = {0: "blue", 1: "white"}
    assert sparse_trainer(Trainer, HALF)(tmp_path, 1).get_model(weights=network).names == {0: "red", 1: "green"}
    network.names = {0: "red", 1: "green"}
    network.mine = True
    assert sparse_trainer(Trainer, HALF)(tmp_path, 1).get_model(weights=network).mine


def test_the_rows_of_a_cut_network_say_that_it_was_cut(tmp_path: Path) -> None:
    network = Network()
    cut = prune(Yolo(network), HALF, tmp_path / "cut.pt").model.model
    assert cut.yaml["backbone"][0][2].startswith("This network was cut by slimyolo")
    assert cut.yaml["uncut_backbone"] == network.yaml["backbone"] == [[-1, 1, "Conv", [16, 3]]]
    again = prune(Yolo(cut), MacsShare(0.8), tmp_path / "again.pt").model.model
    assert again.yaml == cut.yaml


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("best.pt", r'A YOLO with a network was expected, got str.*model = YOLO\("best.pt"\)'),
        (Network(), r"A YOLO with a network was expected, got Network"),
        (None, r"got NoneType"),
    ],
)
def test_what_is_no_yolo_is_refused(model: Any, message: str, tmp_path: Path) -> None:
    for call in (lambda: prune(model, HALF, tmp_path / "a.pt"), lambda: finetune_trainer(model)):
        with pytest.raises(ConfigError, match=message):
            call()


def test_errors_of_prune_and_sparse_trainer(tmp_path: Path) -> None:
    plain = Network()
    plain.first[1] = plain.second[1] = torch.nn.Identity()
    with pytest.raises(ConfigError, match=r"no BatchNorm layer: it was fused for inference"):
        prune(Yolo(plain), HALF, tmp_path / "cut.pt")
    with pytest.raises(ConfigError, match=r"the name of the file must end in \.pt"):
        prune(Yolo(Network()), HALF, tmp_path / "cut.onnx")
    with pytest.raises(ConfigError, match=r"LatencyBudget"):
        sparse(tmp_path, LatencyBudget(5))
    with pytest.raises(ConfigError, match=r"made from a YAML file. Open the cut network"):
        finetune_trainer(Trainer)(tmp_path, 1).train()
