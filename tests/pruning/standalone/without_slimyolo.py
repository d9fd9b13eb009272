"""Runs where slimyolo cannot be imported: loads what was written, runs it, and prints the largest difference.

Arguments: how it is loaded, the file or folder, and a file with pictures and the outputs that are wanted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.modules["slimyolo"] = None  # type: ignore[assignment]  # any import of it now fails


def main(kind: str, path: str, wanted: str) -> None:
    told = torch.load(wanted, weights_only=True)
    pictures = told["pictures"]
    if kind == "narrow":
        sys.path.insert(0, path)
        from narrow import load_narrow
        from their_network import Theirs

        found = load_narrow(Theirs(), path).eval()(pictures)
    elif kind == "torchscript":
        found = torch.jit.load(path)(pictures)
    elif kind == "export":
        found = torch.export.load(path).module()(pictures)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (array,) = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})
        found = torch.from_numpy(array)
    try:
        import slimyolo  # noqa: F401
    except ImportError:
        print(f"difference {float((found - told['outputs']).abs().max().detach()):.2e}")


if __name__ == "__main__":
    assert Path(sys.argv[2]).exists()
    main(*sys.argv[1:])
