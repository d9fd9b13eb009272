"""Table of cases: bench --times with the answers of two devices, whose times follow two laws of our own."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from made_times import macs_of, times_of, written

from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.main import run_command_line
from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import MacsShare, prune_module
from slimyolo.tasks.latency.device.times import read_times
from slimyolo.tasks.latency.pack import check_pack, fit_pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig
from slimyolo.tasks.latency.shapes import Shapes
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.bench_devices import bench_devices


@pytest.fixture(scope="module")
def files(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Fits and checks of a Pi (time is MACs) and of a NUC (half of the time is fixed), and two cut checkpoints."""
    folder = tmp_path_factory.mktemp("devices")
    pack = fit_pack(LatencyPackConfig(weights=Path("best.pt"), imgsz=(64, 64), networks=40), detector)
    macs, whole = macs_of(pack.facts), macs_of(pack.facts)(pack.facts.shapes)

    def half(shapes: Shapes) -> float:
        return 0.5 * whole + 0.5 * macs(shapes)

    nuc: dict[str, Any] = {"dense_ms": 20.0, "device": {"name": "nuc", "board": None, "processor": "N100"}}
    made = {
        "pi.json": written(folder / "pi.json", times_of(pack, macs)),
        "nuc.json": written(folder / "nuc.json", times_of(pack, half, **nuc)),
    }
    cut = {share: prune_module(detector, torch.zeros(1, 3, 64, 64), MacsShare(share)).model for share in (0.5, 0.3)}
    for name, model in (("dense.pt", detector), ("half.pt", cut[0.5]), ("third.pt", cut[0.3])):
        save_checkpoint(folder / name, model)
        made[name] = folder / name
    check = check_pack(read_times(made["pi.json"]), {"half.pt": cut[0.5]}, budget_ms=22.0)
    made["pi-check.json"] = written(folder / "pi-check.json", times_of(check, macs))
    return made


def test_which_candidate_meets_the_budget_on_which_device(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    config = BenchConfig(
        times=(files["pi.json"], files["nuc.json"], files["pi-check.json"]),
        weights=(files["dense.pt"], files["half.pt"], files["third.pt"]),
        latency="14ms",
        project=tmp_path,
    )
    record = bench_devices(config)
    rows = {(Path(one.candidate).name, one.device.partition(" ")[0]): one for one in record.candidates}
    assert len(rows) == len(record.candidates) == 6
    assert rows["dense", "Raspberry"].milliseconds == 40
    assert rows["half.pt", "Raspberry"].milliseconds == pytest.approx(20, rel=0.05)
    assert rows["half.pt", "Raspberry"].measured
    assert not rows["half.pt", "N100"].measured
    assert rows["half.pt", "N100"].milliseconds == pytest.approx(15, rel=0.05)
    assert rows["third.pt", "N100"].milliseconds == pytest.approx(13, rel=0.05)
    assert {key for key, one in rows.items() if one.meets} == {("third.pt", "Raspberry"), ("third.pt", "N100")}
    assert f"{files['half.pt']} does not meet the budget on: Raspberry Pi 5 (pi, 4 of 4 cores); N100" in caplog.text
    assert json.loads((tmp_path / "exp" / "record.json").read_text())["findings"] == list(record.findings)


def test_a_check_alone_brings_its_own_budget(files: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    words = ["bench", "--times", str(files["pi-check.json"]), "--project", str(tmp_path), "--json", "-"]
    assert run_command_line(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert [(one["candidate"], one["meets"]) for one in record["candidates"]] == [("dense", False), ("half.pt", True)]
    assert {one["budget_ms"] for one in record["candidates"]} == {22.0}


def test_what_cannot_be_compared(files: dict[str, Path], tmp_path: Path) -> None:
    for given, message in (
        ({}, r"--weights is required: add --weights FILE. Or compare devices: --times FILE FILE"),
        (
            {"weights": ("a.pt",), "latency": "5ms"},
            r"--latency is a budget for the devices of --times: add --times FILE",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            BenchConfig(**given)
    with pytest.raises(ConfigError, match=r"are answers of the same device to the same question. Give one of them"):
        bench_devices(BenchConfig(times=(files["pi.json"], files["pi.json"]), project=tmp_path))
    with pytest.raises(ConfigError, match=r"says nothing about .*third.pt: the device did not time it"):
        bench_devices(BenchConfig(times=(files["pi-check.json"],), weights=(files["third.pt"],), project=tmp_path))
