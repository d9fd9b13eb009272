"""Closed formula and table of cases: prices from times of a known law; times.json files that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_times import SMALL, macs_of, signed, small_detector, times_of, written

from mutants import is_another_kind, mutants
from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ConfigError
from slimyolo.families import load_checkpoint
from slimyolo.models import Detector
from slimyolo.pruning import ChannelShare, MacsShare, prune_module
from slimyolo.tasks.latency.device.archive import Pack
from slimyolo.tasks.latency.device.price import TimesPrice
from slimyolo.tasks.latency.device.times import DeviceTimes, read_all_times, read_times
from slimyolo.tasks.latency.pack import check_pack, fit_pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig
from slimyolo.tasks.latency.shapes import NetworkFacts, Shapes
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune

IMAGES = torch.zeros(1, 3, 64, 64)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector()


@pytest.fixture(scope="module")
def pack(detector: Detector) -> Pack:
    return fit_pack(LatencyPackConfig(weights=Path("best.pt"), imgsz=(64, 64), networks=40), detector)


@pytest.fixture
def times(pack: Pack, tmp_path: Path) -> Path:
    return written(tmp_path / "times.json", times_of(pack, macs_of(pack.facts)))


def test_a_device_whose_time_is_macs_is_predicted(detector: Detector, times: Path) -> None:
    price = TimesPrice(detector, (64, 64), read_times(times))
    assert price.dense_ms == pytest.approx(40.0, rel=1e-6)
    result = prune_module(detector, IMAGES, MacsShare(0.5))
    macs = macs_of(price.facts)
    cut = NetworkFacts.of(result.model, (64, 64)).shapes
    assert price(result.plan) == pytest.approx(40.0 * macs(cut) / macs(price.facts.shapes), rel=0.02)
    assert price.measured_share(result.plan) is None
    assert price.device == "Raspberry Pi 5 (pi, 4 of 4 cores)"


def test_a_check_corrects_the_prediction_where_it_was_made(
    detector: Detector, pack: Pack, times: Path, tmp_path: Path
) -> None:
    """A device where cut networks take 1.3 times what the fit says: at the checked network the price is its measured time."""
    fit = read_times(times)
    result = prune_module(detector, IMAGES, MacsShare(0.5))
    asked = check_pack(fit, {"pruned.pt": result.model}, budget_ms=20.0)
    assert [network.name for network in asked.networks] == ["dense", "pruned.pt"]
    macs, whole = macs_of(fit.facts), macs_of(fit.facts)(fit.facts.shapes)

    def slow(shapes: Shapes) -> float:
        return macs(shapes) * (1.0 if macs(shapes) == whole else 1.3)

    check = read_times(written(tmp_path / "check.json", times_of(asked, slow)))
    assert check.budget_ms == 20.0
    measured = check.milliseconds(check.networks[1])
    price = TimesPrice(detector, (64, 64), fit, [check])
    assert price(result.plan) == pytest.approx(measured, rel=1e-6)
    assert price.dense_ms == pytest.approx(40.0, rel=1e-6)
    smaller = prune_module(detector, IMAGES, MacsShare(0.3)).plan
    assert price(smaller) == pytest.approx(1.3 * TimesPrice(detector, (64, 64), fit)(smaller), rel=0.03)


def test_a_network_that_was_cut_before_is_a_part_of_the_one_that_was_timed(detector: Detector, times: Path) -> None:
    cut = prune_module(detector, IMAGES, ChannelShare(0.4)).model
    price = TimesPrice(cut, (64, 64), read_times(times))
    macs = macs_of(price.fit.facts)
    assert price.dense_ms == pytest.approx(40.0 * macs(price.facts.shapes) / macs(price.fit.facts.shapes), rel=0.03)


def test_prune_with_times_meets_the_budget_by_prediction_and_says_what_to_ask_the_device(
    detector: Detector, times: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    save_checkpoint(tmp_path / "best.pt", detector)
    config = PruneConfig(
        weights=tmp_path / "best.pt",
        latency="24ms",
        times=(times,),
        imgsz=64,
        importance="l2",
        project=tmp_path / "runs",
    )
    record = prune(config)
    assert record.latency is not None
    assert record.latency.measured_ms is None
    assert record.latency.predicted_ms == pytest.approx(24, rel=0.05)
    assert record.latency.device == "Raspberry Pi 5 (pi, 4 of 4 cores)"
    assert f"slimyolo latency check --weights {record.weights} --times {times}" in caplog.text
    assert load_checkpoint(record.weights).widths is not None
    share = prune(config.changed(latency="60%", name="share")).latency
    assert share is not None
    assert share.asked_ms == pytest.approx(24, rel=1e-6)


def test_times_of_another_network_are_refused(detector: Detector, times: Path, tmp_path: Path) -> None:
    fit = read_times(times)
    cases: list[tuple[Detector, tuple[int, int], str | None, str]] = [
        (
            detector,
            (96, 96),
            None,
            r"holds times for images of 64 x 64 pixels \(height x width\), and the size here is 96 x 96: give --imgsz 64",
        ),
        (detector, (64, 64), "ncnn", r"holds times of onnxruntime, not of ncnn: leave --runtime out, or pack"),
        (
            small_detector(SMALL.replace("nc: 2", "nc: 5")),
            (64, 64),
            None,
            r"times of another network: the layer model.6.m.0 is",
        ),
        (
            small_detector(SMALL.replace("[64, 3, 2]", "[96, 3, 2]")),
            (64, 64),
            None,
            r"is \[96, 32, 3, 3\] here, and \[64,",
        ),
        (
            small_detector(SMALL.replace("[64, 3, 2]", "[64, 1, 2]")),
            (64, 64),
            None,
            r"another kernel or another output size",
        ),
        (
            small_detector(SMALL.replace("1, C3, [32]", "1, Conv, [32]")),
            (64, 64),
            None,
            r"only one of the two has the layer",
        ),
    ]
    other = small_detector()
    other.set_activation_("hardswish")
    cases.append((other, (64, 64), None, r"holds times of a network with SiLU; this one has Hardswish"))
    for model, size, runtime, message in cases:
        with pytest.raises(ConfigError, match=message):
            TimesPrice(model, size, fit, runtime=runtime)


def test_files_that_are_not_whole_are_refused(times: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good: dict[str, Any] = json.loads(times.read_text())
    text = times.read_text()
    few = {**good, "summary": {key: good["summary"][key] for key in ("0", "1", "2")}, "complete": False}
    zero = {**good, "summary": {**good["summary"], "3": {**good["summary"]["3"], "share": 0.0}}}
    headless = {**good, "summary": {key: one for key, one in good["summary"].items() if key != "0"}}
    faceless = {key: value for key, value in good.items() if key != "device"}
    cases: list[tuple[Any, str]] = [
        (text[: len(text) // 2], "is not valid JSON"),
        ("", "is not valid JSON"),
        ([1, 2], "this is not a times.json. Expected the file that run.py"),
        ({"lr0": 0.1}, "this is not a times.json"),
        (signed({**good, "version": 2}), "got version 2 of the file, expected 1"),
        ({**good, "threads": 7}, "changed or damaged after the device wrote it"),
        (signed(few), "only 3 of 41 networks were timed. Go on with it on the device"),
        (signed(zero), r"summary\.3\.share: got 0, expected a number from"),
        (signed(headless), "the dense network was not timed"),
        (signed(faceless), r"the file lacks something, .*it lacks device"),
    ]
    for content, message in cases:
        with pytest.raises(ConfigError, match=message):
            read_times(written(tmp_path / "bad.json", content))
    with pytest.raises(ConfigError, match=r"Cannot read .*nothing.json: No such file.*Copy times.json"):
        read_times(tmp_path / "nothing.json")
    stopped = {key: one for key, one in good["summary"].items() if int(key) < 30}
    read = read_times(written(tmp_path / "stopped.json", signed({**good, "summary": stopped, "complete": False})))
    assert len(read.networks) == 30
    assert "was stopped early: 30 of 41 networks were timed" in caplog.text


def test_which_files_go_together(detector: Detector, pack: Pack, times: Path, tmp_path: Path) -> None:
    fit = read_times(times)
    asked = check_pack(fit, {"a.pt": prune_module(detector, IMAGES, MacsShare(0.5)).model})
    check = written(tmp_path / "check.json", times_of(asked, macs_of(pack.facts)))
    other = written(tmp_path / "other.json", times_of(asked, macs_of(pack.facts), device={"name": "nuc"}))
    assert read_all_times((check, times))[0].file == times
    with pytest.raises(ConfigError, match="got 2 files with the times of `slimyolo latency pack`, expected one"):
        read_all_times((times, times))
    with pytest.raises(ConfigError, match="got 0 files"):
        read_all_times((check,))
    with pytest.raises(ConfigError, match=r"other.json does not belong to .*times.json: its device differ"):
        read_all_times((times, other))


def test_options_that_contradict(times: Path) -> None:
    for given, message in (
        ({"latency": "50%"}, r"add --runtime onnxruntime, or --times times.json of another device"),
        (
            {"times": (times,)},
            r"--times holds the times for --latency \(or --per ms\): add --latency, or leave --times out",
        ),
        ({"runtime": "ncnn"}, r"--runtime says where --latency \(or --per ms\) is timed: add --latency"),
    ):
        with pytest.raises(ConfigError, match=message):
            PruneConfig(weights="best.pt", **given)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("manifest", "facts", "network"), []),
        (("manifest", "facts", "size"), [float("inf"), 64]),
        (("manifest", "budget_ms"), 10**400),
        (("manifest", "networks"), [{"name": "a", "shapes": None}]),
        (("summary",), None),
        (("versions",), "1"),
        (("threads",), float("inf")),
        (("complete",), ...),
    ],
    ids=str,
)
def test_a_file_of_somebody_else_with_a_right_checksum(times: Path, place: tuple[str, ...], value: Any) -> None:
    content = json.loads(times.read_text())
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    with pytest.raises(ConfigError, match="the file lacks something"):
        read_times(written(times, signed(content)))


@pytest.mark.parametrize("every", [pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]), 29])
def test_every_value_is_another_thing(times: Path, every: int) -> None:
    """It is refused, or nothing uses it."""
    content, right, refused = json.loads(times.read_text()), read_times(times), 0
    del content["digest"]
    tried = list(mutants(content, every=every))
    for what, changed in tried:
        found = read_or_refused(written(times, signed(changed)))
        if isinstance(found, str):
            refused += 1
            assert times.name in found, what
        else:
            assert found == right or not is_another_kind(content, what), what
    assert 0 < refused < len(tried)


def read_or_refused(file: Path) -> DeviceTimes | str:
    try:
        return read_times(file)
    except ConfigError as error:
        return str(error)
