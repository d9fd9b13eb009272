"""Finds the commands and programs in the documentation, and reads them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"]
PROGRAMS = ("slimyolo", "python", "make", "pip", "tensorboard")


@dataclass(frozen=True)
class DocCommand:
    """A command line from a page, with continued lines joined and comments removed."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the line, split as a shell does."""
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.text}"


def fences(page: Path) -> Iterator[tuple[str, int, list[str]]]:
    """(language, line of its first line, lines) of each fenced block."""
    language, start, lines = "", 0, None
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.fullmatch(r"```(\w*)", text.strip())
        if fence and lines is None:
            language, start, lines = fence[1], number + 1, []
        elif fence and lines is not None:
            yield language, start, lines
            lines = None
        elif lines is not None:
            lines.append(text)
    assert lines is None, f"{page}: a block is not closed"


def commands(pages: Sequence[Path] = PAGES) -> list[DocCommand]:
    """Every line of the fenced blocks that begins with one of `PROGRAMS`."""
    found = []
    for page in pages:
        for language, start, lines in fences(page):
            if language not in ("", "bash", "console"):
                continue
            joined, began = "", start
            for number, text in enumerate(lines, start):
                began = number if not joined else began
                joined += text.strip()
                if joined.endswith("\\"):
                    joined = joined[:-1].rstrip() + " "
                    continue
                if joined.split(" ")[0] in PROGRAMS:
                    found.append(DocCommand(page.name, began, joined))
                joined = ""
    return found


def programs(pages: Sequence[Path] = PAGES) -> list[tuple[str, int, str]]:
    """(page, line, source) of every Python block."""
    return [
        (page.name, start, "\n".join(lines))
        for page in pages
        for language, start, lines in fences(page)
        if language == "python"
    ]


def inline_commands(pages: Sequence[Path] = PAGES) -> list[DocCommand]:
    """Commands between single backticks, where required options may be missing: ``slimyolo prune … --dry-run``."""
    found = []
    for page in pages:
        for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            found += [DocCommand(page.name, number, one) for one in re.findall(r"`(slimyolo [a-z][^`]*)`", text)]
    return found
