"""Table of cases: the page about runs from their records alone, what it says about missing records, and hostile names."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from slimyolo.detections import IOU_THRESHOLDS, Outcomes
from slimyolo.errors import ConfigError, StorageError
from slimyolo.evaluation import OUTCOMES_FILE, StoredOutcomes, write_outcomes
from slimyolo.reports.origins import files_of, run_title
from slimyolo.reports.page import render_page
from slimyolo.reports.stages import Run, read_run, whole_cut

NASTY = "<script>document.title='run'</script>"
QUOTED = '"><img src=x onerror="document.title=\'run\'">&amp;'


class Reader(HTMLParser):
    """Collects tags, their attributes and the text outside of tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def keep_outcomes(folder: Path, missed: int, fingerprint: str = "f") -> None:
    """Outcomes of a detector that finds the only face of each of 50 images, but not the first `missed` ones."""
    found = np.arange(missed, 50)
    outcomes = Outcomes(
        names=("face",),
        rule="yolov5",
        images=tuple(f"{number}.jpg" for number in range(50)),
        image_of=found,
        correct=np.ones((len(found), len(IOU_THRESHOLDS)), bool),
        scores=np.full(len(found), 0.5, np.float32),
        classes=np.zeros(len(found), int),
        label_image=np.arange(50),
        label_classes=np.zeros(50, int),
    )
    write_outcomes(folder / OUTCOMES_FILE, StoredOutcomes(outcomes=outcomes, fingerprint=fingerprint))


def test_changes_have_intervals_where_outcomes_were_kept(chain: Path) -> None:
    assert "Δ mAP50" not in page_of(chain)
    keep_outcomes(chain / "base", 0)
    keep_outcomes(chain / "pruned", 25)
    keep_outcomes(chain / "finetuned", 5, "other images")
    page = page_of(chain)
    head = re.findall(r"<th scope=\"col\">(Δ[^<]*)</th>", page)
    assert head == ["Δ mAP50", "Δ mAP50-95"]
    assert len(re.findall(r"<td[^>]*>−\.\d{3} \(−\.\d{3}, −\.\d{3}\)</td>", page)) == 2
    assert "with its 95 % interval from resampling the images" in page
    keep_outcomes(chain / "finetuned", 0)
    assert "(0 to base)" in page_of(chain)
    both = page_of(chain / "base", chain / "pruned")
    assert (
        len(re.findall(r"<td[^>]*>−\.\d{3} \(−\.\d{3}, −\.\d{3}\)</td>", both)) == 4
    )  # in the comparison and its chapter
    (chain / "base" / OUTCOMES_FILE).write_bytes(b"damaged")
    with pytest.raises(StorageError, match="is not a record of outcomes"):
        page_of(chain)


def page_of(*folders: Path, **options: Any) -> str:
    return render_page([read_run(folder) for folder in folders], **options)


def test_a_chain_has_all_its_sections(chain: Path, records: Any) -> None:
    records().bench(chain / "bench")
    text = Reader(page_of(chain)).text
    for words in (
        "finetuned: mAP50 .750 (−.050 to base)",
        "GFLOPs @320",
        "mAP against GFLOPs",
        "mAP against latency",
        "mAP on the validation images",
        "Box loss",
        "|γ| over the epochs",
        "Channels kept, layer by layer",
        "470 of 1,248 prunable channels were removed",
        "Precision by recall",
        "F1 by confidence",
        "Confusion, dense (base)",
        "Confusion, slim (finetuned)",
        "finetuned: 1.60 times as fast.",
        "Warning: The machine was busy.",
        "Box centres, val",
        "slimyolo compress --data 'my data.yaml'",
        "fingerprint ffff",
        "2.13.0",
        "A processor",
    ):
        assert words in text, words
    assert "Run the command below to fill this section" not in text
    assert text.count("dense (base) 1 × face") == text.count("slim (finetuned) 1 × face") == 3
    assert text.count("truth 1 × face, 1 × face_mask") == 3


def test_a_page_stands_alone(chain: Path) -> None:
    page = page_of(chain)
    assert len(page.encode()) < 5_000_000
    reader = Reader(page)
    assert not any(tag in ("script", "iframe", "object", "base") for tag, _ in reader.tags)
    for tag, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                place = urlsplit(value or "")
                in_run = tag == "a" and not place.scheme and not place.netloc and (chain / unquote(place.path)).exists()
                assert (value or "").startswith(("#", "data:")) or in_run, (tag, value)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_pictures_can_be_read_by_those_who_cannot_see_them(chain: Path) -> None:
    reader = Reader(page_of(chain))
    drawings = [attributes for tag, attributes in reader.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert drawings
    assert all(one.get("role") == "img" and one.get("aria-label") for one in drawings)
    assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")
    marks = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(marks) == len(set(marks))


@pytest.mark.parametrize(("images", "rows"), [(0, 0), (2, 2), (50, 3)])
def test_the_number_of_images(chain: Path, images: int, rows: int) -> None:
    assert page_of(chain, images=images).count('class="looks"') == rows


def test_names_stay_text(tmp_path: Path, records: Any) -> None:
    folder = records((NASTY, QUOTED)).chain(tmp_path / "<b>run & co")
    records((NASTY, QUOTED)).bench(folder / "bench")
    reader = Reader(page_of(folder))
    assert not any(tag in ("script", "img", "b") and attributes for tag, attributes in reader.tags)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert NASTY in reader.text
    assert QUOTED in reader.text
    assert "<b>run & co" in reader.text


def test_an_older_run_says_which_commands_fill_it(tmp_path: Path, records: Any) -> None:
    folder = tmp_path / "old run"
    records().training(folder, "sparsify", 0.6, evidence=False)
    text = Reader(page_of(folder)).text
    command = "slimyolo val --weights 'old run/weights/best.pt' --data 'my data.yaml' --imgsz 320"
    command += f" --project '{folder}' --name val"
    for words in ("Curves and confusion", "Validation pictures", "Label statistics"):
        assert f"{words} were not kept for old run. Run the command below to fill this section" in text
    assert text.count(command) == 3
    assert "The distribution of |γ| was not kept" in text
    assert "slimyolo bench --weights 'old run/weights/best.pt' --imgsz 320" in text
    assert "Share of channels at exactly zero" in text  # this figure needs results.csv only

    records().evidence(folder / "val", sparse=False, epochs=0)  # the records that this command writes
    filled = Reader(page_of(folder)).text
    assert "not kept for" not in filled
    assert "Precision by recall" in filled


def test_an_unfinished_training_shows_its_epochs(tmp_path: Path, records: Any) -> None:
    folder = tmp_path / "run"
    records().history(folder, 3)
    (folder / "opt.yaml").write_text("command: train\ndata: d.yaml\n")
    text = Reader(page_of(folder)).text
    assert "run (not finished)" in text
    assert "Nothing has been measured yet." in text
    assert "mAP on the validation images" in text


def test_a_cut_without_data_and_a_benchmark_alone(tmp_path: Path, records: Any) -> None:
    cut = records().cut(tmp_path / "cut")
    record = json.loads((cut / "record.json").read_text())
    record |= {"metrics_before": None, "metrics_after": None}
    (cut / "record.json").write_text(json.dumps(record))
    assert "Nothing has been measured yet." in Reader(page_of(cut)).text
    text = Reader(page_of(records().bench(tmp_path / "bench"))).text
    assert "20.00" in text
    assert "Stages" not in text


def test_several_runs_are_compared(chain: Path, tmp_path: Path, records: Any) -> None:
    other = records().chain(tmp_path / "other")
    page = page_of(chain, other)
    text = Reader(page).text
    assert "Comparison" in text
    assert "mAP50 against GFLOPs @320" in text
    assert page.count('<article id="r') == 2


def test_the_page_says_once_what_training_adds(chain: Path) -> None:
    for stage, params in (("base", 400_000), ("finetuned", 200_000)):
        file = chain / stage / "record.json"
        record = json.loads(file.read_text())
        record["size"] |= {"training_params": params, "training_macs": params * 100}
        file.write_text(json.dumps(record))
    text = Reader(page_of(chain)).text
    words = "only training reads adds 0.40 → 0.20 M parameters and 0.08 → 0.04 GFLOPs (first → last stage)."
    assert text.count(words) == 1


def test_many_classes_show_the_most_confused(tmp_path: Path, records: Any) -> None:
    folder = records([f"kind {number}" for number in range(60)]).training(tmp_path / "run", "train", 0.5)
    text = Reader(page_of(folder)).text
    assert "Only the 24 most confused of 60 classes and the background are shown." in text


def test_a_lost_picture_is_left_out(chain: Path) -> None:
    (chain / "base" / "sample" / "1.jpg").unlink()
    assert page_of(chain).count('class="looks"') == 2
    shutil.rmtree(chain / "finetuned" / "sample")
    assert page_of(chain).count('class="looks"') == 0


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("record.json", "{", r"record\.json is not valid JSON"),
        (
            "record.json",
            "[]",
            r"record\.json is not a record of this version \(the whole of it: got a list of 0 values",
        ),
        ("record.json", '{"a": 1}', r"not the record of a training, a cut or a validation"),
        ("record.json", '{"epochs_done": 1, "size": {}}', r"not a record of this version \(it lacks command"),
        ("curves.json", '{"curves": 3, "confusion": {}}', r"curves\.json is not a record of this version"),
        ("gammas.json", '{"edges": [0, 1]}', r"gammas\.json is not a record of this version"),
        ("labels.json", '{"val": {}}', r"labels\.json is not a record of this version"),
        ("sample.json", '{"images": [{}]}', r"sample\.json is not a record of this version"),
        ("opt.yaml", "a: [", r"Cannot read .*opt\.yaml"),
    ],
)
def test_damaged_records_are_named(tmp_path: Path, records: Any, file: str, content: str, message: str) -> None:
    folder = records().training(tmp_path / "run", "train", 0.5)
    (folder / file).write_text(content)
    with pytest.raises(StorageError, match=message):
        read_run(folder)


def test_a_damaged_benchmark_is_named(tmp_path: Path, records: Any) -> None:
    folder = records().bench(tmp_path / "bench")
    (folder / "record.json").write_text('{"rows": [{}], "verdicts": []}')
    with pytest.raises(StorageError, match=r"record\.json is not a record of this version"):
        read_run(folder)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a run folder: it holds no chain\.json"):
        read_run(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"record\.json is a file, and not the folder of a run\. Give one that"):
        read_run(tmp_path / "record.json")
    with pytest.raises(ConfigError, match=r"There is no run folder .*none.*such as runs/compress/exp"):
        read_run(tmp_path / "none")


# -- title, files, and pages of other commands ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provenance", "title"),
    [
        ({"settings": {"data": "data/mask.yaml", "cfg": "yolov5n"}}, "mask · yolov5n"),
        ({"settings": {"data": "datasets/synth/data.yaml", "cfg": "models/yolov5n_mask.yaml"}}, "synth · yolov5n_mask"),
        ({"settings": {"data": "data.yaml", "weights": "my/yolov8s.pt"}}, "data · yolov8s"),
        ({"settings": {"weights": "runs/train/exp/weights/best.pt"}}, "run"),
        (
            {"model": "yolo11n", "data": {"file": "/data/coco/coco.yaml"}, "settings": {"cfg": "x.yaml"}},
            "coco · yolo11n",
        ),
        ({}, "run"),
    ],
)
def test_the_title_names_dataset_and_model(tmp_path: Path, provenance: dict[str, Any], title: str) -> None:
    run = Run(name="run", folder=tmp_path, is_chain=False, stages=(), provenance=provenance)
    assert run_title(run) == title


def test_files_are_linked_from_where_the_page_is(chain: Path, records: Any) -> None:
    records().exported(chain)
    run = read_run(chain)
    links = {link.words: link.href for link in files_of(run, None)}
    assert links["chain.json"] == "chain.json"
    assert links["exported/slim model.onnx"] == "exported/slim%20model.onnx"
    elsewhere = {link.words: link.href for link in files_of(run, chain.parent / "pages")}
    assert elsewhere["finetuned/record.json"] == f"../{chain.name}/finetuned/record.json"
    assert 'href="exported/slim%20model.onnx"' in page_of(chain)


def test_files_and_times_before_and_after(chain: Path, records: Any) -> None:
    assert "Files and times" not in page_of(chain)
    records().bench(chain / "bench")
    records().exported(chain)
    page = page_of(chain)
    for name, cells in (
        ("onnx file, MB", ("7.08", "1.30", "18%")),
        ("onnxruntime, ms", ("20.00", "12.50", "1.60 × as fast")),
    ):
        labelled = zip(("before", "after", "change"), cells, strict=True)
        row = "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in labelled)
        assert f'<th scope="row">{name}</th>{row}' in page
    assert "<dt>ms, onnxruntime</dt><dd><strong>12.50</strong> <span>from 20.00</span>" in page


def test_legends_say_the_ap(chain: Path, tmp_path: Path, records: Any) -> None:
    text = Reader(page_of(chain)).text
    for words in ("base, mAP50 .800", "sparse, mAP50 .700", "finetuned, mAP50 .750"):
        assert text.count(words) == 1, words
    alone = Reader(page_of(records(("cat", "dog", "cow")).training(tmp_path / "run", "train", 0.8))).text
    assert "all classes, mAP50 .800" in alone
    assert "cat, AP .800" in alone
    assert "cow, AP" not in alone  # it has no labels


def test_a_page_of_iterate(tmp_path: Path, records: Any) -> None:
    folder = records().iterate(tmp_path / "rounds")
    run = read_run(folder)
    assert [stage.name for stage in run.stages] == ["base", "round 1 cut", "round 1", "round 2 cut", "round 2"]
    text = Reader(page_of(folder)).text
    assert "slimyolo iterate --data d.yaml --macs 0.5" in text
    assert "iterate, rounds" in text
    cut = whole_cut(run.stages)
    assert cut is not None
    assert cut.channels == (1248, 600)  # before the first cut, after the last
    assert "648 of 1,248 prunable channels were removed" in text
    assert cut.layers[0] == ("model.0.conv", 16, 5)


def test_a_page_of_sensitivity(tmp_path: Path, records: Any) -> None:
    folder = records().sensitivity(tmp_path / "sens")
    page = page_of(folder)
    text = Reader(page).text
    assert "12 groups of channels, each cut alone, on 32 images. Most sensitive: model.11.conv" in text
    assert "Relative error of the outputs, each group alone" in text
    assert "The other 4 groups are drawn faintly." in text
    assert page.count("<polyline") == 12
    assert '<td data-label="channels">16</td><td data-label="80%">.012</td><td data-label="20%">.120</td>' in page
    assert "slimyolo sensitivity --weights my.pt" in text
    assert "Stages" not in text
    record = folder / "sensitivity.json"
    plain = json.loads(record.read_text())
    record.write_text(json.dumps({**plain, "groups": [], "complete": False}))
    assert "No group has been measured yet." in Reader(page_of(folder)).text
    record.write_text(json.dumps({**plain, "complete": False}))
    assert "The measurement was interrupted" in Reader(page_of(folder)).text
    record.write_text(json.dumps({"groups": 3}))
    with pytest.raises(
        StorageError, match=r"sensitivity.json is not a record of this version .* Run slimyolo sensitivity again"
    ):
        read_run(folder)


def test_a_damaged_record_of_exports_is_named(chain: Path, records: Any) -> None:
    records().exported(chain)
    (chain / "exported" / "record.json").write_text("{}")
    with pytest.raises(StorageError, match=r"exported/record.json is not a record of this version .* Move it away"):
        read_run(chain)


def test_a_page_of_times_on_other_devices(tmp_path: Path, records: Any) -> None:
    folder = records().devices(tmp_path / "bench")
    page = page_of(folder)
    text = Reader(page).text
    assert "pruned.pt meets the budget on: Pi 5." in text
    assert "Warning: Pi 5: it was hot." in text
    cells = {
        "device": "Pi 5, ncnn, 4 threads",
        "ms": "30.00",
        "p95": "31.00",
        "of dense": "50%",
        "budget": "32.00 ms, met",
    }
    row = "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in cells.items())
    assert f'<th scope="row">pruned.pt</th>{row}' in page
    assert '<td data-label="p95">predicted</td><td data-label="of dense">60%</td><td data-label="budget"></td>' in page
    assert "Nothing was timed" not in text
    (folder / "record.json").write_text(json.dumps({"candidates": [{}], "findings": []}))
    with pytest.raises(StorageError, match=r"Run slimyolo bench --times again to replace it"):
        read_run(folder)


def test_warnings_of_a_chain_stand_at_the_top(chain: Path) -> None:
    (chain / "ending.json").write_text(json.dumps({"warnings": ["--latency was not <reached>."]}))
    page = page_of(chain)
    assert "<b>Warning:</b> --latency was not &lt;reached&gt;." in page
    assert page.index("Warning:") < page.index("Stages")
    (chain / "ending.json").write_text("{}")
    with pytest.raises(StorageError, match=r"ending\.json is not a record of this version"):
        read_run(chain)


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path, records: Any) -> None:
    one, two = (
        records().training(tmp_path / "a" / "exp", "train", 0.5),
        records().training(tmp_path / "b" / "exp", "train", 0.6),
    )
    text = Reader(page_of(one, two)).text
    assert "a/exp" in text
    assert "b/exp" in text
