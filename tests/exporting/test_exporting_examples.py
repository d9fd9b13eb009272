"""Parity: the example programs beside exported files run without slimyolo, and find what `slimyolo.predict` finds.

The C++ example is compiled against stand-ins for ONNX Runtime and OpenCV, which may not be installed. The headers of the
stand-ins declare what the example uses, and read the image and the output of the model from raw files. In this way the
example's own letterbox, decoding and NMS are run. When ``$SLIMYOLO_ONNXRUNTIME`` names a folder of ONNX Runtime with include/
and lib/, and cmake and OpenCV's headers are installed, the example is built by its CMakeLists.txt and run on the file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exporting_networks import LAYOUT, NAMES, SUPPRESSION, make_small_detector, settings_for
from torch import Tensor

import slimyolo
from slimyolo.detections import nms
from slimyolo.exporting import FORMATS, Example, FileMetadata, export_detector, write_examples
from slimyolo.exporting.examples import example_texts
from slimyolo.geometry import Detections, Placement

STUBS = Path(__file__).parent / "cpp_stubs"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    generator = np.random.default_rng(0)
    small = generator.integers(0, 255, (9, 11, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (66, 90), interpolation=cv2.INTER_CUBIC))
    return path


def found_by_example(script: Path, picture: Path, *words: str) -> list[tuple[str, list[float]]]:
    """The name and [score, x1, y1, x2, y2] of each printed line."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(picture), *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


def suppress(rows: Tensor) -> list[Tensor]:
    return nms(rows, SUPPRESSION.conf, SUPPRESSION.iou, layout=LAYOUT, multi_label=False, max_det=SUPPRESSION.max_det)


def parsed(text: str) -> list[tuple[str, list[float]]]:
    lines = [line.split() for line in text.splitlines()]
    return [(name, [float(value) for value in values]) for name, *values in lines]


def example_of(name: str) -> Example:
    """The example of a format that has one."""
    example = FORMATS[name].example
    assert example is not None
    return example


def check(found: list[tuple[str, list[float]]], expected: Detections) -> None:
    """Check that the detections are the same to the two printed decimals; equal scores may be in another order."""
    assert len(found) == len(expected) > 3
    ours = [
        (NAMES[int(number)], [float(score), *map(float, box)])
        for box, score, number in zip(expected.boxes, expected.scores, expected.classes, strict=True)
    ]
    remaining = list(found)
    for name, values in ours:
        near = [one for one in remaining if one[0] == name and np.allclose(one[1], values, atol=0.011)]
        assert near, f"{name} {values} is not among what the example found"
        remaining.remove(near[0])


@pytest.mark.parametrize(
    ("name", "dynamic", "inside"),
    [
        ("torchscript", True, False),
        pytest.param("torchscript", False, True, marks=pytest.mark.slow),
        ("ncnn", False, False),
    ],
)
def test_python_examples(tmp_path: Path, picture: Path, name: str, dynamic: bool, inside: bool) -> None:
    if name == "ncnn":
        pytest.importorskip("ncnn")
        pytest.importorskip("pnnx")
    detector = make_small_detector()
    settings = settings_for(detector, size=(32, 48), dynamic=dynamic, nms=SUPPRESSION if inside else None)
    assert settings.metadata is not None
    path = tmp_path / f"small{FORMATS[name].ending}"
    file = export_detector(detector, FORMATS[name], path, settings, suppress=suppress)
    written, kept = write_examples(name, file.path, settings.metadata)
    assert kept == ()
    assert written[0] == tmp_path / f"small_{name}_example" / "detect.py"
    text = written[0].read_text(encoding="utf-8")
    assert "import slimyolo" not in text
    assert ("import torch" in text) == (name == "torchscript")
    found = found_by_example(written[0], picture, "--out", str(tmp_path / "drawn.png"))
    check(found, slimyolo.predict(path, picture, imgsz=(32, 48))[0])
    assert cv2.imread(str(tmp_path / "drawn.png")).shape == (90, 66, 3)
    image = cv2.imread(str(picture))
    check(found, slimyolo.predict(path, image, imgsz=(32, 48))[0])


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_examples_of_formats_that_take_long_to_write(
    small_files: dict[str, Path], tmp_path: Path, picture: Path, name: str
) -> None:
    model = tmp_path / f"small{FORMATS[name].ending}"
    metadata = settings_for(make_small_detector()).metadata
    assert metadata is not None
    if name == "onnx":
        shutil.copy(small_files["onnx"], model)
    else:  # as write_openvino does, without another capture
        openvino = pytest.importorskip("openvino")
        read = openvino.Core().read_model(str(small_files["onnx"]))
        for key, value in metadata.to_text().items():
            read.set_rt_info(value, ["slimyolo", key])
        openvino.save_model(read, str(model / "small.xml"), compress_to_fp16=False)
    (tmp_path / "example").mkdir()
    script = tmp_path / "example" / "detect.py"
    text = example_texts(example_of(name), model.name, metadata)["detect.py"]
    assert "import slimyolo" not in text
    assert "import torch" not in text
    script.write_text(text, encoding="utf-8")
    check(found_by_example(script, picture), slimyolo.predict(model, picture)[0])


def test_an_example_that_somebody_changed_stays(small_files: dict[str, Path], tmp_path: Path) -> None:
    detector = make_small_detector()
    settings = settings_for(detector)
    file = export_detector(detector, FORMATS["torchscript"], tmp_path / "small.torchscript", settings)
    other = settings_for(detector, size=(64, 64)).metadata
    assert settings.metadata is not None
    assert other is not None
    (script,), _ = write_examples("torchscript", file.path, settings.metadata)
    assert write_examples("torchscript", file.path, other) == ((script,), ())
    script.write_text("# mine\n" + script.read_text(encoding="utf-8"), encoding="utf-8")
    assert write_examples("torchscript", file.path, other) == ((), (script,))
    assert script.read_text(encoding="utf-8").startswith("# mine")


def test_texts_are_complete_and_plain() -> None:
    metadata = FileMetadata(names=('with "quotes"', "back\\slash"), stride=32, imgsz=(320, 256), slimyolo="1.2.3")
    for name in ("onnx", "openvino", "ncnn", "torchscript", "litert"):
        texts = example_texts(example_of(name), "best.x", metadata)
        for text in texts.values():
            assert not [word for word in text.split("@")[1::2] if word.isupper()], "a placeholder was left"
            assert text.endswith("\n")
        compile(texts["detect.py"], "detect.py", "exec")
    source = example_texts(example_of("onnx"), "best.onnx", metadata)["detect.cpp"]
    assert '{"with \\"quotes\\"", "back\\\\slash"}' in source
    assert "kHeight = 320, kWidth = 256;" in source


@pytest.mark.skipif("SLIMYOLO_ONNXRUNTIME" not in os.environ, reason="$SLIMYOLO_ONNXRUNTIME names no ONNX Runtime")
@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
@pytest.mark.parametrize("values", [{}, {"dynamic": True}, {"nms": SUPPRESSION}], ids=["static", "dynamic", "nms"])
def test_the_cpp_example_with_the_real_libraries(picture: Path, tmp_path: Path, values: dict[str, object]) -> None:
    detector = make_small_detector()
    settings = settings_for(detector, **values)
    assert settings.metadata is not None
    file = export_detector(detector, FORMATS["onnx"], tmp_path / "small.onnx", settings, suppress=suppress)
    (folder,) = {path.parent for path in write_examples("onnx", file.path, settings.metadata)[0]}
    root = Path(os.environ["SLIMYOLO_ONNXRUNTIME"]).resolve()
    for words in (["-S", str(folder), "-B", "build", "-D", f"ONNXRUNTIME={root}"], ["--build", "build"]):
        done = subprocess.run(["cmake", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        [str(tmp_path / "build" / "detect"), str(picture), str(file.path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    python = found_by_example(folder / "detect.py", picture)
    check(parsed(done.stdout), slimyolo.predict(file.path, picture, imgsz=(32, 48))[0])
    check(python, slimyolo.predict(file.path, picture, imgsz=(32, 48))[0])


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("inside", [False, True])
def test_the_cpp_example_against_stand_ins(tmp_path: Path, inside: bool) -> None:
    detector = make_small_detector()
    metadata = settings_for(detector, nms=SUPPRESSION if inside else None).metadata
    assert metadata is not None
    for name, text in example_texts(example_of("onnx"), "small.onnx", metadata).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    program = tmp_path / "detect"
    words = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{STUBS}"]
    done = subprocess.run([*words, str(tmp_path / "detect.cpp"), "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # an image that needs a border alone: the stand-in for cv::resize does nothing
    image = np.random.default_rng(0).integers(0, 255, (32, 22, 3), dtype=np.uint8)
    np.concatenate(([32.0, 22.0], image.ravel())).astype(np.float32).tofile(tmp_path / "image.raw")
    images = np.full((32, 48, 3), 114, np.uint8)
    images[:, 13:35] = image
    batch = torch.from_numpy(np.ascontiguousarray(images[:, :, ::-1].transpose(2, 0, 1)))[None].float() / 255
    with torch.no_grad():
        rows = detector(batch)
    if inside:
        (kept,) = nms(rows, 0.25, 0.45, layout=LAYOUT, multi_label=False, max_det=40)
        rows = torch.zeros(1, 40, 6)
        rows[0, : len(kept)] = kept
    np.concatenate((rows.shape, rows.numpy().ravel())).astype(np.float32).tofile(tmp_path / "output.raw")
    done = subprocess.run(
        [str(program), "image.raw", "output.raw"], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    given = np.fromfile(tmp_path / "input.raw", np.float32).reshape(1, 3, 32, 48)
    np.testing.assert_allclose(given, batch.numpy(), atol=1e-6)
    found = rows[0, : len(kept)] if inside else nms(rows, 0.25, 0.45, layout=LAYOUT, multi_label=False, max_det=1000)[0]
    placement = Placement((1.0, 1.0), (13, 0), (32, 22), (32, 48))
    check(parsed(done.stdout), Detections.from_rows(found.numpy(), "network").to_source(placement))
