"""Table of cases: the Chinese README is in step with the English one, in everything that needs no translation.

When this fails, somebody changed one of the two. Make the same change in the other.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ENGLISH, CHINESE = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
CROSS_LINKS = {"README.md", "README.zh-CN.md"}


def without_programs(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)


def programs(page: str) -> list[tuple[str, list[str]]]:
    """(language, lines without comments) of each fenced block."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.M | re.S)
    return [
        (kind, [re.sub(r"\s*(^|\s)#\s.*", "", line).rstrip() for line in text.splitlines()]) for kind, text in blocks
    ]


def headings(page: str) -> list[str]:
    return re.findall(r"^(#+) ", without_programs(page), flags=re.M)


def numbers_in_tables(page: str) -> list[list[str]]:
    rows = [line for line in without_programs(page).splitlines() if line.startswith("|")]
    return [re.findall(r"\.?\d[\d.,]*%?", row) for row in rows]


def links(page: str) -> Counter[str]:
    return Counter(
        target for target in re.findall(r"\]\(([^)]+)\)", without_programs(page)) if target not in CROSS_LINKS
    )


def code(page: str) -> Counter[str]:
    return Counter(re.findall(r"`([^`\n]+)`", without_programs(page)))


def bullets(page: str) -> int:
    return len(re.findall(r"^\* ", without_programs(page), flags=re.M))


@pytest.mark.parametrize("part", [programs, headings, numbers_in_tables, links, code, bullets])
def test_both_readmes_have_the_same(part: object) -> None:
    assert callable(part)
    assert part(CHINESE) == part(ENGLISH)


def test_what_is_compared_is_there() -> None:
    assert len(programs(ENGLISH)) >= 2
    assert any(line.startswith("slimyolo compress") for _, lines in programs(ENGLISH) for line in lines)
    assert len(headings(ENGLISH)) >= 4
    assert sum(links(ENGLISH).values()) >= 5
