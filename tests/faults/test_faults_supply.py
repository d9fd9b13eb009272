"""Table of cases: what slimyolo brings along is free of GPL and AGPL at run time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    """``benchmarks/licences.py``."""
    pytest.importorskip("packaging")
    if sys.version_info < (3, 11):
        pytest.importorskip("tomli")
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "licences.py"
    spec = importlib.util.spec_from_file_location("licences", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["licences"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_no_dependency_at_run_time_is_gpl_or_agpl(licences: ModuleType) -> None:
    rows, _ = licences.packages()
    assert {"torch", "numpy", "pyyaml", "pydantic"} <= {row.name for row in rows}
    assert [row.name for row in rows if row.forbidden] == []
    assert [row.name for row in rows if row.licence == "not said"] == []


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("MIT AND GPL-2.0-only", True),
        ("MIT OR GPL-2.0-only", False),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-3.0-only WITH GCC-exception-3.1", False),
        ("BSD-3-Clause", False),
        ("Apache-2.0", False),
    ],
)
def test_which_licences_are_refused(licences: ModuleType, licence: str, forbidden: bool) -> None:
    assert licences.is_forbidden(licence) is forbidden
