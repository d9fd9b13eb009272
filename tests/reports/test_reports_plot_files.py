"""Table of cases: the plots of the reference, made from records, with class names that are hard to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimyolo.data import image_size
from slimyolo.reports.plots.lettering import plain_names
from slimyolo.reports.plots.plot_files import PLOT_FILES, write_plots


def test_every_record_gives_its_plots(tmp_path: Path, records: Any) -> None:
    folder = records(("face", "$x^{", "口罩", "_hidden", "one\nline")).training(tmp_path / "run", "train", 0.5)
    written = write_plots(folder)
    assert {path.name for path in written} == set(PLOT_FILES)
    for path in written:
        height, width = image_size(path.read_bytes(), path) or (0, 0)
        assert min(height, width) > 300


def test_without_records_there_is_nothing(tmp_path: Path) -> None:
    assert write_plots(tmp_path) == ()
    assert not list(tmp_path.iterdir())


def test_names_that_cannot_be_drawn() -> None:
    drawn = plain_names(("Straße", "маска", "μ σ", "", "a\tb", "\U000f0000"))
    assert drawn == ("Straße", "маска", "μ σ", "class 3", "a b", "class 5")
