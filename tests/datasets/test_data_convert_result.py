"""Table of cases: names, links and copies, errors of files and options; nothing half-made remains."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from foreign_datasets import (
    PICTURES,
    Picture,
    coco_document,
    voc_xml,
    write_coco,
    write_json,
    write_labelimg_voc,
    write_labelimg_yolo,
    write_picture,
    write_pictures,
)

from slimyolo.cli.main import run_command_line
from slimyolo.data.convert import layout
from slimyolo.data.convert.convert import Conversion, convert_dataset
from slimyolo.data.convert.layout import unique_names
from slimyolo.errors import ConfigError, DataError, StorageError

HALVES = (0.5, 0.5)


def convert(source: Path, folder: Path, **how: Any) -> Any:
    return convert_dataset(Conversion(source=source, folder=folder, **{"shares": HALVES, **how}))


# --- files


def test_names_that_are_not_unique(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a/1.jpg", "b/1.png", "b/2.jpg", "c/3.jpg", "c/3.PNG", f"d/{'x' * 230}.jpg")]
    names = unique_names(files)
    assert names[:5] == ("a__1.jpg", "b__1.png", "2.jpg", "c__3_jpg.jpg", "c__3_PNG.PNG")
    assert len(names[5]) < 70
    assert unique_names(()) == ()


def test_pictures_of_two_folders_with_the_same_name(tmp_path: Path) -> None:
    for number, folder in enumerate(("cam1", "cam2")):
        picture = Picture("1.jpg", (40, 60 + number), (("cat", 1.0, 1.0, 9.0, 9.0),))
        write_labelimg_voc(tmp_path / "source" / folder, (picture,))
    report = convert(tmp_path / "source", tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").glob("images/*/*")) == ["cam1__1.jpg", "cam2__1.jpg"]
    assert set(report.renamed.values()) == {str(tmp_path / "source" / folder / "1.jpg") for folder in ("cam1", "cam2")}


@pytest.mark.parametrize("placing", ["auto", "copy", "link"])
def test_links_and_copies(placing: str, tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in source.rglob("*") if path.is_file()}
    report = convert(source, tmp_path / "new", placing=placing)
    words = {"auto": "linked", "copy": "copied", "link": "symbolic links"}
    assert report.placed == {words[placing]: 3}
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in source.rglob("*") if path.is_file()
    }
    new = next((tmp_path / "new").glob("images/*/cat.jpg"))
    old = source / "images" / "default" / "cat.jpg"
    assert new.read_bytes() == old.read_bytes()
    assert new.samefile(old) == (placing != "copy")
    assert new.is_symlink() == (placing == "link")
    if placing != "link":
        shutil.rmtree(source)
        moved = (tmp_path / "new").rename(tmp_path / "moved")
        assert run_command_line(["data", "check", str(moved / "data.yaml")]) in (0, 1)
        assert next(moved.glob("images/*/cat.jpg")).stat().st_size > 0


def test_hard_links_that_are_not_possible_become_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(layout.os, "link", refuse)
    assert convert(write_coco(tmp_path / "source"), tmp_path / "new").placed == {"copied": 3}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_nothing_half_made_remains(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_coco(tmp_path / "source")
    calls = []

    def stop(*paths: object) -> None:
        calls.append(paths)
        if len(calls) == 2:
            raise error

    monkeypatch.setattr(layout, "_copy", stop)
    with pytest.raises((KeyboardInterrupt, StorageError)):
        convert(source, tmp_path / "deep" / "new", placing="copy")
    assert len(calls) == 2
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_used_folder_is_never_touched(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    with pytest.raises(
        DataError, match=r"used is not empty. Give the name of a new folder: nothing is ever overwritten"
    ):
        convert(source, tmp_path / "used")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=r"file exists. Give the name of a new folder"):
        convert(source, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    convert(source, tmp_path / "empty")
    assert (tmp_path / "empty" / "data.yaml").is_file()
    assert (tmp_path / "used" / "mine.txt").read_text() == "mine"


def test_a_folder_that_is_filled_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = write_coco(tmp_path / "source"), tmp_path / "new"
    usual = layout._yaml

    def meanwhile(*given: Any) -> str:
        folder.mkdir()
        (folder / "data.yaml").write_text("mine")
        return usual(*given)

    monkeypatch.setattr(layout, "_yaml", meanwhile)
    with pytest.raises(DataError, match="is not empty"):
        convert(source, folder)
    assert (folder / "data.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_not_a_file_is_not_opened(tmp_path: Path) -> None:
    source = write_labelimg_voc(tmp_path / "source")
    (source / "cat.jpg").unlink()
    os.mkfifo(source / "cat.jpg")
    report = convert(source, tmp_path / "new")
    assert report.counts == {"picture not readable": 1}
    assert "it is a pipe, expected a file" in report.left_out[0].message
    assert stat.S_ISFIFO((source / "cat.jpg").stat().st_mode)


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    source = write_labelimg_yolo(tmp_path / "source")
    odd = os.fsdecode(b"m\xfcde\n.jpg")
    (source / "cat.jpg").rename(source / odd)
    (source / "cat.txt").rename(source / f"{odd[:-4]}.txt")
    report = convert(source, tmp_path / "new")
    assert sum(split.boxes for split in report.splits) == 3
    "\n".join(report.lines()).encode()
    twin = source / "more" / odd
    twin.parent.mkdir()
    twin.write_bytes((source / odd).read_bytes())
    report = convert(source, tmp_path / "newer")
    written = json.loads((tmp_path / "newer" / "conversion.json").read_text())
    assert written["renamed"] == dict(report.renamed)
    assert str(twin) in report.renamed.values()


# --- classes


def test_classes_are_chosen_ordered_and_renamed(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source")
    report = convert(source, tmp_path / "a", classes=("dog", "cat=kitten"))
    assert report.names == ("dog", "kitten")
    report = convert(source, tmp_path / "b", classes=("dog=animal", "cat=animal"))
    assert report.names == ("animal",)
    assert sum(split.boxes for split in report.splits) == 3
    report = convert(source, tmp_path / "c", classes=("cat",))
    assert report.counts == {"class not chosen": 2}
    assert "Pictures that had boxes, and have none now: 1. They are kept as pictures without objects." in report.remarks


# --- errors


def hostile_xml(entity: str) -> str:
    return f'<?xml version="1.0"?><!DOCTYPE annotation [{entity}]><annotation><filename>&x;</filename></annotation>'


BILLION = '<!ENTITY y "ha"><!ENTITY x "&y;&y;&y;&y;&y;&y;&y;&y;">'
BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "JSON cut short": ("my.json", '{"images": [{"id": 1', "is not valid JSON: line 1: .* Is it complete"),
    "JSON too deep": ("my.json", '{"images": ' + "[" * 200_000, "nested too deeply"),
    "not UTF-8": ("my.json", b'{"images": [], "categories": "\xff"}', r"is not UTF-8 text \(byte 30\)"),
    "no categories": ("my.json", '{"images": [], "annotations": [], "categories": []}', "has no 'categories'"),
    "no image id": (
        "my.json",
        json.dumps({"images": [{}], "categories": [{"id": 1, "name": "a"}]}),
        "entry 0 of 'images' has no 'id'",
    ),
    "no file name": (
        "my.json",
        json.dumps({"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]}),
        "has no 'file_name'",
    ),
    "one number twice": (
        "my.json",
        json.dumps({"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}),
        "the category number 1 is used for 'a' and 'b'",
    ),
    "one name twice": (
        "my.json",
        json.dumps({"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 4, "name": "a"}]}),
        "the categories 1 and 4 have the same name 'a'",
    ),
    "category without name": (
        "my.json",
        '{"images": [], "categories": [{"id": 1}]}',
        "a category needs a number 'id' and a 'name'",
    ),
    "annotations not a list": (
        "my.json",
        json.dumps({"images": [], "annotations": {}, "categories": [{"id": 1, "name": "a"}]}),
        "'annotations' must be a list, got dict",
    ),
    "detections": (
        "my.json",
        '[{"image_id": 1, "category_id": 1, "bbox": [], "score": 1}]',
        r"It holds detections \(COCO results\). Give the annotation file",
    ),
    "labelme": ("my.json", '{"shapes": [], "imagePath": "a.jpg"}', "It is a file of labelme. Convert it"),
    "VGG Image Annotator": ("my.json", '{"_via_settings": {}}', "Export it as COCO"),
    "other JSON": ("my.json", '{"a": 1}', "holds no annotations that are read here. Known formats: COCO JSON"),
    "XML cut short": ("a.xml", "<annotation><object>", "cannot be read as XML: line 1: no element found"),
    "billion laughs": ("a.xml", hostile_xml(BILLION), "declares a document type"),
    "external entity": ("a.xml", hostile_xml('<!ENTITY x SYSTEM "file:///etc/passwd">'), "declares a document type"),
    "XML too deep": ("a.xml", "<annotation>" + "<a>" * 99, "nested deeper than 50 levels"),
    "unknown encoding": ("a.xml", '<?xml version="1.0" encoding="gbk"?><annotation/>', "cannot be read as XML"),
    "archive": ("a.zip", "PK", "is an archive. Unpack it, and give the folder"),
    "text": ("a.csv", "a,b", "holds no annotations that are read here"),
    "darknet without names": ("obj.data", "train = train.txt\n", "must state its class names"),
    "Label Studio task": ("my.json", '[{"data": {}, "annotations": []}, 5]', "task 1 is not an object"),
    "CreateML entry": ("my.json", '[{"image": "a.jpg", "annotations": []}, {}]', "entry 1 has no 'image'"),
    "CVAT image": ("a.xml", "<annotations><image id='3'/></annotations>", "the image 3 has no name"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_damaged_and_hostile_files(case: str, tmp_path: Path) -> None:
    name, content, message = BAD_FILES[case]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        convert(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("forced", "content", "message"),
    [
        ("coco", "[]", "is not a COCO annotation file: it needs 'images'"),
        ("label-studio", "{}", "is not an export of Label Studio in the format JSON or JSON-MIN"),
        ("createml", "{}", "is not a CreateML file"),
        ("cvat", "<annotation/>", "is not an XML file of CVAT: it begins with <annotation>"),
        ("voc", "", "holds no .xml file, so it is not Pascal VOC XML"),
    ],
)
def test_a_forced_format_that_does_not_fit(forced: Any, content: str, message: str, tmp_path: Path) -> None:
    if content:
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / ("a.xml" if "<" in content else "a.json")).write_text(content)
    else:
        write_coco(tmp_path / "source")
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "source", tmp_path / "new", format=forced)


def test_two_formats_in_one_folder(tmp_path: Path) -> None:
    source = write_labelimg_voc(tmp_path / "source")
    write_json(source / "my.json", coco_document(PICTURES))
    with pytest.raises(DataError, match=r"holds .* Say which is meant: --from .*coco"):
        convert(source, tmp_path / "new")
    assert convert(source, tmp_path / "new", format="voc").format == "voc"


def test_pictures_that_are_not_there(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source")
    (source / "images").rename(tmp_path / "photos")
    with pytest.raises(DataError, match=r"None of the 3 pictures .* Say where the pictures are: --images FOLDER"):
        convert(source, tmp_path / "new")
    with pytest.raises(DataError, match="--images: there is no folder"):
        convert(source, tmp_path / "new", images=(tmp_path / "none",))
    assert convert(source, tmp_path / "new", images=(tmp_path / "photos",)).left_out == ()
    with pytest.raises(DataError, match="There is no file or folder"):
        convert(tmp_path / "none", tmp_path / "newer")


def test_names_files_that_disagree(tmp_path: Path) -> None:
    source = write_labelimg_yolo(tmp_path / "source")
    write_pictures(source / "more", PICTURES)
    (source / "more" / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(
        DataError, match="name different classes, so the numbers in the label files mean different things"
    ):
        convert(source, tmp_path / "new")
    (source / "more" / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt:2 is empty, so class 1 has no name"):
        convert(source, tmp_path / "new")
    (source / "more" / "classes.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(DataError, match="lines 1 and 3 hold the same class name"):
        convert(source, tmp_path / "new")
    (source / "more" / "classes.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no class names"):
        convert(source, tmp_path / "new")


def test_two_datasets_in_one_folder(tmp_path: Path) -> None:
    source = write_labelimg_yolo(tmp_path / "source")
    for name in ("a.yaml", "b.yaml"):
        (source / name).write_text("train: .\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"holds several datasets: a.yaml, b.yaml. Give one of these files"):
        convert(source, tmp_path / "new")
    assert convert(source / "a.yaml", tmp_path / "new").names == ("cat", "dog")


# --- the command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, new, record = write_coco(tmp_path / "source"), tmp_path / "new", tmp_path / "report.json"
    write_picture(source / "images" / "default" / "extra.jpg", (20, 20))
    words = ["data", "convert", str(source), "--split", "0.5/0.5", str(new), "--json", str(record), "--classes", "dog"]
    assert run_command_line(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{source}: COCO JSON, 1 class (dog)"
    assert lines[-1] == f"Next: slimyolo data check {new / 'data.yaml'}"
    assert "  class not chosen: 1" in lines
    assert any(line.startswith("Pictures that no annotation names, and that are left out: 1.") for line in lines)
    written = json.loads(record.read_text())
    assert written["placed"] == {"linked": 3}
    assert [split["name"] for split in written["splits"]] == ["train", "val"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--copy", "--link"], "--copy and --link contradict each other"),
        (["--split", "0.9"], "--split: got '0.9', expected two or three shares"),
        (["--group-by", "("], r"--group-by: '\(' is not a regular expression"),
        (["--from", "cocoa"], "--from: got 'cocoa', expected one of coco, voc.* Did you mean 'coco'"),
        (["--first-pixel", "1"], "--first-pixel is for Pascal VOC, and .* holds COCO JSON. Leave it out"),
        (["--first-pixel", "2"], "--first-pixel: got '2', expected one of 0, 1"),
    ],
)
def test_options_that_are_wrong(words: list[str], message: str, tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source")
    with pytest.raises(ConfigError, match=message):
        run_command_line(["data", "convert", str(source), str(tmp_path / "new"), *words])


def test_a_dataset_without_boxes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    picture = Picture("a.jpg", (20, 20), ())
    write_pictures(source, (picture,))
    (source / "a.xml").write_text(voc_xml(picture))
    with pytest.raises(DataError, match="has no box, so there are no classes to learn"):
        convert(source, tmp_path / "new")
