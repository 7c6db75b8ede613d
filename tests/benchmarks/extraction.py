"""Frames a second from a video to its poses, beside `yolo predict save=False` of Ultralytics on the same weights.

    python tests/benchmarks/extraction.py ../shared/videos/* [--rounds 3] [--crops auto,never,always]

Whole processes, start and import included, in turns; medians. Both find keypoints in each frame; ours also tracks,
looks for cuts, fills gaps and writes the pickle.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from poseact.video import Video
from poseact.zoo import resolve


def seconds(command: list[str], folder: str) -> float:
    environment = {**os.environ, "YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "GOMP_SPINCOUNT": "3000"}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-1000:]}")
    return time.perf_counter() - started


def peer(video: Path, weights: Path, folder: str) -> list[str]:
    code = (
        f"from ultralytics import YOLO\nfor _ in YOLO({str(weights)!r}).predict({str(video)!r}, save=False, "
        "verbose=False, stream=True, classes=[0], conf=0.1): pass"
    )
    return [sys.executable, "-c", code]


def ours(video: Path, crops: str, folder: str) -> list[str]:
    output = Path(tempfile.mkdtemp(dir=folder)) / "poses.pkl"
    command = [sys.executable, "-m", "poseact", "extract-poses", str(video), "-o", str(output)]
    return [*command, "--crops", crops, "--subjects", "all", "-q"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crops", default="never,auto,always")
    options = parser.parse_args()
    weights = resolve("yolo11n-pose", "pose")
    rules = options.crops.split(",")
    print(f"{'video':<26}{'frames':>7}{'yolo predict':>14}" + "".join(f"{'crops ' + rule:>22}" for rule in rules))
    with tempfile.TemporaryDirectory() as folder:
        for path in options.videos:
            with Video(path) as video:
                frames = sum(1 for _ in video.frames())
            times: dict[str, list[float]] = {}
            for _ in range(options.rounds):
                times.setdefault("peer", []).append(seconds(peer(path, weights, folder), folder))
                for rule in rules:
                    times.setdefault(rule, []).append(seconds(ours(path, rule, folder), folder))
            theirs = median(times["peer"])
            line = f"{path.name:<26}{frames:>7}{frames / theirs:>10.1f} f/s"
            for rule in rules:
                line += f"{frames / median(times[rule]):>10.1f} f/s ({theirs / median(times[rule]):4.2f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
