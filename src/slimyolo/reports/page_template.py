"""The templates of the pages. Names and paths that they print are escaped, so they cannot become markup."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["page_template"]


@cache
def page_template(name: str) -> Template:
    """The template in a file of ``templates``. It is compiled once, which takes longer than to fill it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not at the top: `--help` must answer at once

    environment = Environment(
        loader=PackageLoader("slimyolo.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
