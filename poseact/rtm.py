"""rtmlib's YOLOX, RTMDet, RTMPose and ViTPose as ONNX files: its pre- and post-processing, but batched and with scores.

The only file that imports rtmlib. rtmlib hands pixels on in the order in which they come, and means OpenCV's BGR.
YOLOX and RTMDet were trained on BGR, but RTMPose (`bgr_to_rgb=True` in MMPose's configurations) and ViTPose on RGB,
so each gets its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from . import openvino
from .detect import Detections
from .errors import ModelError
from .providers import first_line, installed_builds, load_session
from .skeleton import COCO17
from .video import Frame
from .yolo import FRAME_SIZE, LEAST_CONFIDENCE

Item = TypeVar("Item")
# What runs the networks; auto: ONNX Runtime. OpenVINO, on a CPU that has bfloat16, takes about half the time, but it
# has not been compared on weights that are trained.
OnnxBackend = Literal["auto", "onnxruntime", "openvino"]

_VERSION = "0.0.16"

# Pixels that go through a network together, which bounds its memory: 42 crops of 256×192, 5 frames of 640×640.
_MOST_PIXELS = 2 << 20
# Strides of the three grids on which YOLOX and RTMDet look for people.
_STRIDES = (8, 16, 32)
_NMS_OVERLAP = 0.45  # rtmlib's own
_KEYPOINT_COUNTS = (17, 26)


class RtmDetector:
    """YOLOX or RTMDet, with or without non-maximum suppression inside; boxes are rtmlib's, scores beside them.

    Raises ModelError if the file is none of these. RTMDet is recognised by `rtmdet` in the file's name: it wants its
    pixels normalised, and otherwise looks like YOLOX. backend: see `OnnxBackend`.
    """

    def __init__(self, weights: Path, device: str, backend: OnnxBackend = "auto"):
        rtmlib = import_rtmlib()
        self._network = _open(weights, device, backend, (FRAME_SIZE, FRAME_SIZE))
        width, height = self._network.size
        name = weights.name.lower()
        self._steps = _steps(rtmlib.RTMDet if "rtmdet" in name else rtmlib.YOLOX, (height, width))
        self._corners, self._strides = _grid(width, height)
        shapes = self._network.output_shapes
        suppressed = len(shapes) in (1, 2) and len(shapes[0]) == 3 and shapes[0][2] == 5
        plain = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == len(self._strides) and shapes[0][2] > 5
        if not suppressed and not plain:
            raise ModelError(
                f"{weights} gives {_told(shapes)}; a YOLOX or RTMDet detector gives (N, boxes, 5), with non-maximum "
                f"suppression inside, or else (N, {len(self._strides)}, 5 + classes) for its input of {width}×{height}"
            )
        if suppressed and "rtmdet" not in name and "yolox" not in name:
            raise ModelError(
                f"{weights} may be YOLOX or RTMDet, which want different pixels; put the one that it is into its name"
            )
        self._people = self._suppressed_people if suppressed else self._plain_people

    def __call__(self, frames: list[Frame]) -> list[Detections]:
        detections = []
        for part in _parts(frames, self._network.most):
            bgr = [np.ascontiguousarray(frame.image[..., ::-1]) for frame in part]
            pictures, ratios = zip(*map(self._steps.preprocess, bgr), strict=True)
            for *outputs, ratio in zip(*self._network(pictures), ratios, strict=True):
                boxes, scores = self._people(*outputs)
                detections.append(Detections((boxes / ratio).astype(np.float32), scores.clip(0, 1).astype(np.float32)))
        return detections

    def _suppressed_people(self, rows: np.ndarray, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Of (boxes, 5) xyxy and score, and the labels (boxes,) of a network that knows more than people."""
        chosen = rows[:, 4] > LEAST_CONFIDENCE
        if labels is not None:
            chosen &= labels == 0
        return rows[chosen, :4], rows[chosen, 4]

    def _plain_people(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of a cell's (cells, 5 + classes): centre, logarithm of the size, objectness, and each class's share."""
        from rtmlib.tools.object_detection.post_processings import multiclass_nms

        scores = rows[:, 4] * rows[:, 5]
        likely = scores > LEAST_CONFIDENCE
        rows, scores, strides = rows[likely], scores[likely, None], self._strides[likely]
        centres, halves = (rows[:, :2] + self._corners[likely]) * strides, np.exp(rows[:, 2:4]) * strides / 2
        boxes = np.hstack([centres - halves, centres + halves])
        found, _ = multiclass_nms(boxes, scores, nms_thr=_NMS_OVERLAP, score_thr=LEAST_CONFIDENCE)
        return (boxes[:0], scores[:0, 0]) if found is None else (found[:, :4], found[:, 4])


class RtmPose:
    """RTMPose (SimCC) or ViTPose (heatmaps): all boxes of the frames in one call, up to a bound of memory.

    Keypoints that have a score are rtmlib's to 1e-4 px, except by way of OpenVINO; scores are clipped into [0, 1],
    which SimCC's can leave. A box without area gets score 0. Raises ModelError if the file is neither, or finds other
    keypoints than COCO's 17 or Halpe's 26, which begin with them. backend: see `OnnxBackend`.
    """

    layout = COCO17

    def __init__(self, weights: Path, device: str, backend: OnnxBackend = "auto"):
        rtmlib = import_rtmlib()
        self._network = _open(weights, device, backend)
        width, height = self._network.size
        shapes = self._network.output_shapes
        ranks, last = [len(shape) for shape in shapes], [shape[-1] for shape in shapes]
        if ranks == [3, 3] and last == [2 * width, 2 * height] and shapes[0][1] == shapes[1][1]:
            kind = rtmlib.RTMPose
        elif ranks == [4]:
            kind = rtmlib.ViTPose
        else:
            raise ModelError(
                f"{weights} gives {_told(shapes)}; RTMPose gives (N, K, {2 * width}) and (N, K, {2 * height}) for its "
                f"input of {width}×{height}, ViTPose heatmaps (N, K, H, W)"
            )
        if shapes[0][1] not in _KEYPOINT_COUNTS:
            raise ModelError(f"{weights} finds {shapes[0][1]} keypoints; COCO's 17 or Halpe's 26 are needed")
        self._steps = _steps(kind, (width, height))

    def __call__(self, frames: list[Frame], detections: list[Detections]) -> list[Detections]:
        poses = [np.zeros((len(found), len(self.layout), 3), np.float32) for found in detections]
        boxed = [
            (frame.image, box, pose)
            for frame, found, people in zip(frames, detections, poses, strict=True)
            for box, pose in zip(found.boxes, people, strict=True)
            if (box[2:] > box[:2]).all()
        ]
        for part in _parts(boxed, self._network.most):
            for (_, _, pose), estimate in zip(part, self._estimate(part), strict=True):
                pose[:] = estimate
        return [
            replace(found, keypoints=people[..., :2], keypoint_scores=people[..., 2], layout=self.layout)
            for found, people in zip(detections, poses, strict=True)
        ]

    def _estimate(self, boxed: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
        """Keypoints and scores (P, 17, 3) in P boxes, each with its picture before it."""
        prepared = [self._steps.preprocess(image, box.astype(np.float64)) for image, box, _ in boxed]
        crops, centres, sizes = zip(*prepared, strict=True)
        keypoints, scores = self._steps.postprocess(
            self._network(crops), np.stack(centres)[:, None], np.stack(sizes)[:, None]
        )
        poses = np.concatenate([keypoints, scores[..., None].clip(0, 1)], axis=2)[:, : len(self.layout)]
        poses[~np.isfinite(poses).all(axis=2)] = 0
        return poses


def _open(weights: Path, device: str, backend: OnnxBackend, usual: tuple[int, int] | None = None) -> _Network:
    """An ONNX file on what is to run it. usual: see `_Network`. Raises ModelError."""
    if backend == "openvino" and device != "cpu":
        raise ModelError(
            f"OpenVINO runs networks on the CPU, not on {device}; choose --device cpu or backend onnxruntime"
        )
    session = openvino.OnnxSession(weights) if backend == "openvino" else load_session(weights, device)
    return _Network(weights, device, session, usual)


class _Network:
    """An ONNX file that takes pictures (N, 3, H, W) float32.

    size: (W, H) of its pictures; `usual` where the file leaves that open. most: how many it takes at once.
    output_shapes: what it gives for `most` or two pictures. Raises ModelError.
    """

    def __init__(self, weights: Path, device: str, session: Any, usual: tuple[int, int] | None):
        self._weights, self._device, self._session = weights, device, session
        inputs = session.get_inputs()
        shape = inputs[0].shape if inputs else []
        fixed = [n if isinstance(n, int) and n > 0 else None for n in shape]
        if len(inputs) != 1 or len(shape) != 4 or fixed[1] not in (3, None) or inputs[0].type != "tensor(float)":
            takes = " and ".join(f"{i.type} {i.shape}" for i in inputs) or "nothing"
            raise ModelError(f"{weights} takes {takes}; one input of pictures, float (N, 3, H, W), is needed")
        if fixed[2] and fixed[3]:
            self.size = fixed[3], fixed[2]
        elif usual:
            self.size = usual
        else:
            raise ModelError(f"{weights} leaves the size of its input open ({shape}); export it with a fixed H and W")
        self._input = inputs[0].name
        self._fixed_batch = fixed[0]
        self.most = fixed[0] or max(1, _MOST_PIXELS // (self.size[0] * self.size[1]))
        self.output_shapes = self._probe()

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, each (N, ...), of N pictures (H, W, 3), at most `most`."""
        batch = np.stack([picture.transpose(2, 0, 1) for picture in pictures]).astype(np.float32)
        if self._fixed_batch:
            batch = np.pad(batch, ((0, self._fixed_batch - len(batch)), (0, 0), (0, 0), (0, 0)))
        try:
            outputs = self._session.run(None, {self._input: batch})
        except Exception as error:  # those of ONNX Runtime and OpenVINO have no base of their own
            raise ModelError(f"{self._weights} does not run on {self._device} ({first_line(error)})") from error
        return [output[: len(pictures)] for output in outputs]

    def _probe(self) -> list[tuple[int, ...]]:
        """Try it. Some networks say that they take any number of pictures and still take one only."""
        blank = np.zeros((self.size[1], self.size[0], 3), np.float32)
        count = min(2, self.most)
        try:
            shapes = [output.shape for output in self([blank] * count)]
            if all(shape and shape[0] == count for shape in shapes):
                return shapes
        except ModelError:
            if count == 1:
                raise
        self.most = 1
        return [output.shape for output in self([blank])]


def _steps(kind: Any, size: tuple[int, int]) -> Any:
    """rtmlib's pre- and post-processing alone: its constructor would load the file once more, and print so."""
    steps = kind.__new__(kind)
    defaults = inspect.signature(kind).parameters
    steps.model_input_size = size
    steps.mean, steps.std = (defaults[name].default if name in defaults else None for name in ("mean", "std"))
    return steps


def _grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (cells, 2) and stride (cells, 1) of each cell of the three grids over a picture."""
    corners, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(corners), np.concatenate(strides)


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _told(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("(" + ", ".join(["N", *map(str, shape[1:])]) + ")" for shape in shapes)


def import_rtmlib() -> Any:
    """The package. Raises ModelError naming the command that installs it."""
    try:
        import rtmlib
    except ImportError as error:
        # The extra would bring onnxruntime along, which hides onnxruntime-gpu.
        alone = "onnxruntime-gpu" in installed_builds()
        what = f"--no-deps rtmlib=={_VERSION}" if alone else "'poseact[rtmlib]'"
        raise ModelError(f"rtmlib cannot be imported ({error}); run: pip install {what}") from error
    return rtmlib
