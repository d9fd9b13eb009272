"""Closed formulas and properties of drawings, label lines, crops, tables and videos; the predict command end to end."""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.errors import ConfigError, StorageError
from slimyolo.geometry import Detections
from slimyolo.inference import (
    CSV_COLUMNS,
    VIDEO_SUFFIXES,
    FreeNames,
    Picture,
    PictureWindow,
    VideoFile,
    class_colour,
    crop_detection,
    csv_text,
    detection_rows,
    draw_detections,
    lettering,
    safe_file_name,
    write_picture,
    yolo_lines,
)
from slimyolo.inference.drawing import _readable_on
from slimyolo.inference.lettering import can_write
from slimyolo.tasks.common.speaking import speak
from slimyolo.tasks.predict.earlier_files import EarlierFiles

TWO = Detections.from_rows([[10, 20, 50, 60, 0.9, 0], [0, 0, 100, 80, 0.5, 1]], "source")
NAMES = ("face", "face_mask")


def test_label_lines_are_relative_and_can_be_read_back() -> None:
    assert yolo_lines(TWO, (80, 100)) == ["0 0.3 0.5 0.4 0.5", "1 0.5 0.5 1 1"]
    assert yolo_lines(TWO, (80, 100), confidences=True)[0] == "0 0.3 0.5 0.4 0.5 0.9"
    assert yolo_lines(Detections.empty(), (80, 100)) == []


def test_rows_and_csv() -> None:
    rows = detection_rows(Picture(np.zeros((80, 100, 3), np.uint8), "a", Path("p/a.jpg")), TWO, NAMES)
    assert rows[0] == {
        "image": "p/a.jpg",
        "frame": None,
        "class": 0,
        "name": "face",
        "score": 0.9,
        "x1": 10.0,
        "y1": 20.0,
        "x2": 50.0,
        "y2": 60.0,
    }
    table = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [row["name"] for row in table] == ["face", "face_mask"]
    assert csv_text([]) == ",".join(CSV_COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((10, 20, 50, 60), (44, 44)),  # 5 % wider on each side
        ((-9, -9, 200, 200), (80, 100)),  # limited to the picture
        ((99.9, 79.9, 99.9, 79.9), (1, 1)),  # never empty
    ],
)
def test_crops(box: tuple[float, ...], shape: tuple[int, int]) -> None:
    assert crop_detection(np.zeros((80, 100, 3), np.uint8), box).shape[:2] == shape


def test_drawing_leaves_the_picture_alone_and_marks_the_box() -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    detections = Detections.from_rows([[50, 80, 150, 180, 0.9, 0]], "source")
    drawn = draw_detections(image, detections, NAMES, labels=False, line_thickness=3)
    assert (image == 128).all()
    assert tuple(drawn[130, 50]) == class_colour(0)
    assert tuple(drawn[130, 100]) == (128, 128, 128)
    assert (draw_detections(image, Detections.empty(), NAMES) == image).all()


@pytest.mark.parametrize("size", [(40, 40), (64, 48), (320, 320), (30, 400), (2000, 3000)])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0.7, 0.7, 1, 1), (0, 0, 0.2, 0.2), (0.4, 0.4, 0.5, 0.5)])
def test_labels_are_drawn_wherever_the_box_is(size: tuple[int, int], box: tuple[float, ...]) -> None:
    height, width = size
    image = np.full((height, width, 3), 200, np.uint8)
    row = [box[0] * width, box[1] * height, box[2] * width, box[3] * height, 0.87, 1]
    detections = Detections.from_rows([row], "source")
    plain = draw_detections(image, detections, NAMES, labels=False)
    labelled = draw_detections(image, detections, NAMES)
    assert (plain != labelled).any(2).sum() > 60


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    image = np.full((300, 300, 3), 255, np.uint8)
    rows = [[100, 100, 200, 200, 0.9, 0], [101, 100, 200, 200, 0.8, 1]]
    drawn = draw_detections(image, Detections.from_rows(rows, "source"), NAMES)
    filled = [int((drawn == class_colour(number)).all(2).sum()) for number in (0, 1)]
    assert min(filled) > 300


def test_names_in_other_scripts_are_drawn_as_they_are() -> None:
    image = np.full((200, 300, 3), 255, np.uint8)
    one = Detections.from_rows([[50, 80, 250, 180, 0.9, 1]], "source")
    if not can_write("口罩"):
        pytest.skip("neither OpenCV 5 nor a font with Chinese letters is here")
    chinese = draw_detections(image, one, ("脸", "口罩"))
    assert (chinese != draw_detections(image, one, ("x", "class 1"))).any()
    assert (chinese != draw_detections(image, one, ("x", "口口"))).any()


def test_names_that_the_pen_cannot_write_are_replaced_by_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((200, 300, 3), 255, np.uint8)
    one = Detections.from_rows([[50, 80, 250, 180, 0.9, 1]], "source")
    for name in ("mask\n", "\U0010fffd", ""):
        assert (draw_detections(image, one, ("x", name)) == draw_detections(image, one, ("x", "class 1"))).all()
    monkeypatch.setattr(lettering, "_pen", lambda: lettering._StrokePen())
    can_write.cache_clear()
    assert not can_write("口罩")
    assert can_write("mask")
    can_write.cache_clear()


@pytest.mark.parametrize("pen", ["built-in", "font file", "strokes"])
def test_every_pen_writes_one_line_of_the_same_height(pen: str) -> None:
    if pen == "built-in" and int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("OpenCV 4 has no fonts of its own")
    font = lettering.find_font()
    assert font is not None  # matplotlib brings one
    pens = {"built-in": lettering._BuiltInPen, "strokes": lettering._StrokePen}
    one = lettering._FontFilePen(font) if pen == "font file" else pens[pen]()
    inks = [one.write(text, 20) for text in ("i", "face_mask 0.87", "Ágj|")]
    assert len({ink.shape[0] for ink in inks}) == 1
    assert inks[0].shape[1] < inks[1].shape[1]
    for ink in inks:
        assert ink.dtype == np.uint8
        assert (ink > 128).sum() > 10
        assert not ink[0].any()  # nothing is cut off above or below
        assert not ink[-1].any()


def test_the_font_that_comes_with_matplotlib_is_the_last_resort() -> None:
    font = lettering.find_font(lambda path: "mpl-data" in path.parts)
    assert font is not None
    assert font.is_file()
    assert lettering.find_font(lambda _: False) is None


@pytest.mark.parametrize("index", range(20))
def test_labels_have_contrast_with_their_colour(index: int) -> None:
    def luminance(bgr: tuple[int, ...]) -> float:
        blue, green, red = ((v / 255) / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in bgr)
        return 0.0722 * blue + 0.7152 * green + 0.2126 * red

    paper, ink = luminance(class_colour(index)), luminance(_readable_on(class_colour(index)))
    assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) >= 4.5  # WCAG AA


@pytest.mark.parametrize("side", [160, 640, 2000])
def test_labels_grow_with_the_picture(side: int) -> None:
    image = np.full((side, side, 3), 255, np.uint8)
    row = [side * 0.3, side * 0.4, side * 0.9, side * 0.9, 0.9, 0]
    drawn = draw_detections(image, Detections.from_rows([row], "source"), NAMES, line_thickness=1)
    filled = (drawn == class_colour(0)).all(2)
    rows = np.flatnonzero(filled[:, int(side * 0.3) + 1 : int(side * 0.3) + 2].any(1))
    height = len(rows[rows < side * 0.4 - 1])
    assert max(12, side * 0.03) <= height <= max(20, side * 0.06)


def test_colours_differ_and_repeat() -> None:
    assert len({class_colour(index) for index in range(20)}) == 20
    assert class_colour(20) == class_colour(0)


def test_pictures_of_one_name_do_not_overwrite_one_another() -> None:
    stems, blank = FreeNames(), np.zeros((1, 1, 3), np.uint8)
    pictures = [Picture(blank, "1", Path(folder) / "1.jpg") for folder in ("a", "b", "a")]
    assert [stems.stem(picture) for picture in pictures] == ["1", "1_2", "1"]


@pytest.mark.parametrize(
    ("files", "stems"),
    [
        # sorted as they are read; frames of a video are called stem_0, stem_1 …
        (["a.jpg", "a.png", "a_2.jpg"], ["a", "a_3", "a_2"]),  # a_2.jpg keeps its name although it comes later
        (["clip.avi", "clip_3.jpg"], ["clip_2", "clip_3"]),  # else frame 3 would have the files of clip_3.jpg
        (["clip.avi", "clip_x.jpg", "clip.jpg"], ["clip_2", "clip_x", "clip"]),
        (["clip.avi", "clip.mp4", "clip_2_7.png"], ["clip", "clip_3", "clip_2_7"]),
        (["A.jpg", "a.jpg"], ["A", "a_2"]),  # one file on some systems
        (["v.1.avi", "v.2.avi"], ["v.1", "v.2"]),
        (["x/1.jpg", "y/1.jpg", "x/1_2.jpg", "z/1.jpg"], ["1", "1_3", "1_2", "1_4"]),
    ],
)
def test_stems(files: list[str], stems: list[str]) -> None:
    paths = [Path(name) for name in files]
    names, blank = FreeNames(path for path in paths if path.suffix not in VIDEO_SUFFIXES), np.zeros((1, 1, 3), np.uint8)
    for _ in range(2):
        pictures = [Picture(blank, path.stem, path, 0 if path.suffix in VIDEO_SUFFIXES else None) for path in paths]
        assert [names.stem(picture) for picture in pictures] == stems


def test_written_pictures(tmp_path: Path) -> None:
    image = np.full((10, 12, 3), 7, np.uint8)
    assert write_picture(tmp_path / "ä b.png", image).read_bytes()[:4] == b"\x89PNG"
    assert write_picture(tmp_path / "a.mpo", image).name == "a.mpo.jpg"
    assert write_picture(tmp_path / "plain", image).name == "plain.jpg"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_picture(tmp_path / "file" / "a.png", image)


def test_safe_file_names() -> None:
    assert safe_file_name("face/mask: no?") == "face_mask_ no_"
    assert safe_file_name("..") == "unnamed"


def test_videos(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "out" / "clip") as video:
        for size in ((48, 64), (24, 32)):
            video.add(np.zeros((*size, 3), np.uint8), 10.0)
    assert cv2.VideoCapture(str(video.path)).get(cv2.CAP_PROP_FRAME_COUNT) == 2


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from slimyolo.checkpoints import save_checkpoint
    from slimyolo.families import read_architecture
    from slimyolo.models import build_detector

    detector = build_detector(read_architecture("yolov5n").with_classes(2), names=NAMES)
    save_checkpoint(tmp_path / "model.pt", detector)
    return tmp_path / "model.pt"


def test_the_predict_command(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from slimyolo.tasks.predict.config import PredictConfig
    from slimyolo.tasks.predict.predict import predict

    pictures = tmp_path / "pictures"
    for folder in ("", "other"):
        (pictures / folder).mkdir(parents=True, exist_ok=True)
        write_picture(pictures / folder / "a.png", np.full((60, 80, 3), 90, np.uint8))
    (pictures / "zero.jpg").write_bytes(b"")
    config = PredictConfig(
        weights=checkpoint,
        source=f"{pictures}/**/*.*",
        imgsz=64,
        conf=0.0001,
        max_det=3,
        project=tmp_path / "runs",
        save_txt=True,
        save_conf=True,
        save_json=True,
        save_csv=True,
        save_crop=True,
    )
    speak()
    record = predict(config)
    assert (record.images, record.detections, len(record.broken)) == (2, 6, 1)
    printed = capsys.readouterr()
    assert all(f"{stage} " in printed.out for stage in ("read", "prepare", "network", "nms", "write"))
    assert "2 pictures, 6 detections, 1 skipped" in printed.out
    assert "zero.jpg: skipped." in printed.err
    files = {str(path.relative_to(record.folder)) for path in record.folder.rglob("*") if path.is_file()}
    assert {"a.png", "a_2.png", "labels/a.txt", "labels/a_2.txt", "detections.json", "detections.csv"} <= files
    assert sum(file.startswith("crops/") for file in files) == 6
    assert len((record.folder / "labels" / "a.txt").read_text().split()) == 3 * 6
    entries = json.loads((record.folder / "detections.json").read_text())["images"]
    assert [len(entry.get("detections", [])) for entry in entries] == [3, 3, 0]
    assert "empty" in entries[2]["error"]
    assert predict(config.changed(nosave=True)).folder.name == "exp2"


def command(checkpoint: Path, source: object, folder: Path, *words: str) -> int:
    base = ["predict", "--weights", str(checkpoint), "--source", str(source), "--project", str(folder), "--imgsz", "64"]
    return run_safely(lambda: run_command_line([*base, "--conf", "0.0001", "--max-det", "3", *words]))


def test_exit_statuses_of_predict(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, broken = tmp_path / "good.png", tmp_path / "broken.jpg"
    write_picture(good, np.full((60, 80, 3), 90, np.uint8))
    broken.write_text("no picture")
    assert command(checkpoint, tmp_path / "*.*g", tmp_path / "runs") == 0  # one of two
    assert "broken.jpg: skipped." in capsys.readouterr().err
    assert command(checkpoint, broken, tmp_path / "runs") == 1  # none at all
    assert command(checkpoint, tmp_path / "none.jpg", tmp_path / "runs") == 2  # nothing to read


def test_json_on_standard_output(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "a.png", np.full((60, 80, 3), 90, np.uint8))
    assert command(checkpoint, tmp_path / "a.png", tmp_path / "runs", "--json", "--nosave") == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["images"][0]["detections"]) == 3
    assert set(document["speed_ms"]) == {"read", "prepare", "network", "nms", "write"}
    assert not (tmp_path / "runs").exists()


def test_a_video_goes_in_and_a_video_comes_out(checkpoint: Path, tmp_path: Path) -> None:
    with VideoFile(tmp_path / "clip") as video:
        for number in range(9):
            video.add(np.full((48, 64, 3), 20 * number, np.uint8), 12.0)
    assert command(checkpoint, video.path, tmp_path / "runs", "--vid-stride", "2", "--save-txt", "--save-crop") == 0
    written = cv2.VideoCapture(str(tmp_path / "runs" / "exp" / "clip.mp4"))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 5  # frames 0, 2, 4, 6, 8
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(6.0)
    labels = sorted(path.name for path in (tmp_path / "runs" / "exp" / "labels").iterdir())
    assert labels == [f"clip_{number}.txt" for number in (0, 2, 4, 6, 8)]


def test_ctrl_c_keeps_what_was_found(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimyolo.tasks.predict import predict as task

    def interrupted(*_: object, **__: object) -> Iterator[object]:
        from slimyolo.inference import BrokenPicture

        yield BrokenPicture("a.jpg", "Cannot read the image a.jpg.")
        raise KeyboardInterrupt

    monkeypatch.setattr(task, "predict_pictures", interrupted)
    assert command(checkpoint, "0", tmp_path / "runs", "--save-json") == 130
    assert "a.jpg" in (tmp_path / "runs" / "exp" / "detections.json").read_text()


def test_show_without_a_display_is_refused_before_any_work(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("other systems have a display that cannot be taken away")
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert command(checkpoint, "0", tmp_path / "runs", "--show") == 2
    error = capsys.readouterr().err
    assert "--show needs a display" in error
    assert "slimyolo serve" in error


class FakeTk:
    """As much of tkinter as the window asks for; there is no display where the tests run."""

    def __init__(self) -> None:
        self.bound: dict[str, Callable[..., object]] = {}
        self.pictures: list[bytes] = []
        self.updates = 0

    def protocol(self, name: str, action: Callable[..., object]) -> None:
        self.bound[name] = action

    def bind(self, name: str, action: Callable[..., object]) -> None:
        self.bound[name] = action

    def winfo_screenwidth(self) -> int:
        return 100

    def winfo_screenheight(self) -> int:
        return 100

    def update(self) -> None:
        self.updates += 1

    def after(self, _: int) -> None:
        self.bound["q"](None)  # somebody presses q

    def destroy(self) -> None: ...

    def pack(self) -> None: ...

    def configure(self, image: object) -> None: ...

    def photo(self, data: bytes) -> object:
        self.pictures.append(base64.b64decode(data))
        return object()


def test_the_window_shows_pictures_that_fit_the_screen_until_it_is_closed() -> None:
    tk = FakeTk()
    window = PictureWindow(tk, tk, tk.photo)
    window.show(np.zeros((400, 200, 3), np.uint8))
    shown = cv2.imdecode(np.frombuffer(tk.pictures[0], np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (90, 45, 3)
    window.wait()
    assert window.closed
    window.show(np.zeros((40, 20, 3), np.uint8))
    assert len(tk.pictures) == 1


def test_a_class_that_the_model_does_not_have(checkpoint: Path) -> None:
    from slimyolo.tasks.predict.config import PredictConfig
    from slimyolo.tasks.predict.predict import predict

    with pytest.raises(ConfigError, match=r"the model has no class 5\. It has 0 face, 1 face_mask"):
        predict(PredictConfig(weights=checkpoint, source="x", classes=(5,), device="cpu"))
    with pytest.raises(ConfigError, match="--half needs a GPU"):
        predict(PredictConfig(weights=checkpoint, source="x", half=True, device="cpu"))


def test_a_wrong_source_leaves_no_run_folder(checkpoint: Path, tmp_path: Path) -> None:
    from slimyolo.errors import DataError
    from slimyolo.tasks.predict.config import PredictConfig
    from slimyolo.tasks.predict.predict import predict

    with pytest.raises(DataError, match="There is no image"):
        predict(PredictConfig(weights=checkpoint, source="none.jpg", project=tmp_path / "runs", device="cpu"))
    assert not (tmp_path / "runs").exists()


def test_the_inspect_command(checkpoint: Path) -> None:
    from slimyolo.tasks.inspect import inspect
    from slimyolo.tasks.inspect_config import InspectConfig

    text = inspect(InspectConfig(file=checkpoint))
    assert "Classes" in text
    assert "2: face, face_mask" in text
    assert json.loads(inspect(InspectConfig(file=checkpoint, json_output=True)))["nc"] == 2


def test_earlier_results_of_the_same_pictures_are_removed(checkpoint: Path, tmp_path: Path) -> None:
    """--exist-ok: x.jpg had detections and now has none; y.jpg belongs to another run; a person has put a file there."""
    run = tmp_path / "runs" / "same"
    kept = ("labels/y.txt", "crops/face/y_1.jpg", "y.jpg", "labels/x_large.txt", "notes.txt", "labels/xx.txt")
    earlier = ("labels/x.txt", "crops/face/x_1.jpg", "crops/mask/x_12.jpg", "detections.json", "detections.csv")
    for name in (*kept, *earlier):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("earlier")
    cv2.imwrite(str(tmp_path / "x.jpg"), np.zeros((40, 40, 3), np.uint8))
    words = ("--name", "same", "--exist-ok", "--conf", "1", "--save-txt", "--save-crop")
    assert command(checkpoint, tmp_path / "x.jpg", run.parent, *words) == 0
    assert sorted(str(path.relative_to(run)) for path in run.rglob("*.*")) == sorted([*kept, "x.jpg"])


def test_files_of_frames_that_are_skipped_now_are_removed(tmp_path: Path) -> None:
    names = ("labels/v_0.txt", "labels/v_3.txt", "crops/a/v_3_1.jpg", "v.mp4", "labels/v_x.txt", "labels/w_0.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    EarlierFiles(tmp_path, keep=frozenset([tmp_path / "v.mp4"])).remove("v")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["v.mp4", "v_x.txt", "w_0.txt"]


def test_a_drawing_never_replaces_the_picture_itself(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((40, 40, 3), np.uint8))
    before = (tmp_path / "x.png").read_bytes()
    assert command(checkpoint, tmp_path, tmp_path.parent, "--name", tmp_path.name, "--exist-ok") == 2
    assert "would replace the picture" in capsys.readouterr().err
    assert (tmp_path / "x.png").read_bytes() == before
