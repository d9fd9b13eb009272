"""Table of cases: hostile, damaged and foreign files are refused by name, and nothing in them is ever run."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from slimyolo.errors import CheckpointError, UnsafeCheckpointError
from slimyolo.storage import ForeignClass, ForeignObject, inert_pickle, read_foreign_pickle


def torch_zip(
    path: Path, pickled: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> Path:
    """A file laid out as torch.save does, with any pickle."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")
    return path


def saved(path: Path, value: Any, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def storage_id(key: str = "0", kind: str = "FloatStorage", numel: int = 4) -> bytes:
    """Pickle operations that push a storage of the file."""
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + b"J"
        + struct.pack("<i", numel)
    ) + b"tQ"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def tensor_call(offset: int, size: tuple[int, ...], stride: tuple[int, ...], storage: bytes | None = None) -> bytes:
    arguments = [pickle.dumps(item, 2)[2:-1] for item in (offset, size, stride)]
    body = (storage or storage_id()) + b"".join(arguments)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + body + b"\x89ccollections\nOrderedDict\n)RtR"


# What is read


@pytest.mark.parametrize("legacy", [False, True])
def test_plain_data_and_tensors_come_back_as_they_were(tmp_path: Path, legacy: bool) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    value = {
        "numbers": [1, -(2**40), 2.5, True, None],
        "text": "γ",
        "bytes": b"\x00\xff",
        "nested": {"tuple": (1, (2, 3)), 7: "seven"},
        "set": {"a", "b"},
        "ordered": OrderedDict(a=1),
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "double": base.double(),
        "long": torch.tensor(3),
        "bool": torch.tensor([True, False]),
        "uint8": torch.arange(5, dtype=torch.uint8),
        "transposed": base.t(),
        "part": base[1:, 2],
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(base.clone()),
        "device": torch.device("cuda:1"),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "path": Path("runs/exp"),
        "namespace": argparse.Namespace(epochs=3, data="mask.yaml"),
        "numpy": {"scalar": np.float64(0.5), "int": np.int64(3), "array": np.array([[0.25, 1], [2, 3]])},
    }
    got = read_foreign_pickle(saved(tmp_path / "a.pt", value, legacy))
    for key in ("numbers", "text", "bytes", "nested", "set", "ordered"):
        assert got[key] == value[key]
    for key, tensor in value.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(got[key], tensor.detach()), key
            assert got[key].dtype == tensor.dtype
            assert not got[key].requires_grad
    assert (got["device"], got["size"], got["dtype"], got["path"]) == ("cuda:1", (1, 2), "torch.float16", "runs/exp")
    assert got["namespace"] == {"epochs": 3, "data": "mask.yaml"}
    assert got["numpy"]["scalar"] == 0.5
    assert type(got["numpy"]["int"]) is int
    np.testing.assert_array_equal(got["numpy"]["array"], [[0.25, 1], [2, 3]])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_protocol_of_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    value = {"a": [1, (2, 3), "x" * 300], "b": {"s", "t"}, "c": frozenset({1}), "d": 2**70, "e": b"bytes" * 60}
    torch.save(value, tmp_path / "a.pt", pickle_protocol=protocol)
    assert read_foreign_pickle(tmp_path / "a.pt") == value


def test_two_views_of_a_storage_share_it(tmp_path: Path) -> None:
    base = torch.zeros(4)
    got = read_foreign_pickle(saved(tmp_path / "a.pt", {"a": base, "b": base[2:]}))
    got["a"][3] = 7
    assert got["b"].tolist() == [0, 7]


def test_expanded_views_are_read_as_yolov5_writes_its_grids(tmp_path: Path) -> None:
    grid = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2).expand(1, 20, 20, 2)
    assert torch.equal(read_foreign_pickle(saved(tmp_path / "a.pt", {"g": grid}))["g"], grid)


@pytest.fixture
def foreign_module(monkeypatch: pytest.MonkeyPatch) -> type[nn.Module]:
    """A class named models.common.Conv, which exists while the file is written."""
    module = ModuleType("models.common")

    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.f = -1

    Conv.__module__, Conv.__qualname__ = "models.common", "Conv"
    module.Conv = Conv  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models", ModuleType("models"))
    monkeypatch.setitem(sys.modules, "models.common", module)
    return Conv


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("legacy", [False, True])
def test_model_classes_become_records_and_are_not_imported(
    tmp_path: Path, foreign_module: type[nn.Module], legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = foreign_module()
    path = saved(tmp_path / "a.pt", {"model": model, "class": foreign_module}, legacy)
    monkeypatch.delitem(sys.modules, "models.common")
    monkeypatch.delitem(sys.modules, "models")
    got = read_foreign_pickle(path)
    assert "models.common" not in sys.modules
    assert isinstance(got["model"], ForeignObject)
    assert got["model"].class_name == "models.common.Conv"
    assert got["model"].state["f"] == -1
    inner = got["model"].state["_modules"]["conv"]
    assert inner.class_name == "torch.nn.modules.conv.Conv2d"
    assert torch.equal(inner.state["_parameters"]["weight"], model.conv.weight.detach())
    assert got["class"] == ForeignClass("models.common.Conv")


def test_the_published_checkpoint_is_read(yolov5n_weights: Path) -> None:
    got = read_foreign_pickle(yolov5n_weights)
    assert got["model"].class_name == "models.yolo.Model"
    assert got["model"].state["yaml"]["depth_multiple"] == 0.33


# What is refused because it would have to be executed


class Evil:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


HOSTILE: dict[str, tuple[bytes, str]] = {
    # name in the file → what the message must name
    "os.system": (b"cos\nsystem\n" + text("touch OWNED") + b"\x85R.", r"`os\.system`"),
    "posix.system": (b"cposix\nsystem\n" + text("touch OWNED") + b"\x85R.", r"`posix\.system`"),
    "eval": (b"c__builtin__\neval\n" + text("open('OWNED','w')") + b"\x85R.", r"`__builtin__\.eval`"),
    "exec by stack": (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R.", r"`builtins\.exec`"),
    "getattr chain": (b"c__builtin__\ngetattr\ncos\n" + b"system\n" + text("x") + b"\x86R.", r"`__builtin__\.getattr`"),
    "dotted attribute": (b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.", r"`torch\.os\.system`"),
    "dotted attribute under a model prefix": (b"\x80\x04\x8c\x05utils\x8c\x09os.system\x93.", r"`utils\.os\.system`"),
    "import": (b"c__builtin__\n__import__\n" + text("os") + b"\x85R.", "__import__"),
    "subprocess": (b"csubprocess\nPopen\n)R.", r"`subprocess\.Popen`"),
    "torch.load of a url": (b"ctorch.hub\nload\n)R.", r"`torch\.hub\.load`"),
    "torch internals": (b"ctorch._utils\n_rebuild_tensor_v3\n)R.", "_rebuild_tensor_v3"),
    "torch.nn outside modules": (b"ctorch.nn\nModule\n)R.", r"`torch\.nn\.Module`"),
    "numpy object arrays": (b"cnumpy\nload\n)R.", r"`numpy\.load`"),
    "runpy": (b"crunpy\nrun_path\n)R.", r"`runpy\.run_path`"),
    "pickle in pickle": (b"cpickle\nloads\nC\x01.\x85R.", r"`pickle\.loads`"),
    "functools.partial": (b"cfunctools\npartial\n)R.", r"`functools\.partial`"),
    "operator.methodcaller": (b"coperator\nmethodcaller\n)R.", r"`operator\.methodcaller`"),
    "copyreg": (b"ccopyreg\n_reconstructor\n)R.", r"`copyreg\._reconstructor`"),
    "extension registry": (b"\x82\x01.", "EXT1"),
    "old class instance": (b"(ios\nsystem\n.", "INST"),
    "old class instance from the stack": (b"(cos\nsystem\no.", r"`os\.system`"),
    "text persistent id": (b"Pfile:///etc/passwd\n.", "PERSID"),
    "a persistent id that is no storage": (text("file") + b"Q.", "persistent id"),
    "out-of-band buffer": (b"\x97.", "NEXT_BUFFER"),
    "call of a result": (b"cmodels\nA\n)R)R.", "not a name"),
    "call of a text": (text("x") + b")R.", "not a name"),
    "state into a text": (text("x") + b"}b.", "setting the state of a str"),
    "state into a list": (b"]}b.", "setting the state of a list"),
    "keyword object": (b"\x80\x04cmodels\nA\n)}" + text("a") + b"K\x01s\x92.", "keyword"),
    "nested in an allowed call": (
        b"ccollections\nOrderedDict\n(((" + text("a") + b"cos\nsystem\n" + text("touch OWNED") + b"\x85Rtltt" + b"R.",
        r"`os\.system`",
    ),
    "pruned by the reference": (b"cyolo_pruned\nModelPruned\n)R.", "reference project"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_by_name_and_run_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled, words = HOSTILE[name]
    path = torch_zip(tmp_path / "evil.pt", pickled)
    with pytest.raises(UnsafeCheckpointError, match=words) as caught:
        read_foreign_pickle(path)
    message = str(caught.value)
    assert "evil.pt" in message
    assert "Nothing in it was run" in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pt"]


def _trap(*_: Any, **__: Any) -> None:
    raise AssertionError("something of the file was run")


@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "touch OWNED"),
        {"model": Evil(eval, "open('OWNED', 'w')")},
        [Evil(getattr, Evil(__import__, "os"), "system")],
        {"deep": {"er": (Evil(exec, "raise SystemExit"),)}},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_objects_that_pickle_as_calls_are_refused(
    tmp_path: Path, value: Any, legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "evil.pt", value, legacy)
    with pytest.raises(UnsafeCheckpointError, match="asks to execute `"):
        read_foreign_pickle(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pt"]


def test_reading_imports_nothing_and_never_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = torch_zip(tmp_path / "a.pt", b"cmodels.unheard_of\nThing\n)R.")
    before = set(sys.modules)
    for function in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, function, _trap)
    monkeypatch.setattr(torch, "load", _trap)
    assert read_foreign_pickle(path).class_name == "models.unheard_of.Thing"
    added = {name for name in set(sys.modules) - before if not name.startswith("encodings.")}  # zipfile decodes names
    assert not added


# What is refused because it is damaged or beyond the limits


def _nested(opening: bytes, closing: bytes, levels: int) -> bytes:
    return b"\x80\x02" + opening * levels + b"N" + closing * levels + b"."


BOMBS: dict[str, tuple[bytes, str]] = {
    "nested tuples": (b"\x80\x02)" + b"\x85" * 20_000 + b".", "nested deeper than 200"),
    "nested lists": (_nested(b"]", b"a", 20_000), "nested deeper than 200"),
    "nested state": (_nested(b"cmodels\nA\n)R", b"b", 20_000), "nested deeper than 200"),
    "doubling references": (b"\x80\x02N\x85" + b"2\x86" * 150 + b".", "unfolds to more than"),
    "list in itself": (b"\x80\x02]q\x00h\x00a.", "contains itself"),
    "dict in itself": (b"\x80\x02}q\x00" + text("a") + b"h\x00s.", "contains itself"),
    "too many steps": (b"\x80\x02(" + b"N" * 100_001 + b"t.", "more than 100,000 steps"),
    "sets from one list": (
        b"\x80\x02(" + b"N" * 5_000 + b"lq\x00(" + b"c__builtin__\nset\nh\x00\x85R" * 1_000 + b"t.",
        "more than 100,000 steps",
    ),
    "long joined path": (
        text("x" * 100_000) + b"q\x00cpathlib\nPosixPath\n(" + b"h\x00" * 1_000 + b"tR\x86.",
        "more than 100,000 steps",
    ),
    "bytes copied again and again": (
        text("x" * 1_000_000)
        + b"q\x00"
        + text("latin1")
        + b"q\x010("
        + b"c_codecs\nencode\nh\x00h\x01\x86R" * 100
        + b"t.",
        "more than 100,000 steps",
    ),
    "huge text length": (b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.", "damaged"),
    "huge bytes length": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.", "damaged"),
    "huge memo index": (b"\x80\x02Nr\xff\xff\xff\xffj\xff\xff\xff\xff\x86.", ""),
    "deep tuple as a key": (b"\x80\x02})" + b"\x85" * 20_000 + b"Ns.", "as a key"),
    "long number as a key": (b"\x80\x02}\x8b" + struct.pack("<i", 90) + b"\x7f" * 90 + b"Ns.", "as a key"),
    "tensor as large as the world": (tensor_call(0, (2**40, 2**40), (0, 0)) + b".", "far more elements"),
    "zero-stride tensor": (tensor_call(0, (2**33,), (0,)) + b".", "far more elements"),
    "tensor beyond its storage": (tensor_call(0, (5,), (1,)) + b".", "in a storage of 4 elements"),
    "tensor after its storage": (tensor_call(4, (1,), (1,)) + b".", "in a storage of 4 elements"),
    "empty tensor far away": (tensor_call(2**60, (0,), (1,)) + b".", "in a storage of 4 elements"),
    "negative offset": (tensor_call(-1, (1,), (1,)) + b".", "not a count"),
    "negative size": (tensor_call(0, (-1,), (1,)) + b".", "not a count"),
    "negative stride": (tensor_call(0, (2,), (-1,)) + b".", "not a count"),
    "size and stride of two lengths": (tensor_call(0, (2, 2), (1,)) + b".", "not a count"),
    "64 dimensions": (tensor_call(0, (1,) * 64, (1,) * 64) + b".", "not a count"),
    "storage longer than its member": (tensor_call(0, (1,), (1,), storage_id(numel=5)) + b".", "claims 5"),
    "storage with a negative length": (tensor_call(0, (1,), (1,), storage_id(numel=-1)) + b".", "damaged"),
    "storage of another type": (tensor_call(0, (1,), (1,), storage_id(kind="DoubleStorage")) + b".", "claims 4"),
    "storage that is not there": (tensor_call(0, (1,), (1,), storage_id("9")) + b".", r"'data/9' is missing"),
    "storage outside the archive": (storage_id("../data.pkl") + b".", "not a plain number"),
    "storage by absolute path": (storage_id("/etc/passwd") + b".", "not a plain number"),
    "bare storage": (storage_id() + b".", "bare Storage"),
    "tensor from a text": (tensor_call(0, (1,), (1,), text("x")) + b".", "not made from a storage"),
    "numpy of objects": (b"cnumpy\ndtype\n" + text("O") + b"\x85R.", "expected numbers"),
    "numpy scalar too short": (
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + text("f8") + b"\x85RC\x01a\x86R.",
        "numpy number",
    ),
    "no operation": (b"", "damaged"),
    "no end": (b"\x80\x02N", "damaged"),
    "empty stack": (b"\x80\x02.", "damaged"),
    "missing mark": (b"\x80\x02Nt.", "mark is missing"),
    "mark as a value": (b"\x80\x02(\x85.", "value is missing"),
    "items without a dict": (b"\x80\x02](NNu.", "not a dict"),
    "odd items": (b"\x80\x02}(NNNu.", "not a dict"),
    "unknown memo": (b"\x80\x02h\x07.", "damaged"),
    "not a pickle": (b"\xff\xfe\xfd", "damaged"),
    "values left over": (b"\x80\x02NN.", "left over"),
    "call without a tuple": (b"ccollections\nOrderedDict\n]R.", "tuple of arguments"),
    "dict from a text": (b"ccollections\nOrderedDict\n" + text("abc") + b"\x85R.", "list of pairs"),
    "path from a number": (b"cpathlib\nPosixPath\nK\x01\x85R.", "text was expected"),
    "another codec": (b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.", "rot13"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_and_damage_are_answered_in_little_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inert_pickle, "MAX_OPERATIONS", 100_000)  # a smaller limit makes smaller bombs
    pickled, words = BOMBS[name]
    path = torch_zip(tmp_path / "bomb.pt", pickled, {"0": struct.pack("<4f", 1, 2, 3, 4)})
    if not words:  # harmless here, deadly where the memo is an array
        assert read_foreign_pickle(path) == (None, None)
        return
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=words) as caught:
            read_foreign_pickle(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not isinstance(caught.value, UnsafeCheckpointError)
    assert "bomb.pt cannot be read:" in str(caught.value)
    assert peak < 40 * 2**20


def test_a_compressed_archive_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "a.pt", b"N.", {"0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"compressed, which torch\.save never does"):
        read_foreign_pickle(path)


def test_members_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "a.pt", b"N.", {"0": bytes(16)})
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02", content.rindex(b"archive/data/0") - 60)
    content[central + 20 : central + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="claims members larger than the file itself"):
        read_foreign_pickle(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/data.pkl", b"cos\nsystem\n.")
    with pytest.raises(CheckpointError, match="two members of the same name"):
        read_foreign_pickle(tmp_path / "a.pt")


def test_member_names_cannot_leave_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("../../outside", b"x")
        archive.writestr("/absolute", b"x")
    assert read_foreign_pickle(tmp_path / "a.pt") is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pt"]


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/byteorder", b"big")
    with pytest.raises(CheckpointError, match="big-endian"):
        read_foreign_pickle(tmp_path / "a.pt")


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(100.0), "b": [1, 2, {"c": "text"}]}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_answered(tmp_path: Path, good_file: bytes, share: float) -> None:
    path = tmp_path / "cut.pt"
    path.write_bytes(good_file[: int(len(good_file) * share)])
    with pytest.raises(CheckpointError, match=r"not a whole archive .* copy or download it again"):
        read_foreign_pickle(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_legacy_file_is_answered(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "cut.pt", {"a": torch.arange(100.0), "b": "x" * 100}, legacy=True)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match=r"cut\.pt cannot be read: its"):
        read_foreign_pickle(path)


def test_a_flipped_bit_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"a": torch.full((1000,), 7.0)})
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<4f", 7, 7, 7, 7)) + 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="Bad CRC-32"):
        read_foreign_pickle(path)


def answer(path: Path) -> str:
    """The message of the refusal, or the file's name when it was read."""
    try:
        read_foreign_pickle(path)
    except CheckpointError as error:
        return str(error)
    return path.name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_answered_but_never_crash(
    tmp_path: Path, good_file: bytes, data: st.DataObject
) -> None:
    content = bytearray(good_file)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "flipped.pt"
    path.write_bytes(content)
    assert "flipped.pt" in answer(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=60))
def test_arbitrary_pickle_bytes_are_read_or_answered(tmp_path: Path, tail: bytes) -> None:
    path = torch_zip(tmp_path / "random.pt", b"\x80\x02}](" + tail)
    assert "random.pt" in answer(path)


# What is answered because it is another kind of file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\).*Fetch it again"),
        (b"nc: 2\nbackbone: []\n", "is a text file.*--cfg"),
        ("Gewichte: größer\n".encode() * 40, "is a text file"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer.*git lfs pull"),
        (b"\x08\x07\x12\x07pytorch", "ONNX export"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip archive.*Unpack"),
        (bytes(257) + b"ustar", "tar archive"),
        (b"\x93NUMPY\x01", "numpy array"),
        (struct.pack("<Q", 2) + b"{}", "safetensors file: tensors without an architecture"),
        (b"\x00\x01\x02\xfa", "not a checkpoint"),
        (pickle.dumps({"a": 1}), "plain Python pickle"),
        (pickle.dumps([1, 2], 4), "plain Python pickle"),
    ],
)
def test_other_kinds_of_file_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_foreign_pickle(path)
    assert "model.pt" in str(caught.value)


def test_a_plain_pickle_that_calls_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Evil(os.system, "touch OWNED")))
    with pytest.raises(UnsafeCheckpointError, match=r"system`"):
        read_foreign_pickle(tmp_path / "a.pkl")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pkl"]


def test_a_torchscript_export_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.torchscript", "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/code/__torch__.py", b"")
        archive.writestr("a/constants.pkl", b"N.")
    with pytest.raises(CheckpointError, match=r"TorchScript export.*the \.pt that it was made from"):
        read_foreign_pickle(tmp_path / "a.torchscript")


def test_another_zip_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"without the data\.pkl of a torch checkpoint"):
        read_foreign_pickle(tmp_path / "a.npz")


def test_a_missing_file_and_a_folder_are_answered(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Cannot read .*none\.pt: No such file or directory\. Check the path"):
        read_foreign_pickle(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"is a folder, expected a checkpoint file such as .*best\.pt"):
        read_foreign_pickle(tmp_path)
