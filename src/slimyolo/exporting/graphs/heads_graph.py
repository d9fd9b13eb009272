"""The graph of a network up to the raw output of its head, as the bytes of an ONNX file.

It takes any number of images of any sides that are multiples of the stride. What follows (boxes and scores from the raw
output) is computed by the detector itself, as always. Torch's older exporter needs half a second for that; the one that
writes the files of users needs ten seconds.
"""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from slimyolo.exporting.quiet import quiet
from slimyolo.models import Detector
from slimyolo.storage import read_user_file, temporary_folder

__all__ = ["graph_key", "heads_graph"]

_OPSET = 17
_FORM = 1  # to be raised when the same detector gives another graph than before


class _Heads(nn.Module):
    """The raw output of `detector` as a tuple, which the exporter can name."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [B, 3, H, W] → one raw tensor for each level."""
        return tuple(self.detector.answering_heads(images))


def heads_graph(fused: Detector) -> bytes:
    """The graph of `fused` (eval mode, batch norms folded, on the processor). Raises the errors of the exporter."""
    stride = int(fused.stride.max())
    example = torch.zeros(2, 3, 2 * stride, 3 * stride)  # sides of 1 or equal sides would be taken for constants
    with temporary_folder() as folder:
        file = Path(folder) / "heads.onnx"
        with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), torch.no_grad():
            torch.onnx.export(
                _Heads(fused),
                (example,),
                str(file),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["images"],
                dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}},
            )
        return read_user_file(file, "exported model")


def graph_key(detector: Detector, version: str) -> str:
    """The name of the graph of `detector`: a digest of its weights, its architecture, and the versions that write graphs.

    `version` is that of slimyolo.
    """
    digest = hashlib.sha256()
    about = {
        "form": _FORM,
        "opset": _OPSET,
        "slimyolo": version,
        "torch": str(torch.__version__),
        "architecture": detector.architecture.to_plain(),
        "family": detector.family.name,
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    for name, tensor in detector.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:40]
