"""ONNX networks of a few operators with the inputs and outputs of rtmlib's, and an answer that can be foretold.

Each pose network finds in every crop the brightest pixel: keypoint k that of colour k mod 3, as it stands after rtmlib
has normalised it. So a picture with a red, a green and a blue spot says where each keypoint belongs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# rtmlib's normalisation of pose crops, which these networks undo.
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def save(path: Path, nodes, inputs, outputs, constants) -> Path:
    """inputs, outputs: (name, shape) or (name, shape, type); constants: arrays by name."""

    def told(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes, "small", [told(*each) for each in inputs], [told(*each) for each in outputs], initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def _colours(n_keypoints, gain):
    """Nodes and constants for `spots` (N, K, H, W): the crop's colours in [0, gain], one for each keypoint."""
    nodes = [
        helper.make_node("Mul", ["input", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["colours"]),
        helper.make_node("Gather", ["colours", "which"], ["spots"], axis=1),
    ]
    constants = {
        "std": (gain / 255 * STD).astype(np.float32).reshape(1, 3, 1, 1),
        "mean": (gain / 255 * MEAN).astype(np.float32).reshape(1, 3, 1, 1),
        "which": np.arange(n_keypoints) % 3,
    }
    return nodes, constants


def simcc(path: Path, size=(48, 64), n_keypoints=17, batch="n", gain=1.0, really=None) -> Path:
    """As RTMPose: simcc_x (N, K, 2W) and simcc_y (N, K, 2H). gain: the score of full brightness. really: the only
    number of crops that it takes, whatever `batch` says."""
    width, height = size
    nodes, constants = _colours(n_keypoints, gain)
    for axis, over, length in (("x", 2, width), ("y", 3, height)):
        nodes += [
            helper.make_node("ReduceMax", ["spots"], [f"max_{axis}"], axes=[over], keepdims=0),
            helper.make_node("Unsqueeze", [f"max_{axis}", "last"], [f"column_{axis}"]),
            helper.make_node("Concat", [f"column_{axis}"] * 2, [f"twice_{axis}"], axis=3),
            helper.make_node("Reshape", [f"twice_{axis}", f"shape_{axis}"], [f"simcc_{axis}"]),
        ]
        constants[f"shape_{axis}"] = np.array([really or 0, n_keypoints, 2 * length])
    constants["last"] = np.array([3])
    outputs = [("simcc_x", (batch, n_keypoints, 2 * width)), ("simcc_y", (batch, n_keypoints, 2 * height))]
    return save(path, nodes, [("input", (batch, 3, height, width))], outputs, constants)


def heatmaps(path: Path, size=(48, 64), n_keypoints=17, batch="n") -> Path:
    """As ViTPose: (N, K, H / 4, W / 4), the mean of each 4×4 pixels."""
    width, height = size
    nodes, constants = _colours(n_keypoints, 1.0)
    nodes += [helper.make_node("AveragePool", ["spots"], ["output"], kernel_shape=[4, 4], strides=[4, 4])]
    outputs = [("output", (batch, n_keypoints, height // 4, width // 4))]
    return save(path, nodes, [("input", (batch, 3, height, width))], outputs, constants)


def _brightness():
    """Nodes and constants for `light` (N, 1, 1): the mean of the input's first channel."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["means", "zero"], ["first"], axis=1),
        helper.make_node("Unsqueeze", ["first", "last"], ["light"]),
    ]
    return nodes, {"zero": np.array([0]), "last": np.array([2])}


def yolox(path: Path, people, side=64, batch="n", n_classes=80, objectness=0.0) -> Path:
    """As YOLOX without non-maximum suppression: (N, cells, 5 + classes).

    people: rows of x1, y1, x2, y2 (pixels of the input), score in a picture that is all blue, and class; each
    is found by the cell of stride 8 under its centre. objectness: in a black picture; it grows with the input's first
    channel.
    """
    cells = sum((side // stride) ** 2 for stride in (8, 16, 32))
    table = np.zeros((1, cells, 5 + n_classes), np.float32)
    grows = np.zeros_like(table)
    for x1, y1, x2, y2, score, label in people:
        centre, sides = np.array([x1 + x2, y1 + y2]) / 2 / 8, np.array([x2 - x1, y2 - y1]) / 8
        column, row = centre.astype(int)
        cell = row * (side // 8) + column
        table[0, cell, :4] = *(centre - (column, row)), *np.log(sides)
        table[0, cell, 5 + label] = score
        table[0, cell, 4] = objectness
        grows[0, cell, 4] = 1 / 255
    nodes, constants = _brightness()
    nodes += [
        helper.make_node("Mul", ["light", "grows"], ["bright"]),
        helper.make_node("Add", ["bright", "table"], ["output"]),
    ]
    outputs = [("output", (batch, cells, 5 + n_classes))]
    constants |= {"table": table, "grows": grows}
    return save(path, nodes, [("input", (batch, 3, side, side))], outputs, constants)


def suppressed(path: Path, people, side=64, batch="n", labels=True, input_size=None) -> Path:
    """As an export of MMDeploy, with non-maximum suppression: dets (N, boxes, 5) and labels (N, boxes).

    people: as `yolox`; the score is what is given plus a hundredth of the mean of the input's first channel.
    input_size: (H, W).
    """
    rows = np.array([row[:5] for row in people], np.float32)[None]
    grows = np.zeros_like(rows)
    grows[..., 4] = 0.01
    nodes, constants = _brightness()
    nodes += [
        helper.make_node("Mul", ["light", "grows"], ["bright"]),
        helper.make_node("Add", ["bright", "rows"], ["dets"]),
    ]
    outputs = [("dets", (batch, len(people), 5))]
    if labels:
        nodes += [
            helper.make_node("Mul", ["first", "nothing"], ["empty"]),
            helper.make_node("Cast", ["empty"], ["zeros"], to=TensorProto.INT64),
            helper.make_node("Add", ["zeros", "classes"], ["labels"]),
        ]
        outputs.append(("labels", (batch, len(people)), TensorProto.INT64))
        constants |= {"nothing": np.float32(0), "classes": np.array([[row[5] for row in people]])}
    constants |= {"rows": rows, "grows": grows}
    return save(path, nodes, [("input", (batch, 3, *(input_size or (side, side))))], outputs, constants)
