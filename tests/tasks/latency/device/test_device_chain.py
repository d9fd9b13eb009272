"""Closed formula and table of cases: times of another device as the budget of sparsify, compress and iterate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_times import macs_of, small_detector, times_of, written

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ConfigError
from slimyolo.families import load_checkpoint
from slimyolo.models import Detector
from slimyolo.tasks.chain.compress import compress
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate import iterate, share_of_round
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.latency.channels import latency_share
from slimyolo.tasks.latency.pack import fit_pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig
from slimyolo.tasks.latency.shapes import NetworkFacts
from slimyolo.tasks.train.config import SparsifyConfig
from slimyolo.tasks.train.sparsify import prunable_groups

SOURCES: list[type[SparsifyConfig] | type[CompressConfig] | type[IterateConfig]] = [
    SparsifyConfig,
    CompressConfig,
    IterateConfig,
]
GIVEN: dict[str, Any] = {"weights": "best.pt", "data": "my.yaml"}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector()


@pytest.fixture(scope="module")
def times(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pack = fit_pack(LatencyPackConfig(weights=Path("best.pt"), imgsz=(64, 64), networks=40), detector)
    return written(tmp_path_factory.mktemp("times") / "times.json", times_of(pack, macs_of(pack.facts)))


def test_the_time_that_channels_save(detector: Detector, times: Path) -> None:
    """On a device whose time is MACs, half of the time goes with the channels that half of the MACs go with."""
    groups, graph, refs = prunable_groups(detector, "coupled", 64)
    positions = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([one.width for one in groups]))
    ids = [ref.group for ref in refs]
    for latency, stays in (("60%", 0.6), ("10ms", 0.25)):
        config = SparsifyConfig(**GIVEN, latency=latency, times=(times,), imgsz=64)
        cost, gone = latency_share(config, detector, graph, ids, positions)
        assert gone == pytest.approx(1 - stays, rel=1e-6)
    assert cost.gone(torch.zeros(positions.numel(), dtype=torch.bool)) == 0
    saved = [cost.gone(torch.arange(positions.numel()) < count) for count in range(0, positions.numel(), 20)]
    assert saved == sorted(saved)
    assert saved[-1] > 0.9
    with pytest.raises(ConfigError, match=r"--latency 50ms: the network takes only 40.00 ms without a cut"):
        latency_share(config.changed(latency="50ms"), detector, graph, ids, positions)


def test_the_time_of_each_round() -> None:
    """Three rounds to 0.3 of the time: 0.3^(1/3), 0.3^(2/3), 0.3 of the first time; a round that cut too much is made up for."""
    whole, left = 0.3, 1.0
    for number in (1, 2, 3):
        share = share_of_round("latency-share", whole, number, 3, (1, 1), (1, 1), left)
        left *= share * (0.9 if number == 1 else 1.0)
    assert left == pytest.approx(0.3)
    assert share_of_round("latency-share", 0.5, 1, 2, (1, 1), (1, 1), 0.4) < 1


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.command)
def test_a_time_needs_a_source_and_a_source_a_time(kind: type[SparsifyConfig], times: Path) -> None:
    for given, message in (
        (
            {"latency": "50%"},
            r"--latency 50% is a time on a runtime: add --runtime onnxruntime to time it here, or --times",
        ),
        ({"times": (times,)}, r"--times holds the times for --latency: add --latency, or leave --times out"),
        ({"runtime": "openvino"}, r"--runtime says where --latency is timed: add --latency, or leave --runtime out"),
        ({"latency": "50%", "times": (times,), "macs": 0.5}, r"Got --macs and --latency"),
    ):
        with pytest.raises(ConfigError, match=message):
            kind(**GIVEN, **given)
    assert kind(**GIVEN, latency="8ms", times=(times,)).timing.given


def test_the_method_share_alone_takes_a_time(times: Path) -> None:
    with pytest.raises(ConfigError, match=r"--latency belongs to `--method share`"):
        SparsifyConfig(**GIVEN, latency="50%", times=(times,), method="reference")


def test_a_chain_refuses_other_times_before_it_trains(
    detector: Detector, times: Path, tiny_data: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best.pt", detector)
    shared: dict[str, Any] = {"data": tiny_data, "weights": tmp_path / "best.pt", "latency": "50%", "times": (times,)}
    shared |= {"imgsz": 96, "project": tmp_path / "runs"}
    for run in (lambda: compress(CompressConfig(**shared, epochs=0)), lambda: iterate(IterateConfig(**shared))):
        with pytest.raises(ConfigError, match="the size here is 96 x 96: give --imgsz 64"):
            run()
    with pytest.raises(ConfigError, match="times of another network"):
        compress(CompressConfig(**{**shared, "imgsz": 64, "weights": None}, cfg="yolov5n", epochs=1))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_chains_meet_the_time_of_another_device(
    detector: Detector, times: Path, tiny_data: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best.pt", detector)
    shared: dict[str, Any] = {"data": tiny_data, "weights": tmp_path / "best.pt", "latency": "50%", "times": (times,)}
    shared |= {"imgsz": 64, "batch_size": 4, "workers": 0, "seed": 0}
    macs = macs_of(NetworkFacts.of(detector, (64, 64)))
    whole = macs(NetworkFacts.of(detector, (64, 64)).shapes)
    made = {
        "compress": compress(
            CompressConfig(**shared, epochs=0, sparse_epochs=2, finetune_epochs=1, noplots=True, project=tmp_path / "c")
        ),
        "iterate": iterate(
            IterateConfig(**shared, rounds=2, round_epochs=1, epochs=1, repair_images=8, project=tmp_path / "i")
        ),
    }
    for name, record in made.items():
        cut = load_checkpoint(record.weights).detector()
        assert macs(NetworkFacts.of(cut, (64, 64)).shapes) / whole == pytest.approx(0.5, rel=0.08), name
    latency = json.loads((tmp_path / "c" / "exp" / "pruned" / "record.json").read_text())["latency"]
    assert latency["device"].startswith("Raspberry Pi 5")
    assert latency["asked_ms"] == pytest.approx(20, rel=1e-6)
