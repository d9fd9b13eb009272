"""Table of cases: every command in the documentation is read and validated; quick ones run, and in `slow` all of them run.

They run in a folder with a small rendered dataset and checkpoints of an untrained network under the names that the pages use.
Commands that would take hours run with fewer epochs and smaller images (`SMALLER`); nothing else is changed.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from doc_commands import PAGES, REPOSITORY, DocCommand, commands, inline_commands, programs

from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.main import make_settings, run_command_line, run_safely
from slimyolo.cli.options import CONFIG_FILE, command_options, read_config_file
from slimyolo.cli.reference import translate
from slimyolo.cli.reference_tables import SCRIPTS
from slimyolo.cli.tokens import parse_tokens

FENCED = commands()
OURS = [one for one in FENCED if one.words[0] == "slimyolo"]
QUICK = ("inspect", "data check", "plan show", "plan diff", "predict", "completion")
ELSEWHERE = ("deploy-on-a-board.md",)  # run by tests/tasks/latency/device/test_device_page.py, which has a board
SMALL_TRAINING = ["--epochs", "1", "--imgsz", "64", "--batch-size", "4", "--workers", "0", "--noautoanchor", "--cache"]
SMALLER: dict[str, list[str]] = {
    "train": SMALL_TRAINING,
    "sparsify": SMALL_TRAINING,
    "finetune": SMALL_TRAINING,
    "compress": [*SMALL_TRAINING[2:], "--sparse-epochs", "1", "--finetune-epochs", "1"],
    "iterate": [*SMALL_TRAINING[:8], "--rounds", "2", "--round-epochs", "1", "--repair-images", "8"],
    "prune": ["--imgsz", "64", "--workers", "0"],
    "val": ["--imgsz", "64", "--workers", "0"],
    "compare": ["--imgsz", "64", "--workers", "0"],
    "predict": ["--imgsz", "64"],
    "export": ["--imgsz", "64"],
    "bench": ["--imgsz", "64", "--runs", "2", "--warmup", "1"],
    "sensitivity": ["--imgsz", "64", "--workers", "0", "--images", "4", "--kept", "0.5"],
    "data synth": ["--train", "2", "--val", "2", "--size", "64"],
}


def find(words: list[str]) -> tuple[Command, list[str]]:
    for command in COMMANDS:
        own = command.name.split()
        if words[1 : 1 + len(own)] == own:
            return command, words[1 + len(own) :]
    raise AssertionError(f"no command {' '.join(words[1:3])}")


def settings_of(one: DocCommand) -> Any:
    """The validated configuration of a ``slimyolo`` line."""
    command, rest = find(one.words)
    if ">" in rest:
        rest = rest[: rest.index(">")]
    options = command_options(command.settings)
    given = parse_tokens([option.spec for option in options], rest, program=f"slimyolo {command.name}")
    path = given.pop(CONFIG_FILE, None)
    recipe = read_config_file(path, command.settings) if path is not None else {}
    if "resume" in given:
        return None  # it takes its settings from the run
    return make_settings(command.settings, {**recipe, **given})


def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # recipes, models and data YAMLs are named from there


@pytest.mark.parametrize("one", FENCED, ids=str)
def test_every_command_is_one_that_would_be_taken(one: DocCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    in_repository(monkeypatch)
    words = one.words
    if words[0] == "slimyolo":
        settings_of(one)
    elif words[0] == "python":
        assert (REPOSITORY / words[1]).is_file()
        if words[1] in SCRIPTS:
            translate(SCRIPTS[words[1]], words[2:])
    elif words[0] == "make":
        targets = (REPOSITORY / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", targets, re.M) for target in words[1:] if "=" not in target)
    elif words[0] == "pip":
        extras = {extra for word in words for extra in re.findall(r"slimyolo\[([\w,]+)\]", word)}
        known = (REPOSITORY / "pyproject.toml").read_text()
        assert all(re.search(rf"^{name} = \[", known, re.M) for extra in extras for name in extra.split(","))
    else:
        assert words[0] == "tensorboard"


@pytest.mark.parametrize("one", inline_commands(), ids=str)
def test_commands_inside_sentences_name_commands_and_options_that_exist(one: DocCommand) -> None:
    words = one.text.split()
    command, rest = find(words)
    known = {name for option in command_options(command.settings) for name in option.spec.names}
    known |= {"--help", "--help-all", "--quiet", "-q"}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize(("page", "line", "source"), programs(), ids=lambda item: str(item)[:30])
def test_programs_are_python(page: str, line: int, source: str) -> None:
    compile(source, f"{page}:{line}", "exec")


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_files_that_maps_name_exist() -> None:
    for page in ("CONTRIBUTING.md", "docs/extending.md"):
        named = re.findall(r"`((?:src|tests|docs|models)/[\w./]+)`", (REPOSITORY / page).read_text(encoding="utf-8"))
        assert len(named) > 10, page
        for path in named:
            assert "NAME" in path or (REPOSITORY / path).exists(), f"{page}: {path}"


def test_every_how_to_is_in_the_index_and_both_readmes_name_each_other() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text()
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
    assert "README.zh-CN.md" in (REPOSITORY / "README.md").read_text()
    assert "(README.md)" in (REPOSITORY / "README.zh-CN.md").read_text()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that the pages name: datasets, checkpoints, runs, pictures, a video."""
    import cv2
    import numpy as np

    import slimyolo
    from slimfaces import render_dataset
    from slimyolo.checkpoints import save_checkpoint
    from slimyolo.families import read_architecture
    from slimyolo.inference import VideoFile
    from slimyolo.models import build_detector

    folder = tmp_path_factory.mktemp("workspace")
    data = render_dataset(folder / "datasets" / "tiny", train=8, val=4, size=96, seed=1)
    shutil.copytree(REPOSITORY / "models", folder / "models")
    shutil.copytree(REPOSITORY / "data", folder / "data")
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    text = re.sub(r"^path:.*$", f"path: {data.parent}", data.read_text(), flags=re.M)
    for name in ("my.yaml", "data/mask.yaml"):
        (folder / name).write_text(text)
    detector = build_detector(read_architecture("yolov5n").with_classes(2), names=("face", "face_mask"))
    for name in ("my.pt", "yolov5n.pt", *(f"runs/train/{run}/weights/best.pt" for run in ("exp", "exp2"))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / name, detector)
    newer = build_detector(read_architecture("yolo11n").with_classes(2), names=("face", "face_mask"))
    save_checkpoint(folder / "yolo11n.pt", newer)
    cut = slimyolo.prune(detector, imgsz=64)
    cut.save(folder / "cut.pt")
    for run in ("exp", "exp2"):
        (folder / "runs" / "prune" / run).mkdir(parents=True)
        cut.save(folder / "runs" / "prune" / run / "pruned.pt")
        (folder / "runs" / "prune" / run / "plan.json").write_text(cut.plan.to_json())
    grey = np.full((60, 80, 3), 90, np.uint8)
    (folder / "album").mkdir()
    for name in ("photo.jpg", "album/a.jpg", "album/b.jpg"):
        cv2.imwrite(str(folder / name), grey)
    (folder / "list.txt").write_text("photo.jpg\nalbum/a.jpg\n")
    _write_annotations(folder, data.parent / "images" / "train")
    with VideoFile(folder / "clip") as video:
        for _ in range(4):
            video.add(grey, 10.0)
    return folder


def _write_annotations(folder: Path, pictures: Path) -> None:
    """``photos`` and ``annotations.json``: pictures with a box each, in COCO's form."""
    shutil.copytree(pictures, folder / "photos")
    names = sorted(path.name for path in pictures.iterdir())
    boxes = [{"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [9, 9, 30, 40]} for i in range(len(names))]
    images = [{"id": i, "file_name": name, "width": 96, "height": 96} for i, name in enumerate(names)]
    categories = [{"id": 1, "name": "face"}, {"id": 2, "name": "face_mask"}]
    document = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))


def run(one: DocCommand, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a ``slimyolo`` line in the workspace, with smaller numbers, and return its exit status."""
    monkeypatch.chdir(folder)
    command, _ = find(one.words)
    settings_of(one)  # skips what does not exist yet
    words = one.words[1:]
    words = words[: words.index(">")] if ">" in words else words
    return run_safely(lambda: run_command_line([*words, *SMALLER.get(command.name, ())]))


@pytest.mark.parametrize("one", [one for one in OURS if find(one.words)[0].name in QUICK], ids=str)
def test_quick_commands_run(one: DocCommand, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    words = " ".join(one.words)
    if "runs/compress" in words or "datasets/mine" in words:
        pytest.skip("reads what another command of the page makes: run with the others in `slow`")
    status = run(one, workspace, monkeypatch)
    assert status == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_a_page_runs_from_top_to_bottom(
    page: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = shutil.copytree(workspace, tmp_path / "work")
    monkeypatch.setenv("SLIMYOLO_CACHE", str(tmp_path / "cache"))
    for one in OURS:
        name = find(one.words)[0].name
        if one.page != page or one.page in ELSEWHERE or name == "serve" or _needs_what_is_not_here(one):
            continue
        try:
            status = run(one, folder, monkeypatch)
        except pytest.skip.Exception:
            continue
        # the plans of two cuts differ, and plan diff says so by its status
        assert status in ((0, 1) if name == "plan diff" else (0,)), f"{one}\n{capsys.readouterr().err}"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line", "source"), programs(), ids=lambda item: str(item)[:30])
def test_programs_run(page: str, line: int, source: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page == "ultralytics.md":
        pytest.skip("needs the ultralytics package; tests/ultralytics run this page")
    monkeypatch.chdir(workspace)
    exec(compile(source, f"{page}:{line}", "exec"), {})


def _needs_what_is_not_here(one: DocCommand) -> bool:
    packages = {"ncnn": "ncnn", "openvino": "openvino", "onnx": "onnx", "onnxruntime": "onnxruntime"}
    words = {part for word in one.words for part in word.split(",")}
    return any(word in words and importlib.util.find_spec(package) is None for word, package in packages.items())
