"""Ultralytics, kept quiet, offline and out of the user's home. The only file that imports it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ModelError

# Side of the square that a picture is fitted into, as the shipped weights were trained.
FRAME_SIZE = 640
# The tracker uses weak boxes too, to keep people that are partly hidden.
LEAST_CONFIDENCE = 0.1


@dataclass(frozen=True)
class YoloResult:
    """What a network finds in one picture, in pixels of it. boxes: (P, 4) float32 xyxy; scores: (P,) float32;
    keypoints: (P, K, 3) float32, x, y and confidence, or None from a network that only detects."""

    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None


class Yolo:
    """Ultralytics weights, loaded. Raises ModelError if they are none."""

    def __init__(self, weights: Path, device: str):
        ultralytics = _import_ultralytics()
        if weights.suffix != ".pt":
            raise ModelError(f"{weights} is no .pt file; poseact runs Ultralytics' own PyTorch weights")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.model = ultralytics.YOLO(str(weights))
            self.task = self.model.task
            # (keypoints, values of each), of a pose network
            self.keypoint_shape = tuple(getattr(self.model.model, "kpt_shape", ()))
        except Exception as error:  # a foreign file makes torch and Ultralytics raise nearly anything
            raise ModelError(f"{weights} cannot be loaded as Ultralytics weights ({_first_line(error)})") from error
        if self.task not in ("detect", "pose"):
            raise ModelError(f"{weights} is a network for {self.task}; a detect or pose network is needed")
        self.device = device

    def __call__(self, images: list[np.ndarray], size: int = FRAME_SIZE) -> list[YoloResult]:
        """People in RGB pictures (H, W, 3) uint8, each fitted into a square of `size` pixels."""
        with _all_threads():
            found = self.model.predict(
                [np.ascontiguousarray(image[..., ::-1]) for image in images],  # Ultralytics wants BGR
                imgsz=size,
                conf=LEAST_CONFIDENCE,
                classes=[0],
                device=self.device,
                verbose=False,
                save=False,
            )
        return [_translate(result) for result in found]


def _translate(result: Any) -> YoloResult:
    keypoints = result.keypoints
    return YoloResult(
        boxes=result.boxes.xyxy.cpu().numpy().astype(np.float32),
        scores=result.boxes.conf.cpu().numpy().astype(np.float32),
        keypoints=None if keypoints is None else keypoints.data.cpu().numpy().astype(np.float32),
    )


def import_tracker() -> tuple[Any, Any]:
    """Ultralytics' TrackTrack, and the class of boxes that it takes."""
    _import_ultralytics()
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


def _import_ultralytics() -> Any:
    """Import it so that it neither prints, installs packages, phones home nor writes into the user's home."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="poseact-yolo-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
