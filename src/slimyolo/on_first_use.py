"""Packages whose names are imported when they are first used.

torch takes seconds to import. With eager re-exports, ``slimyolo plan show`` would import it only because
`slimyolo.pruning` offers `trace` beside `PrunePlan`. So the ``__init__.py`` of a package names its modules twice: as imports
under ``if TYPE_CHECKING:``, for type checkers and editors, and as a table for `names_on_first_use`. A test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from slimyolo.errors import nearest_name_hint

__all__ = ["names_on_first_use"]


def names_on_first_use(package: str, modules: Mapping[str, str]) -> None:
    """Offer names in `package` that are imported when they are first used. Call it in its ``__init__.py``.

    `modules` maps each module to the names that it defines, with spaces between them. The modules of the package itself
    can be reached as attributes, too, without an import statement.
    """
    room = sys.modules[package]
    vars(room)["_home_of"] = {name: module for module, names in modules.items() for name in names.split()}
    room.__class__ = _Room


class _Room(ModuleType):
    """A package of which the names in `_home_of` (name → module) are not imported yet."""

    _home_of: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        """Called when `name` is not there yet. It is stored, so that the next use is an ordinary one."""
        if name in self._home_of:
            value = getattr(import_module(self._home_of[name]), name)
            vars(self)[name] = value
            return value
        if not name.startswith("__") and find_spec(f"{self.__name__}.{name}") is not None:
            return import_module(f"{self.__name__}.{name}")
        hint = nearest_name_hint(name, self._home_of)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}.{hint}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        """As always, except that a module does not hide a name: ``slimyolo.detections.nms`` is the function.

        The import system sets each imported module as an attribute of its package.
        """
        if not (isinstance(value, ModuleType) and name in self._home_of):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._home_of})
