"""Table of cases: every number that a user or a file gives has a range, and what is outside is answered, never a traceback."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import slimyolo
import slimyolo.tasks
from slimyolo.data import read_dataset_yaml
from slimyolo.errors import CheckpointError, ConfigError, DataError, SlimyoloError
from slimyolo.exporting import FileMetadata, open_exported
from slimyolo.exporting.foreign_metadata import foreign_metadata
from slimyolo.exporting.metadata import check_input_shape
from slimyolo.families import read_architecture
from slimyolo.inference import read_pictures
from slimyolo.models import build_detector
from slimyolo.ranges import RANGES, check_ranges, in_range, range_sentence
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.train.hyperparameters import HyperParameters, read_hyperparameters

for module in pkgutil.walk_packages(slimyolo.tasks.__path__, "slimyolo.tasks."):
    if module.name.endswith(("config", "hyperparameters", "device_host")):
        importlib.import_module(module.name)

NO_NUMBERS: tuple[Any, ...] = (float("inf"), float("-inf"), float("nan"), "9" * 400, "²", "1e400", "inf")
HUGE: tuple[Any, ...] = (10**400, 2**63, 1e308, -(10**30), *NO_NUMBERS)


def _kinds(kind: type[Config] = Config) -> Iterator[type[Config]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def _holds_numbers(annotation: Any) -> bool:
    return annotation in (int, float) or any(_holds_numbers(part) for part in get_args(annotation))


NUMBERS = sorted(
    {
        (name, kind)
        for kind in _kinds()
        for name in kind.model_fields
        if _holds_numbers(kind.model_fields[name].annotation)
    },
    key=str,
)


def test_every_number_of_every_command_has_a_range() -> None:
    assert len(NUMBERS) > 150
    missing = {name for name, _ in NUMBERS} - set(RANGES)
    assert not missing, f"add them to slimyolo.ranges: {missing}"
    assert all(lowest < largest < 1e19 for lowest, largest in RANGES.values())


def test_each_setting_refuses_what_is_outside() -> None:
    """Each number of each command, with values that no computer can use; the other settings need not be complete."""
    for name, kind in NUMBERS:
        for value in HUGE:
            for given in (value, [value]):
                with pytest.raises(ConfigError) as caught:
                    kind(**{name: given})
                assert len(str(caught.value)) < 2000, (kind, name)


def test_the_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^cls_pw: got 1e\+308, expected a number from 0 to 100\.$"):
        check_ranges(cls_pw=1e308)
    with pytest.raises(ConfigError, match=r"Hyper-parameters: cls-pw: got 1e\+308, expected a number from 0 to 100"):
        read_hyperparameters(None, ("cls_pw=1e308",))
    assert "more than 4300 digits" in range_sentence("imgsz", 10**5000)
    assert not in_range("imgsz", float("nan"))
    check_ranges(imgsz=None, classes=(1, 2), conf=0.5)
    assert HyperParameters().lr0 == 0.01  # the defaults are in their ranges


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"imgsz": 10**9}, "imgsz: got 1000000000, expected a number from 1 to 8,192"),
        ({"conf": float("nan")}, "conf: got nan, expected a number from 0 to 1"),
        ({"max_det": 0}, "max_det: got 0"),
        ({"classes": [10**12]}, "classes: got 1000000000000"),
    ],
)
def test_arguments_of_functions(small_cfg: str, given: dict[str, Any], words: str) -> None:
    detector = build_detector(read_architecture(small_cfg), seed=0).eval()
    with pytest.raises(ConfigError, match=words):
        slimyolo.predict(detector, np.zeros((32, 32, 3), np.uint8), **given)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999", "99999999999999999999", "-1", '"\\ud800"', "[1]"])
@pytest.mark.parametrize("key", ["nc", "names", "kpt_shape", "path", "train", "val"])
def test_keys_of_a_dataset_yaml(tmp_path: Path, key: str, value: str) -> None:
    lines = {"train": ".", "names": "[a]", key: value}
    (tmp_path / "data.yaml").write_text("".join(f"{name}: {text}\n" for name, text in lines.items()))
    with contextlib.suppress(DataError):  # an answer, or an error of slimyolo's own
        read_dataset_yaml(tmp_path / "data.yaml").split("train")


@pytest.mark.parametrize("key", [".inf", ".nan", "1e999", "-1", '"²"', '"\\ud800"', "99999999999999999999"])
def test_numbers_of_class_names(tmp_path: Path, key: str) -> None:
    (tmp_path / "data.yaml").write_text(f"train: .\nnames: {{{key}: a}}\n")
    with pytest.raises(DataError, match="names"):
        read_dataset_yaml(tmp_path / "data.yaml")


def test_a_home_that_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: ~nobody_here\ntrain: ~nobody_here\nnames: [a]\n")
    with pytest.raises(DataError, match="~nobody_here"):
        read_dataset_yaml(tmp_path / "data.yaml")
    with pytest.raises(DataError, match="~nobody_here"):
        list(read_pictures("~nobody_here/a.jpg"))


def test_the_whole_disk_is_no_folder_of_pictures(tmp_path: Path) -> None:
    from slimyolo.data import read_split

    for place in ("/", "/proc", "/sys", "/dev"):
        (tmp_path / "data.yaml").write_text(f"path: {place}\ntrain: {place}\nnames: [a]\n")
        with pytest.raises(DataError, match="it holds the whole system"):
            read_split(read_dataset_yaml(tmp_path / "data.yaml"), "train")


@pytest.mark.parametrize("source", ["9" * 400, "12345", "²", "٣", "①"])
def test_sources_that_are_numbers_of_no_camera(source: str) -> None:
    with pytest.raises(DataError, match="There is no"):
        list(read_pictures(source))


GOOD = {"names": '["a", "b"]', "stride": "32", "imgsz": "[64, 64]", "batch": "1", "slimyolo": "1", "dynamic": "false"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("imgsz", [16384, 16384]),
        ("imgsz", [8192, 8192]),
        ("imgsz", [0, 64]),
        ("imgsz", [64, -1]),
        ("imgsz", [2**20, 2**20]),
        ("imgsz", [64.5, 64]),
        ("imgsz", [True, 64]),
        ("batch", 0),
        ("batch", 2**40),
        ("stride", 0),
        ("stride", 10**30),
        ("nms", {"conf": 0.1, "iou": 0.5, "max_det": 2**40}),
        ("nms", {"conf": float("nan"), "iou": 0.5, "max_det": 10}),
        ("cost", {"params": -1, "macs": 1, "imgsz": 1}),
        ("names", []),
    ],
)
def test_metadata_outside_their_ranges(key: str, value: Any) -> None:
    assert FileMetadata.from_text(GOOD, "a.onnx").imgsz == (64, 64)
    with pytest.raises(CheckpointError, match=f"the entry '{key}' of its metadata is"):
        FileMetadata.from_text({**GOOD, key: json.dumps(value)}, "a.onnx")


@pytest.mark.parametrize(
    "shape", [(0, 3, 64, 64), (2**40, 3, 64, 64), (1, 3, 2**20, 2**20), (1, 3, 0, 64), (4096, 3, 640, 640)]
)
def test_shapes_of_inputs(shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError, match="A batch has 1 to 4,096 images, a side 1 to 8,192 pixels"):
        check_input_shape(shape, "a.onnx")
    check_input_shape(("batch", 3, "height", "width"), "a.onnx")
    check_input_shape((64, 3, 640, 640), "a.onnx")
    text = {"names": "['a']", "stride": "32", "imgsz": json.dumps(shape[2:])}
    if max(shape[2:]) > 8192 or min(shape[2:]) < 1:
        with pytest.raises(CheckpointError, match="does not state the size of its images"):
            foreign_metadata(text, (), None, None, "a.onnx")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shape", [[2**40, 3, 64, 64], [1, 3, 2**20, 2**20], [4096, 3, 8192, 8192]])
def test_files_that_claim_too_much_are_refused_when_opened(tmp_path: Path, shape: list[int], runtime: str) -> None:
    pytest.importorskip(runtime)
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["images"], ["output0"])],
        "g",
        [value("images", onnx.TensorProto.FLOAT, shape)],
        [value("output0", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    for texts in (GOOD, {}):
        onnx.helper.set_model_props(model, texts)
        (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(SlimyoloError, match="takes inputs"):
            open_exported(tmp_path / "a.onnx", runtime=runtime, names=("a", "b"), threads=1)


def test_a_checkpoint_that_states_a_huge_size() -> None:
    from slimyolo.checkpoints.checkpoint import _image_size

    assert [_image_size(value) for value in (640, [320, 640], 16384, [8192, 8192], 0, float("inf"), "640")] == [
        (640, 640),
        (320, 640),
        None,
        None,
        None,
        None,
        None,
    ]
