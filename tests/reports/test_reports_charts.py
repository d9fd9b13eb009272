"""Closed formula: quantiles from counted bins. Table of cases: benchmarked files found among the stages."""

from __future__ import annotations

import pytest

from slimyolo.reports.charts import timed_points
from slimyolo.reports.gamma_figures import gamma_quantile
from slimyolo.reports.records.run_files import GammaEpoch
from slimyolo.reports.stages import read_run

EPOCH = GammaEpoch(epoch=0, zeros=10, counts=(0, 10, 20), above=10, median=0.5, share=0.2, target_share=0.4)
EDGES = (0.0, 0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("share", "gamma"),
    [
        (0.0, 0.0),
        (0.2, 0.0),
        (0.3, 0.75),
        (0.4, 1.0),
        (0.6, 1.25),
        (0.8, 1.5),
        (1.0, 1.5),
    ],  # ten of the fifty channels are zero
)
def test_quantiles_of_counted_bins(share: float, gamma: float) -> None:
    assert gamma_quantile(EPOCH, EDGES, share) == pytest.approx(gamma)


def test_benchmarked_files_are_found_among_the_stages(tmp_path, records) -> None:  # type: ignore[no-untyped-def]
    chain = records().chain(tmp_path / "chain")
    assert timed_points(read_run(chain)) == ((), "")
    records().bench(chain / "bench")
    points, words = timed_points(read_run(chain))
    assert [(point[0], point[1]) for point in points] == [("base", 20.0), ("finetuned", 12.5)]
    assert words == "onnxruntime fp32"
