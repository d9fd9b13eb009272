"""Property: a room offers the same names to type checkers, to ``import *`` and to programs, whichever is used first."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import slimyolo

ROOMS = sorted(
    file.parent.name
    for file in Path(slimyolo.__file__).parent.glob("*/__init__.py")
    if "names_on_first_use(" in file.read_text()
)
OLD_NAMES = {"models": {"parse_architecture", "read_architecture"}}  # of version 0.1, for programs that import them


@pytest.mark.parametrize("room", ROOMS)
def test_the_table_of_a_room_is_what_type_checkers_see(room: str) -> None:
    module = importlib.import_module(f"slimyolo.{room}")
    tree = ast.parse(Path(str(module.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    table = dict(vars(module)["_home_of"])
    for name in OLD_NAMES.get(room, ()):
        del table[name]
    assert table == seen
    assert set(module.__all__) | {"PriceTable"} == set(seen) | {"PriceTable"}
    assert set(seen) <= set(dir(module))
    for name, home in seen.items():
        assert getattr(module, name) is getattr(importlib.import_module(str(home)), name)


CASES = [
    # a name, whether it is asked for before its module or after it
    "from slimyolo.pruning import Target as one; from slimyolo.pruning.targets import Target as two; assert one is two",
    # a function beside a module of the same name is the function, whichever was imported first
    "import slimyolo.exporting.quiet; from slimyolo.exporting import quiet; assert callable(quiet)",
    "from slimyolo.exporting import quiet; import slimyolo.exporting.quiet; assert slimyolo.exporting.quiet is quiet",
    # a module of a room is an attribute of it, without an import of its own
    "import slimyolo; assert slimyolo.checkpoints.saving.save_checkpoint",
    # everything
    "from slimyolo.storage import *; assert read_json and to_plain and not hasattr(__builtins__, 'TYPE_CHECKING')",
    # names that version 0.1 had elsewhere
    "import slimyolo.models; assert slimyolo.models.read_architecture('yolov5n').nc == 80",
    # several threads that use a room first
    "from multiprocessing.dummy import Pool; import slimyolo.data as d; Pool(4).map(lambda n: d.DatasetSpec, range(8))",
    # stand-ins of tests, which are a module for a name
    "import slimyolo.storage as s, types; s.other = types; assert s.other is types",
]


def test_a_room_behaves_as_with_ordinary_imports() -> None:
    """One process for all cases: each of them forgets the modules of slimyolo first."""
    program = (
        "import sys\nfor case in sys.argv[1:]:\n"
        "    for name in [name for name in sys.modules if name.startswith('slimyolo')]: del sys.modules[name]\n"
        "    exec(case, {})\n"
    )
    subprocess.run([sys.executable, "-c", program, *CASES], check=True, timeout=120)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    import slimyolo.pruning as room

    with pytest.raises(
        AttributeError,
        match=r"module 'slimyolo.pruning' has no attribute 'prune_modul'\. Did you mean 'prune_module'\?",
    ):
        _ = room.prune_modul  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'prune_modul'"):
        from slimyolo.pruning import prune_modul  # type: ignore[attr-defined]  # noqa: F401
    assert not hasattr(room, "__wrapped__")


def test_values_of_a_room_are_pickled_by_their_own_module() -> None:
    from slimyolo.pruning import ChannelShare

    assert b"slimyolo.pruning.targets" in pickle.dumps(ChannelShare(0.4))
    assert pickle.loads(pickle.dumps(ChannelShare(0.4))) == ChannelShare(0.4)
