"""Table of cases: the page in Chromium, at the widths of a phone and of a screen, light, dark and printed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimyolo.reports.page import render_page
from slimyolo.reports.stages import read_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "<script>document.title='run'</script>"
QUOTED = '"><img src=x onerror="document.title=\'run\'">'
LONG = "a_class_whose_name_is_longer_than_any_phone_is_wide_and_has_no_space_in_it"

WIDE = """[...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1
  && !one.closest('.scroll, .looks')).map(one => one.tagName + '.' + one.className + ' ' + one.textContent.slice(0, 40))"""


SCROLLED = """[...document.querySelectorAll('.scroll, .looks, pre, .card')].filter(one => one.scrollWidth > one.clientWidth + 1)
  .map(one => one.className + ' ' + one.ariaLabel + ' ' + one.scrollWidth + ' > ' + one.clientWidth)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


def test_nothing_overflows_complains_or_runs(browser: Any, tmp_path: Path, records: Any) -> None:
    writer = records((NASTY, QUOTED, LONG, "口罩 $x^{"))
    chain = writer.chain(tmp_path / "chain")
    writer.bench(chain / "bench")
    writer.exported(chain)
    older = writer.training(tmp_path / LONG, "sparsify", 0.6, evidence=False)
    others = [
        writer.iterate(tmp_path / "rounds"),
        writer.sensitivity(tmp_path / "sens"),
        writer.devices(tmp_path / "devices"),
    ]
    many = records([f"{LONG[:30]}{number}" for number in range(30)]).training(tmp_path / "many", "train", 0.5)
    page = tmp_path / "page.html"
    runs = [read_run(folder) for folder in (chain, older, *others, many)]
    page.write_text(render_page(runs, place=tmp_path), encoding="utf-8")
    for width in (390, 1400):
        for theme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
            tab, said = context.new_page(), []
            tab.on("console", lambda message, said=said: said.append(message.text))
            tab.on("pageerror", lambda error, said=said: said.append(str(error)))
            tab.on("request", lambda request, said=said: said.append(request.url))
            tab.goto(page.as_uri())
            foreign = [words for words in said if not words.startswith(("file://", "data:"))]
            assert not foreign, (width, theme)
            assert len([words for words in said if words.startswith("file://")]) == 1  # the page itself
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, tab.evaluate(WIDE)
            assert tab.title().startswith("slimyolo report: my data")
            tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, (width, theme)
            if width == 390:
                assert tab.evaluate(SCROLLED) == []  # on a phone nothing has to be moved sideways to be read
            dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
            assert dark == (theme == "dark")
            if theme == "dark":
                tab.emulate_media(media="print")
                assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            context.close()


def test_pictures_are_shown(browser: Any, chain: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render_page([read_run(chain)]), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(page.as_uri())
    sizes = tab.evaluate("[...document.querySelectorAll('.photo')].map(one => one.getBoundingClientRect().height)")
    assert len(sizes) == 9
    assert min(sizes) > 50
    tab.close()
