"""What int8 would save of the detector's work on a CPU, and what it does to keypoints.

    pip install nncf
    cd ../shared/videos && python .../tests/benchmarks/int8.py --calibrate '[bp]*.mp4' walk_climb.mp4 arm_wrestling.mp4
    python tests/benchmarks/int8.py --keep-head ...

Quantizes the default network with NNCF by the pictures of the videos that --calibrate names, then prints for each shape
of input how long it takes beside the form that poseact runs, in turns, and for each other video how far keypoints lie
from those in float32, in shares of the person's height, with the people that are missed or invented (score above 0.5).
--keep-head: the layers that give boxes and keypoints stay as they are.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from poseact import openvino
from poseact.cli import keep_freed_memory
from poseact.detect import iou
from poseact.letterbox import fit
from poseact.sampling import FrameThinner
from poseact.video import Video
from poseact.yolo import FRAME_SIZE, YoloResult, _load, _one_by_one, scaled_size
from poseact.yolo_net import Head, Undecoded, head_of
from poseact.zoo import DEFAULT_POSE, resolve

# Pictures a second that are looked at.
_RATE = 3.0
_SHAPES = (1, 384, 640, 3), (1, 256, 160, 3), (1, 256, 256, 3), (1, 512, 256, 3)
_SURE = 0.5


def pictures(paths: list[Path]) -> Iterator[np.ndarray]:
    """Some of each video, as large as the network sees them."""
    for path in paths:
        with Video(path) as video:
            for frame in video.frames(wanted=FrameThinner(video.fps, _RATE).wants):
                yield cv2.resize(frame.image, scaled_size(frame.size)[::-1])


def quantized(model: Any, head: Head, paths: list[Path], keep_head: bool) -> Any:
    import nncf

    boxes = [(image, fit(image.shape[:2], FRAME_SIZE, head.stride, square=False)) for image in pictures(paths)]
    inputs = [box.put(image)[None] for image, box in boxes]
    kept = nncf.IgnoredScope(patterns=[r".*model\.23\..*"] if keep_head else [], validate=False)
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=kept,
    )


def tell_speed(networks: dict[str, openvino.Network]) -> None:
    random = np.random.default_rng(0)
    for shape in _SHAPES:
        inputs = [random.integers(0, 255, shape, dtype=np.uint8) for _ in range(16)]
        found: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(12):
            for name, network in networks.items():
                started = time.process_time()
                for _ in network(inputs):
                    pass
                found[name].append((time.process_time() - started) / len(inputs))
        told = ", ".join(f"{name} {1e3 * statistics.median(each[3:]):.2f} ms" for name, each in found.items())
        typer.echo(f"{shape[1]}×{shape[2]}: {told} of processor time")


def apart(found: YoloResult, truth: YoloResult) -> tuple[list[float], int]:
    """How far the keypoints of each person lie from the true ones, in shares of the height; and how many are missed."""
    distances, missed = [], 0
    for box, points, score in zip(truth.boxes, truth.keypoints, truth.scores, strict=True):  # type: ignore[arg-type]
        if score < _SURE:
            continue
        overlaps = iou(found.boxes, box) if len(found.boxes) else np.zeros(1)
        if overlaps.max() < 0.5:
            missed += 1
            continue
        theirs = found.keypoints[overlaps.argmax()]  # type: ignore[index]
        seen = points[:, 2] > _SURE
        if seen.any():
            shift = np.linalg.norm(theirs[seen, :2] - points[seen, :2], axis=1).mean()
            distances.append(float(shift / (box[3] - box[1])))
    return distances, missed


def tell_keypoints(path: Path, networks: dict[str, openvino.Network], exact: openvino.Network, head: Head) -> None:
    direct = {name: _one_by_one("openvino", head, network) for name, network in networks.items()}
    truth = _one_by_one("openvino", head, exact)
    for name, network in direct.items():
        distances, missed, invented = [], 0, 0
        for image in pictures([path]):
            (wanted,), (found,) = truth([image], FRAME_SIZE, False), network([image], FRAME_SIZE, False)
            of_frame, missed_here = apart(found, wanted)
            distances += of_frame
            missed += missed_here
            invented += max(0, int((found.scores > _SURE).sum()) - int((wanted.scores > _SURE).sum()))
        middle, most = np.percentile(distances or [0], [50, 90])
        typer.echo(
            f"{path.name}: {name}: {middle:.2%} apart, nine of ten below {most:.2%}; "
            f"of {len(distances) + missed} people {missed} missed, {invented} invented"
        )


def main(
    videos: list[Path],
    calibrate: Annotated[str, typer.Option(help="A pattern of videos.")],
    keep_head: Annotated[bool, typer.Option("--keep-head")] = False,
) -> None:
    warnings.simplefilter("ignore")
    keep_freed_memory()
    loaded = _load(resolve(DEFAULT_POSE, "pose", typer.echo)).model
    head = head_of(loaded)
    assert head is not None
    model = openvino.convert(Undecoded(loaded), (1, 3, 64, 96))
    smaller = quantized(model, head, [Path(name) for name in sorted(glob(calibrate))], keep_head)
    usual = openvino.Network(model, exact=False)
    networks = {usual.precision: usual, "int8": openvino.Network(smaller, exact=False)}
    tell_speed(networks)
    for path in videos:
        tell_keypoints(path, networks, openvino.Network(model, exact=True), head)


if __name__ == "__main__":
    typer.run(main)
