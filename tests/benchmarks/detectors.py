"""Milliseconds a frame of the ways to run YOLO on one device, interleaved, and how far each is from Ultralytics'.

    python tests/benchmarks/detectors.py VIDEO... [--device cpu] [--weights yolo11n-pose] [--frames 16] [--rounds 5]

On a CPU: Ultralytics' predictor, and the network alone by way of PyTorch and OpenVINO, in float32 and bfloat16. On
CUDA: the predictor, and the network alone in float16, with as many frames a call as `batch_size` says. Differences are
those from the predictor: of confident keypoints of people with a score of 0.4 or more, as a share of the longer side of
the body; and the people that only one of the two finds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the command line does, before torch is there

import numpy as np
import torch

from poseact import openvino, yolo
from poseact.video import Video
from poseact.yolo import YoloResult, batch_size
from poseact.yolo_net import TorchNetwork, Undecoded, head_of
from poseact.zoo import resolve

Way = Callable[[list[np.ndarray]], list[YoloResult]]

SURE, SAME = 0.4, 0.6  # score of somebody who counts; overlap of two boxes of one person


def frames_of(videos: list[Path], count: int) -> list[list[np.ndarray]]:
    """`count` frames of each video, spread over its first ten seconds."""
    chosen = []
    for path in videos:
        with Video(path) as video:
            images = [frame.image for frame in video.frames(0.0, 10.0)]
        chosen.append([images[i] for i in np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)])
    return chosen


def ways_on(device: str, weights: Path) -> dict[str, Way]:
    def called(finder) -> Way:
        return lambda images: finder(images, yolo.FRAME_SIZE, False)

    def direct(name: str, make: Callable) -> Way:
        model = yolo._load(weights).model
        head = head_of(model)
        if head is None:
            raise SystemExit(f"{weights} has a head that only the predictor runs")
        network = Undecoded(model)
        return called(yolo._one_by_one(name, head, make(network)))

    def by_openvino(exact: bool) -> Callable:
        return lambda network: openvino.Network(openvino.convert(network, (1, 3, 64, 96)), exact)

    ways = {"predictor": called(yolo._Predictor(yolo._load(weights), device))}
    if device == "cpu":
        for dtype in (torch.float32, torch.bfloat16):
            ways[f"torch {str(dtype)[6:]}"] = direct("torch", lambda network, dtype=dtype: TorchNetwork(network, dtype))
        if openvino.is_installed():
            ways["openvino float32"] = direct("openvino", by_openvino(exact=True))
            ways["openvino bfloat16"] = direct("openvino", by_openvino(exact=False))
    else:
        ways["torch float16"] = called(yolo.Yolo(weights, device))
    return ways


def timed(way: Way, images: list[np.ndarray], size: int) -> tuple[float, list[YoloResult]]:
    """Seconds, and what was found."""
    start = time.perf_counter()
    found = [each for first in range(0, len(images), size) for each in way(images[first : first + size])]
    return time.perf_counter() - start, found


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (P, 4) and (Q, 4): (P, Q)."""
    from torchvision.ops import box_iou

    return box_iou(torch.from_numpy(one), torch.from_numpy(other)).numpy()


def differences(found: list[YoloResult], wanted: list[YoloResult]) -> str:
    shares, alone, people = [], 0, 0
    for ours, theirs in zip(found, wanted, strict=True):
        shared = overlaps(theirs.boxes, ours.boxes)
        for mine, pairs in ((theirs, shared), (ours, shared.T)):
            sure = mine.scores >= SURE
            people += int(sure.sum())
            alone += int((pairs[sure].max(axis=1, initial=0) < SAME).sum())
        if theirs.keypoints is None or ours.keypoints is None:
            continue
        for person in np.flatnonzero((theirs.scores >= SURE) & (shared.max(axis=1, initial=0) >= SAME)):
            seen = theirs.keypoints[person, :, 2] > 0.5
            off = theirs.keypoints[person, seen, :2] - ours.keypoints[shared[person].argmax(), seen, :2]
            side = (theirs.boxes[person, 2:] - theirs.boxes[person, :2]).max()
            shares += list(np.linalg.norm(off, axis=1) / side)
    told = f"people of one only {alone} of {people}"
    if shares:
        mean, most = 100 * np.mean(shares), 100 * np.percentile(shares, 95)
        told = f"keypoints off by {mean:.3f} % of the body, 95th percentile {most:.3f} %; {told}"
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", default="yolo11n-pose")
    parser.add_argument("--frames", type=int, default=16, help="of each video")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    weights = resolve(args.weights, "detector")
    ways = ways_on(args.device, weights)
    size = batch_size(args.device)
    videos = frames_of(args.videos, args.frames)
    count = sum(map(len, videos))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[YoloResult]] = {}
    for _ in range(args.rounds + 1):  # the first only warms up
        for name, way in ways.items():
            taken, results = zip(*(timed(way, images, size) for images in videos), strict=True)
            seconds[name].append(sum(taken))
            found[name] = [each for result in results for each in result]
    print(f"{count} frames of {len(videos)} videos, {size} a call, on {args.device}, {torch.get_num_threads()} threads")
    slowest = np.array(seconds["predictor"][1:])
    for name in ways:
        taken = np.array(seconds[name][1:])
        milliseconds, times = 1000 * np.median(taken) / count, np.median(slowest / taken)
        about = "" if name == "predictor" else f"; {differences(found[name], found['predictor'])}"
        print(f"{name:18} {milliseconds:6.2f} ms/frame, {times:.2f} times as fast{about}")


if __name__ == "__main__":
    main()
