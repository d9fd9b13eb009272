"""Table of cases: each program in `examples/` runs, with fewer epochs than its own default."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_commands import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
NETWORKS = REPOSITORY / "tests" / "pruning" / "networks"
WITH_TIMM = """
import runpy, sys
import timm_models
timm_models.find_timm()  # timm without torchvision
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*words: str | Path, path: Path | None = None) -> str:
    """What `python *words` prints, with one thread, because the tests share two cores; `path` is searched for modules, too."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if path is not None:
        given["PYTHONPATH"] = os.pathsep.join([str(path), given.get("PYTHONPATH", "")])
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=280, check=False, env=given)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def need(*packages: str) -> None:
    """Skip the test when one of `packages` is not installed; they are not imported here, because that takes seconds."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (pip install -c constraints.txt {name})")


def test_any_network_keeps_its_accuracy_and_loads_again(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnxruntime")
    quick = ["--epochs", "10", "--finetune-epochs", "4", "--output", str(tmp_path)]
    printed = run(EXAMPLES / "any_network.py", *quick)
    lines = [line.split() for line in printed.splitlines() if " accuracy " in line]
    found = {words[0]: float(words[-1]) for words in lines}
    assert list(found) == ["dense", "cut", "repaired", "fine-tuned"]
    assert found["dense"] > 0.95
    assert found["fine-tuned"] > found["dense"] - 0.02
    difference = next(line for line in printed.splitlines() if line.startswith("exported"))
    assert float(difference.split()[-1]) < 1e-4
    assert {path.name for path in tmp_path.iterdir()} >= {"cut.pt", "plan.json", "cut.onnx"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_the_digits_loop_halves_the_macs_without_a_change_by_the_cut(name: str) -> None:
    need("sklearn", "timm")
    printed = run("-c", WITH_TIMM, EXAMPLES / "digits_loop.py", "--networks", name, "--epochs", "6", path=NETWORKS)
    words = re.search(
        r"accuracy dense ([.\d]+), slimmed ([.\d]+), after the cut ([.\d]+); MACs ([.\d]+) → ([.\d]+) M", printed
    )
    assert words is not None, printed
    dense, slimmed, cut, before, after = map(float, words.groups())
    assert cut == pytest.approx(slimmed, abs=0.0023)  # rounding may move one picture
    assert after <= 0.5 * before + 0.01
    assert dense > 0.9
    assert cut > dense - 0.05  # few epochs; docs/your-own-loop.md has the numbers of a whole training


CALLBACKS = [("lightning", ("lightning",)), ("huggingface", ("transformers", "accelerate"))]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "packages"), CALLBACKS)
def test_a_callback_slims_in_the_trainer_of_others(name: str, packages: tuple[str, ...]) -> None:
    need("sklearn", *packages)
    printed = run(EXAMPLES / f"{name}_callback.py", "--epochs", "3")
    before, after = re.findall(r"accuracy (?:before|after) the cut ([.\d]+)", printed)
    assert before == after
    assert float(after) > 0.6
    dense, cut = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) → ([\d,]+)", printed)[0])
    assert 0.4 * dense < cut <= 0.5 * dense


@pytest.mark.slow
@pytest.mark.parametrize(("name", "packages"), CALLBACKS)
def test_a_callback_resumes_with_its_trainer_bit_for_bit(name: str, packages: tuple[str, ...], tmp_path: Path) -> None:
    need(*packages)
    assert run(Path(__file__).with_name("callback_resumes.py"), name, tmp_path).strip().endswith("equal True")
