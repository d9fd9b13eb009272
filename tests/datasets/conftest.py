"""A small dataset made of noise, for the tests of the data room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

MakeDataset = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.delenv("SLIMYOLO_DATASETS", raising=False)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """``make_dataset(train=9, val=4)`` writes images, labels and a YAML of two classes, and returns the YAML's path."""

    def make(folder: str = "dataset", **counts: int) -> Path:
        root = tmp_path / folder
        generator = np.random.default_rng(7)
        for split, count in counts.items():
            (root / "images" / split).mkdir(parents=True)
            (root / "labels" / split).mkdir(parents=True)
            for number in range(count):
                height, width = (int(side) for side in generator.integers(40, 90, 2))
                noise = generator.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
                picture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
                cv2.imwrite(str(root / "images" / split / f"{number:03}.png"), picture)
                rows = [
                    f"{generator.integers(2)} {x:.4f} {y:.4f} {w:.4f} {h:.4f}"
                    for x, y, w, h in generator.uniform((0.3, 0.3, 0.1, 0.1), (0.7, 0.7, 0.5, 0.5), (number % 4, 4))
                ]
                (root / "labels" / split / f"{number:03}.txt").write_text("\n".join(rows))
        places = "".join(f"{split}: images/{split}\n" for split in counts)
        (root / "data.yaml").write_text(f"{places}names: [face, face_mask]\n")
        return root / "data.yaml"

    return make
