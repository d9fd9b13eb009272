"""Table of cases: what a dataset YAML may say, and the answer to what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimyolo.data import read_dataset_yaml
from slimyolo.errors import DataError


def written(folder: Path, text: str, name: str = "data.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [face, face_mask]", ("face", "face_mask")),
        ("names: {0: face, 1: face_mask}", ("face", "face_mask")),
        ("names: {1: b, 0: a}", ("a", "b")),  # the number decides, not the order
        ("names: {'0': a, '1': b}", ("a", "b")),  # keys in quotes, as JSON converters write
        ("nc: 2\nnames: [a, b]", ("a", "b")),
        ("nc: 2", ("class0", "class1")),  # nc alone
        ("names: [1, 2.5]", ("1", "2.5")),  # numbers are names too
        ("names: [Maske, обличчя, 口罩]", ("Maske", "обличчя", "口罩")),
    ],
)
def test_names(tmp_path: Path, names: str, expected: tuple[str, ...]) -> None:
    spec = read_dataset_yaml(written(tmp_path, f"train: images\n{names}\n"))
    assert spec.names == expected
    assert spec.nc == len(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: a\nnames: [a, b]\nnc: 3", "nc is 3, but there are 2 names"),
        ("train: a\nnames: {0: a, 2: b}", "no entry for class 1"),
        ("train: a\nnames: {a: 0}", "maps class numbers to names"),
        ("train: a\nnames: [yes, no]", "in quotes"),  # YAML reads these as true and false
        ("train: a\nnames: ['']", "in quotes"),
        ("train: a\nnames: []", "names must be a list"),
        ("train: a\nnames: face", "names must be a list"),
        ("train: a\nnc: 0", "nc must be a whole number"),
        ("train: a\nnc: two", "nc must be a whole number"),
        ("train: a", "no class names"),
        ("names: [a]", "names no images"),
        ("train: {a: b}\nnames: [a]", "train must be a path or a list"),
        ("train: [1]\nnames: [a]", "train must be a path or a list"),
        ("path: [a]\ntrain: a\nnames: [a]", "path must be one folder"),
        ("trian: a\nnames: [a]", "Did you mean 'train'"),
        ("train: a\nname: [a]", "Did you mean 'names'"),
        ("train: [a\nnames: b", "not valid YAML: line 2"),
        ("- a\n- b", "it holds a list"),
        ("", "it holds nothing"),
        ("train: !!python/object/apply:os.system ['true']\nnames: [a]", "not valid YAML"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset_yaml(written(tmp_path, text))


def test_keys_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    text = "train: a\nnames: [a]\nroboflow: {license: CC0}\nkpt_shape: [17, 3]\nauthor: me\ndate: today\n"
    assert read_dataset_yaml(written(tmp_path, text)).names == ("a",)


def test_download_line_is_only_text(tmp_path: Path) -> None:
    text = f"train: a\nnames: [a]\ndownload: |\n  import pathlib; pathlib.Path('{tmp_path}/ran').touch()\n"
    spec = read_dataset_yaml(written(tmp_path, text))
    assert spec.download is not None
    assert not (tmp_path / "ran").exists()


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, "train: a\nnames: [a]", "mask.yaml")
    with pytest.raises(DataError, match=r"no dataset file .*mask\.yml .*there is: mask\.yaml.*slimyolo data synth"):
        read_dataset_yaml(tmp_path / "mask.yml ")
    with pytest.raises(DataError, match=r"got the folder .*there is: mask\.yaml\. Give that file: .*mask\.yaml"):
        read_dataset_yaml(tmp_path)


def test_annotations_of_other_tools_are_named(tmp_path: Path) -> None:
    file = written(tmp_path, '{"images": [], "annotations": []}', "my annotations.json")
    with pytest.raises(
        DataError, match=r"is a JSON file, not the YAML.*slimyolo data convert '.*/my annotations.json' FOLDER"
    ):
        read_dataset_yaml(file)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_bytes(b"\xff\xfe\x00names")
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_dataset_yaml(tmp_path / "data.yaml")


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_bytes(b"\xef\xbb\xbftrain: images\r\nnames: [a]\r\n")
    assert read_dataset_yaml(tmp_path / "data.yaml").train == (tmp_path / "images",)


def test_root_beside_the_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path / "data", "path: ../datasets/mask\ntrain: images\nnames: [a]")
    (tmp_path / "datasets" / "mask").mkdir(parents=True)
    (tmp_path / "shelf" / "mask").mkdir(parents=True)
    monkeypatch.setenv("SLIMYOLO_DATASETS", str(tmp_path / "shelf"))
    assert read_dataset_yaml(source).root == tmp_path / "datasets" / "mask"


def test_root_in_search_folder_then_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path / "data", "path: mask\ntrain: images\nnames: [a]")
    (tmp_path / "here" / "mask").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert read_dataset_yaml(source).root == tmp_path / "here" / "mask"
    (tmp_path / "there" / "mask").mkdir(parents=True)
    assert read_dataset_yaml(source, search=[tmp_path / "there"]).root == tmp_path / "there" / "mask"


@pytest.mark.parametrize("path", ["../datasets/mask", "mask", "/elsewhere/on/another/machine/mask"])
def test_root_under_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    source = written(tmp_path / "data", f"path: {path}\ntrain: images\nnames: [a]")
    (tmp_path / "shelf" / "mask").mkdir(parents=True)
    monkeypatch.setenv("SLIMYOLO_DATASETS", str(tmp_path / "shelf"))
    assert read_dataset_yaml(source).root == tmp_path / "shelf" / "mask"


def test_root_nowhere_lists_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path / "data", "path: ../datasets/mask\ntrain: images\nnames: [a]\ndownload: http://x/y.zip")
    monkeypatch.setenv("SLIMYOLO_DATASETS", str(tmp_path / "shelf"))
    with pytest.raises(DataError) as caught:
        read_dataset_yaml(source)
    message = str(caught.value)
    for expected in (tmp_path / "datasets" / "mask", tmp_path / "shelf" / "mask", "slimyolo data synth", "never run"):
        assert str(expected) in message


def test_places_may_be_several(tmp_path: Path) -> None:
    spec = read_dataset_yaml(written(tmp_path, "train: [a, /abs/b]\nval: c.txt\nnames: [x]"))
    assert spec.train == (tmp_path / "a", Path("/abs/b"))
    assert spec.split("val") == (tmp_path / "c.txt",)
    with pytest.raises(DataError, match="names no test images"):
        spec.split("test")
    with pytest.raises(DataError, match="'dev' is not a split"):
        spec.split("dev")


def test_exports_that_point_one_folder_too_high(tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "images").mkdir(parents=True)
    spec = read_dataset_yaml(written(tmp_path / "set", "train: ../train/images\nnames: [x]"))
    assert spec.train == (tmp_path / "set" / "train" / "images",)
