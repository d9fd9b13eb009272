"""Table of cases: what Tab offers in the shell itself. zsh and fish are tested where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from slimyolo.cli.commands import COMMANDS
from slimyolo.cli.completion import SHELLS, completion_script
from slimyolo.cli.options import command_options


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "slimyolo.bash"
    path.write_text(completion_script("bash"))
    return path


def offers(script: Path, line: str, folder: Path) -> set[str]:
    """What bash would offer for `line`, whose last word is the one being typed."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _slimyolo 2>/dev/null; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


CASES = [
    ("slimyolo tr", {"train"}),
    ("slimyolo data ", {"check", "convert", "synth"}),
    ("slimyolo data ch", {"check"}),
    ("slimyolo sparsify --per", {"--percent"}),
    (
        "slimyolo sparsify --method ",
        {"share", "reference", "soft-threshold", "group-lasso", "cost-weighted", "polarise"},
    ),
    ("slimyolo train --optimizer Ad", {"Adam", "AdamW"}),
    ("slimyolo val --weights be", {"best.pt"}),
    ("slimyolo train --project ru", {"runs"}),
    ("slimyolo train --epochs ", set()),
    ("slimyolo train --cos-lr --help-", {"--help-all"}),
    ("slimyolo inspect b", {"best.pt"}),
    ("slimyolo completion ", {"bash", "zsh", "fish"}),
    ("slimyolo data check --str", {"--strict"}),
    ("slimyolo compress re", {"recipe.yaml"}),
]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=lambda item: item if isinstance(item, str) else "")
def test_what_bash_offers(line: str, expected: set[str], bash_script: Path, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_text("")
    (tmp_path / "recipe.yaml").write_text("")
    (tmp_path / "runs").mkdir()
    assert offers(bash_script, line, tmp_path) == expected


def test_bash_offers_every_command(bash_script: Path, tmp_path: Path) -> None:
    assert {command.name.split()[0] for command in COMMANDS} <= offers(bash_script, "slimyolo ", tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_is_in_every_script(shell: str) -> None:
    script = completion_script(shell)
    for command in COMMANDS:
        for option in command_options(command.settings):
            for name in option.spec.names:
                assert (f"-l {name[2:]}" if shell == "fish" else name) in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(completion_script(shell))
    done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
