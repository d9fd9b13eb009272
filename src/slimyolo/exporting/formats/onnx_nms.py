"""NMS as ONNX operators after the decoded rows, so that the output of the file is detections.

The rule is that of `detections.nms` with one class per row. The score is the best class probability, times the objectness
where there is one. Boxes of different classes are shifted apart. ONNX's NonMaxSuppression removes boxes, and TopK sorts the
others. The output [B, max_det, 6] = x1, y1, x2, y2, score, class has a fixed number of rows per image; rows without a
detection are 0. Only operators and forms that are the same in operator sets 13 to 20 are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slimyolo.exporting.metadata import Suppression
from slimyolo.geometry import RowLayout

__all__ = ["append_nms_"]

CLASS_SHIFT = 7680.0  # network pixels between the classes, as in detections.nms


def append_nms_(model: Any, nms: Suppression, layout: RowLayout) -> None:
    """Add NMS after the first output of `model` (an ONNX protocol buffer), in place. The output keeps its name.

    Before, that output is decoded rows with the columns of `layout`.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = ["decoded" if name == output.name else name for name in node.output]
        node.input[:] = ["decoded" if name == output.name else name for name in node.input]

    constants = _constants(nms, layout)

    def add(kind: str, inputs: str, outputs: str, **attributes: Any) -> None:
        named = [f"nms_{name}" if name in constants else name for name in inputs.split()]
        graph.node.append(helper.make_node(kind, named, outputs.split(), name=f"nms/{kind}_{outputs}", **attributes))

    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, f"nms_{name}"))
    add("Slice", "decoded start_0 start_2 last", "nms/centres")
    add("Slice", "decoded start_2 start_4 last", "nms/sides")
    if layout.objectness:
        add("Slice", "decoded start_4 first_class last", "nms/objectness")
    add("Slice", "decoded first_class end last", "nms/classes" if layout.objectness else "nms/all_scores")
    add("Mul", "nms/sides half", "nms/reach")
    add("Sub", "nms/centres nms/reach", "nms/low")
    add("Add", "nms/centres nms/reach", "nms/high")
    if layout.objectness:
        add("Mul", "nms/classes nms/objectness", "nms/all_scores")
    add("TopK", "nms/all_scores one", "nms/best nms/label", axis=2)  # one per row: [B, N, 1]
    add("Cast", "nms/label", "nms/label_number", to=TensorProto.FLOAT)
    add("Mul", "nms/label_number shift", "nms/offset")
    add("Concat", "nms/low nms/high", "nms/boxes", axis=2)
    add("Add", "nms/boxes nms/offset", "nms/apart")
    add("Transpose", "nms/best", "nms/scores", perm=[0, 2, 1])  # [B, 1, N]
    add("NonMaxSuppression", "nms/apart nms/scores most iou conf", "nms/selected")  # [K, 3]: image, 0, row
    add("Shape", "nms/scores", "nms/shape")
    add("ConstantOfShape", "nms/shape", "nms/none")
    add("Shape", "nms/selected", "nms/selected_shape")
    add("Slice", "nms/selected_shape start_0 one", "nms/count")
    add("ConstantOfShape", "nms/count", "nms/marks", value=helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0]))
    add("ScatterND", "nms/none nms/selected nms/marks", "nms/kept")
    add("Greater", "nms/kept zero", "nms/is_kept")
    add("Where", "nms/is_kept nms/scores zero", "nms/kept_scores")
    add("Transpose", "nms/kept_scores", "nms/score", perm=[0, 2, 1])
    add("Concat", "nms/boxes nms/score nms/label_number", "nms/table", axis=2)  # [B, N, 6]
    add("Pad", "nms/table padding", "nms/padded")  # at least max_det rows
    add("Slice", "nms/padded start_4 start_5 last", "nms/ranking")  # the score of a detection
    add("TopK", "nms/ranking most", "nms/top nms/place", axis=1)  # [B, max_det, 1]
    add("Tile", "nms/place six", "nms/places")
    add("GatherElements", "nms/padded nms/places", "nms/ranked", axis=1)
    add("Greater", "nms/top zero", "nms/is_detection")
    add("Where", "nms/is_detection nms/ranked zero", output.name)
    _shape_output_(output, nms.max_det)


def _constants(nms: Suppression, layout: RowLayout) -> dict[str, np.ndarray[Any, Any]]:
    """The constants that the operators read, as name → value."""
    return {
        "zero": np.array(0, np.float32),
        "half": np.array(0.5, np.float32),
        "shift": np.array(CLASS_SHIFT, np.float32),
        "conf": np.array([nms.conf], np.float32),
        "iou": np.array([nms.iou], np.float32),
        "most": np.array([nms.max_det], np.int64),
        "one": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "padding": np.array([0, 0, 0, 0, nms.max_det, 0], np.int64),
        "start_0": np.array([0], np.int64),
        "start_2": np.array([2], np.int64),
        "start_4": np.array([4], np.int64),
        "start_5": np.array([5], np.int64),
        "first_class": np.array([layout.first_class], np.int64),
        "end": np.array([2**31 - 1], np.int64),
        "six": np.array([1, 1, 6], np.int64),
    }


def _shape_output_(output: Any, max_det: int) -> None:
    """[B, rows, columns] → [B, max_det, 6]."""
    for axis, length in ((1, max_det), (2, 6)):
        side = output.type.tensor_type.shape.dim[axis]
        side.Clear()
        side.dim_value = length
