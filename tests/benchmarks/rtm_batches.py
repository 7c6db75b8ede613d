"""Boxes through a top-down network: all of a batch of frames in one call (ours) against one box a call (rtmlib's own).

    python tests/benchmarks/rtm_batches.py [--device cpu] [--frames 4] [--people 4]

No weights are needed: the network is a ResNet-18 under a SimCC head, with random weights and about RTMPose-m's cost.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision

from poseact.detect import Detections
from poseact.rtm import RtmPose
from poseact.video import Frame

KEYPOINTS, WIDTH, HEIGHT = 17, 192, 256


class SimccNetwork(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Sequential(*list(torchvision.models.resnet18().children())[:-2])
        self.keypoints = torch.nn.Conv2d(512, KEYPOINTS, 7, padding=3)
        self.x, self.y = (torch.nn.Linear(WIDTH * HEIGHT // 32**2, 2 * side) for side in (WIDTH, HEIGHT))

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.keypoints(self.backbone(crops)).flatten(2)
        return self.x(features), self.y(features)


def export(path: Path) -> None:
    names = ["simcc_x", "simcc_y"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            SimccNetwork().eval(),
            (torch.zeros(1, 3, HEIGHT, WIDTH),),
            str(path),
            input_names=["input"],
            output_names=names,
            dynamic_axes={name: {0: "n"} for name in ["input", *names]},
            opset_version=17,
            dynamo=False,
        )


def scene(frames: int, people: int) -> tuple[list[Frame], list[Detections]]:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 400, (frames, people, 2))
    sides = random.uniform(60, 300, (frames, people, 2))
    boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
    pictures = random.integers(0, 256, (frames, 720, 1280, 3), np.uint8)
    return (
        [Frame(picture, index, index / 25) for index, picture in enumerate(pictures)],
        [Detections(each, np.ones(people, np.float32)) for each in boxes],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    import rtmlib

    frames, detections = scene(args.frames, args.people)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rtmpose.onnx"
        export(path)
        ours = RtmPose(path, args.device)
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = rtmlib.RTMPose(str(path), (WIDTH, HEIGHT), backend="onnxruntime", device=args.device)

    def one_by_one() -> None:
        for frame, found in zip(frames, detections, strict=True):
            theirs(frame.image, bboxes=found.boxes)

    ways = {"one box a call": one_by_one, "one call": lambda: ours(frames, detections)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds + 1):  # the first only warms up
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    count = args.frames * args.people
    medians = {name: float(np.median(seconds[1:])) for name, seconds in taken.items()}
    for name, seconds in medians.items():
        print(f"{name}: {count / seconds:.1f} boxes/s")
    print(f"{count} boxes in one call are {medians['one box a call'] / medians['one call']:.2f} times as fast")


if __name__ == "__main__":
    main()
