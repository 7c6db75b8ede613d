"""Ultralytics' weights: people in pictures, on whatever runs them fastest. It is kept quiet, offline and out of the
user's home. Only this file and `yolo_net` import it.

Its predictor takes several times as long as the network, so it serves only where nothing else can: for a head whose
answer `yolo_net` does not understand, and on Apple's GPUs.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import numpy as np

from . import openvino
from .device import kind_of
from .errors import ModelError
from .letterbox import Letterbox, fit
from .providers import first_line
from .zoo import sha256

if TYPE_CHECKING:
    from torch import Tensor

    from .yolo_net import Head

log = logging.getLogger(__name__)

Backend = Literal["auto", "torch", "openvino"]
# What a network sees in pictures, each fitted into its input by a letterbox.
See = Callable[[list[np.ndarray], list[Letterbox]], list["Tensor"]]

# Side of the square that a picture is fitted into, as the shipped weights were trained.
FRAME_SIZE = 640
# Most videos' pictures as the network sees them, tried at once: where it cannot run, something else still can.
_USUAL = (1, 384, 640, 3)
# The tracker uses weak boxes too, to keep people that are partly hidden.
LEAST_CONFIDENCE = 0.1


@dataclass(frozen=True)
class YoloResult:
    """What a network finds in one picture, in pixels of it. boxes: (P, 4) float32 xyxy; scores: (P,) float32;
    keypoints: (P, K, 3) float32, x, y and confidence, or None from a network that only detects."""

    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None

    @classmethod
    def together(cls, parts: Sequence[YoloResult], keypoint_shape: tuple[int, ...]) -> YoloResult:
        """The people of all parts of a picture, of whom there may be none. keypoint_shape: see `Yolo`."""
        known = [part.keypoints for part in parts if part.keypoints is not None]
        keypoints = [np.zeros((0, *keypoint_shape), np.float32), *known]
        return cls(
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(part.boxes for part in parts)]),
            scores=np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
            keypoints=np.concatenate(keypoints) if keypoint_shape else None,
        )

    def of(self, people: list[int]) -> YoloResult:
        """Only these people."""
        keypoints = None if self.keypoints is None else self.keypoints[people]
        return YoloResult(self.boxes[people], self.scores[people], keypoints)


class Yolo:
    """Ultralytics weights, loaded. backend: what runs them on a CPU; auto: OpenVINO where it is installed.

    task: `detect` or `pose`. keypoint_shape: (keypoints, values of each) of a pose network, else (). runs_on: what
    was taken: `openvino`, `torch`, or `predictor`, Ultralytics' own. Raises ModelError if the weights are none, or
    the backend is missing or cannot run them.
    """

    def __init__(self, weights: Path, device: str, backend: Backend = "auto"):
        if weights.suffix != ".pt":
            raise ModelError(f"{weights} is no .pt file; poseact runs Ultralytics' own PyTorch weights")
        if backend == "openvino" and device != "cpu":
            raise ModelError(
                f"OpenVINO runs networks on the CPU, not on {device}; choose --device cpu or backend torch"
            )
        by_openvino = backend == "openvino" or (backend == "auto" and device == "cpu" and openvino.is_installed())
        finder = _with_openvino(weights, backend) if by_openvino else None
        self._finder = finder or _with_torch(_load(weights), device)
        # Whoever loads the same weights shares this one, from whatever thread.
        self._alone = Lock()
        self.runs_on, self.task = self._finder.runs_on, self._finder.task
        self.keypoint_shape = self._finder.keypoint_shape
        log.info("%s: runs on %s by way of %s", weights.name, device, self.runs_on)

    def __call__(self, images: list[np.ndarray], size: int = FRAME_SIZE, square: bool = False) -> list[YoloResult]:
        """People in RGB pictures (H, W, 3) uint8, each fitted into a square of `size` pixels, of which the network sees
        as much as holds the picture, or the whole `square`. Except with the predictor, what is found in a picture does
        not depend on those beside it.
        """
        with self._alone:
            return self._finder(images, size, square)

    def within(self, images: list[np.ndarray], windows: list[Letterbox]) -> list[YoloResult]:
        """The same, of each picture, which may be scaled already, only what is in a window of the network's input, see
        `Letterbox.window`. Only if it `has_windows`. For CPUs: on a GPU each window would become a CUDA graph."""
        with self._alone:
            return self._direct.within(images, windows)

    def whole(self, size: tuple[int, int]) -> Letterbox:
        """How the network sees all of a picture of (H, W), if it `has_windows`."""
        return fit(size, FRAME_SIZE, self.stride, square=False)

    @property
    def stride(self) -> int:
        """Pixels of the network's input from one of its largest cells to the next, if it `has_windows`."""
        return self._direct.head.stride

    @property
    def has_windows(self) -> bool:
        """Whether it can look at parts of a picture: Ultralytics' predictor fits pictures by itself."""
        return isinstance(self._finder, _Direct)

    @property
    def _direct(self) -> _Direct:
        assert isinstance(self._finder, _Direct)
        return self._finder


def scaled_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (H, W) at which the networks see a whole picture of (H, W)."""
    return fit(size, FRAME_SIZE, 1, square=False).fitted


def batch_size(device: str) -> int:
    """How many frames are worth a call together: on CUDA two batches, of which one is laid ready while the other is
    computed; on a CPU eight, or one for each core where these are more, so that none waits for the others."""
    import torch

    kind = kind_of(device)
    return {"cuda": 32, "mps": 8}.get(kind) or min(max(8, torch.get_num_threads()), 16)


_shared: WeakValueDictionary[tuple, Yolo] = WeakValueDictionary()


def share_yolo(weights: Path, device: str, backend: Backend = "auto") -> Yolo:
    """A `Yolo`, the same one for the same file as long as somebody has it: two stages need only one network."""
    state = weights.stat() if weights.exists() else None
    key = (weights.absolute(), state and (state.st_mtime_ns, state.st_size), device, backend)
    yolo = _shared.get(key)
    if yolo is None:
        yolo = _shared[key] = Yolo(weights, device, backend)
    return yolo


class _Predictor:
    """Ultralytics' own predictor."""

    runs_on = "predictor"

    def __init__(self, model: Any, device: str):
        self.model, self.device = model, device
        self.task = model.task
        self.keypoint_shape = tuple(getattr(model.model, "kpt_shape", ()))

    def __call__(self, images: list[np.ndarray], size: int, square: bool) -> list[YoloResult]:
        with _all_threads():
            found = self.model.predict(
                [np.ascontiguousarray(image[..., ::-1]) for image in images],  # Ultralytics wants BGR
                imgsz=size,
                rect=not square,
                conf=LEAST_CONFIDENCE,
                classes=[0],
                device=self.device,
                verbose=False,
                save=False,
            )
        return [_translate(result) for result in found]


class _Direct:
    """The network itself, between our own letterbox and suppression.

    see: what it sees in pictures (H, W, 3) uint8 RGB, each fitted into its input by a letterbox: for each picture
    (P, 5 + K·values) as `yolo_net.decode` gives it.
    """

    def __init__(self, runs_on: str, head: Head, see: See):
        self.runs_on, self.head, self.see = runs_on, head, see
        self.task, self.keypoint_shape = head.task, head.keypoint_shape

    def __call__(self, images: list[np.ndarray], size: int, square: bool) -> list[YoloResult]:
        boxes = [fit(image.shape[:2], size, self.head.stride, square) for image in images]
        if not square:
            return self.within(images, boxes)
        # Crops are of as many sizes, each of which would need a CUDA graph of its own.
        inputs = [box.put(image) for image, box in zip(images, boxes, strict=True)]
        return self._results(self.see(inputs, [fit(box.size, size, self.head.stride, square) for box in boxes]), boxes)

    def within(self, images: list[np.ndarray], boxes: list[Letterbox]) -> list[YoloResult]:
        return self._results(self.see(images, boxes), boxes)

    def _results(self, seen: list[Tensor], boxes: list[Letterbox]) -> list[YoloResult]:
        return [self._result(found, box) for found, box in zip(seen, boxes, strict=True)]

    def _result(self, found: Tensor, box: Letterbox) -> YoloResult:
        from .yolo_net import suppress

        rows = suppress(found)
        boxes = box.take_back(rows[:, :4].reshape(-1, 2)).reshape(-1, 4)
        if not self.keypoint_shape:
            return YoloResult(boxes, rows[:, 4], None)
        keypoints = rows[:, 5:].reshape(-1, *self.keypoint_shape)
        keypoints[..., :2] = box.take_back(keypoints[..., :2])
        return YoloResult(boxes, rows[:, 4], keypoints)


def _with_openvino(weights: Path, backend: Backend) -> _Direct | None:
    """None if it cannot run these weights, unless it was asked for by name."""
    from .yolo_net import Head, Undecoded, head_of

    key = openvino.key_of(sha256(weights), "yolo", "torch", "ultralytics")
    known = openvino.kept(key)
    try:
        if known is not None:
            model, head = known[0], Head.of(known[1])
        else:
            loaded = _load(weights).model
            found = head_of(loaded)
            if found is None:
                raise ModelError(f"{weights} has a head that OpenVINO is not prepared for; choose the torch backend")
            head, model = found, openvino.convert(Undecoded(loaded), (1, 3, 64, 96))
            openvino.keep(key, model, asdict(head))
        network = openvino.Network(model, exact=False)
        network.prepare(_USUAL)
        return _one_by_one("openvino", head, network)
    except ModelError as error:
        if backend == "openvino":
            raise
        log.warning("%s", error)
        return None


def _with_torch(model: Any, device: str) -> _Predictor | _Direct:
    import torch

    from .nets.freeze import choose_dtype
    from .yolo_net import TorchNetwork, Undecoded, head_of

    head = None if device == "mps" else head_of(model.model)
    if head is None:
        return _Predictor(model, device)
    network = Undecoded(model.model)
    if device.startswith("cuda"):
        from .yolo_cuda import CudaNetwork

        return _Direct("torch", head, CudaNetwork(network, head, device, LEAST_CONFIDENCE))
    return _one_by_one("torch", head, TorchNetwork(network, choose_dtype("auto", torch.device(device))))


def _one_by_one(runs_on: str, head: Head, network: Callable[[Iterable[np.ndarray]], Iterable[Any]]) -> _Direct:
    """On a CPU pictures gain nothing from being one input together, and so cannot influence each other."""
    from .yolo_net import candidates

    def see(images: list[np.ndarray], boxes: list[Letterbox]) -> list[Tensor]:
        inputs = (box.put(image)[None] for image, box in zip(images, boxes, strict=True))
        # Each answer is read before the next is asked for, which may overwrite it.
        answers = zip(network(inputs), boxes, strict=True)
        return [candidates(head, box.size, raw, LEAST_CONFIDENCE) for raw, box in answers]

    return _Direct(runs_on, head, see)


def _load(weights: Path) -> Any:
    """The `ultralytics.YOLO` of a file. Raises ModelError."""
    ultralytics = import_ultralytics()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ultralytics.YOLO(str(weights))
        task = model.task
    except Exception as error:  # a foreign file makes torch and Ultralytics raise nearly anything
        raise ModelError(f"{weights} cannot be loaded as Ultralytics weights ({first_line(error)})") from error
    if task not in ("detect", "pose"):
        raise ModelError(f"{weights} is a network for {task}; a detect or pose network is needed")
    return model


def _translate(result: Any) -> YoloResult:
    keypoints = result.keypoints
    return YoloResult(
        boxes=result.boxes.xyxy.cpu().numpy().astype(np.float32),
        scores=result.boxes.conf.cpu().numpy().astype(np.float32),
        keypoints=None if keypoints is None else keypoints.data.cpu().numpy().astype(np.float32),
    )


def import_tracker() -> tuple[Any, Any]:
    """Ultralytics' TrackTrack, and the class of boxes that it takes."""
    import_ultralytics()
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.track_tracker import TRACKTRACK

    return TRACKTRACK, Boxes


@contextmanager
def _all_threads() -> Iterator[None]:
    """Ultralytics leaves torch one core less when it first predicts: half of a laptop with two."""
    import torch

    threads = torch.get_num_threads()
    yield
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def keep_ultralytics_out_of_home() -> None:
    """Give it a folder for its settings that goes when this process does, and that processes it starts use too."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="poseact-yolo-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder


def import_ultralytics() -> Any:
    """Import it so that it neither prints, installs packages, phones home nor writes into the user's home."""
    keep_ultralytics_out_of_home()
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_VERBOSE"] = "false"
    threads = os.environ.get("OMP_NUM_THREADS")
    try:
        import ultralytics
    except ImportError as error:
        # A library of the system that is missing is no matter of pip's.
        cure = "pip install ultralytics" if isinstance(error, ModuleNotFoundError) else "poseact doctor"
        raise ModelError(f"Ultralytics cannot be imported ({error}); run: {cure}") from error
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)  # it sets 1, which child processes would inherit
    return ultralytics
