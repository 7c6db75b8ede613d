"""Short clips cut out of real videos, and the same labelled by `poseact label` and by `poseact predict`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

# Of clips: seconds, and the longest side in pixels.
SHORTEST, LONGEST = 2.0, 4.0
SIDES = (640, 480, 320)

# (label, score) of each row, by the clip's name.
Labels = dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class Timed:
    """A way to label `clips` clips. against_loop: how many times as many clips in a minute as the shell loop.
    labels_differ: how many rows have another label than the loop's, of the clips that both did; scores_differ: the
    largest difference."""

    name: str
    clips: int
    seconds: float
    against_loop: float
    labels_differ: int
    scores_differ: float

    @property
    def rate(self) -> float:
        """Clips a minute."""
        return 60 * self.clips / self.seconds


def cut_clips(videos: Sequence[Path], folder: Path, count: int, seed: int) -> list[Path]:
    """`count` clips of different parts, sizes and sides of the videos, as many of each video."""
    rng = np.random.default_rng(seed)
    clips = []
    for number, video in enumerate(videos):
        pictures, fps = _read(video)
        for index in range(number, count, len(videos)):
            length = min(len(pictures), round(rng.uniform(SHORTEST, LONGEST) * fps))
            first = int(rng.integers(0, len(pictures) - length + 1))
            path = folder / f"{index:04}-{video.stem}.mp4"
            _write(path, pictures[first : first + length], fps, int(rng.choice(SIDES)), bool(rng.integers(2)))
            clips.append(path)
    return sorted(clips)


def _read(video: Path) -> tuple[list[av.VideoFrame], float]:
    """The pictures of a video, no larger than clips are, and how many of them make a second."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        width, height = _fitted(stream.width, stream.height, max(SIDES))
        pictures = [frame.reformat(width=width, height=height, format="rgb24") for frame in container.decode(stream)]
        return pictures, float(stream.average_rate)


def _fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(width, height))
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def _write(path: Path, pictures: Sequence[av.VideoFrame], fps: float, longest: int, mirrored: bool) -> None:
    width, height = _fitted(pictures[0].width, pictures[0].height, longest)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(fps), options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            image = picture.reformat(width=width, height=height).to_ndarray()
            image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def speed_runs(clips: Sequence[Path], loop: int, rounds: int) -> Iterator[Timed]:
    """All ways in turn, `rounds` times; the shell loop, over `loop` clips, first."""
    some = [clips[int(place)] for place in np.linspace(0, len(clips) - 1, min(loop, len(clips)))]
    for _ in range(rounds):
        seconds, known = _loop(some)
        rate = len(some) / seconds
        yield Timed("loop of predict CLIP", len(some), seconds, 1.0, 0, 0.0)
        ways = {
            "label FOLDER --workers 1": ["label", clips[0].parent, "--workers", "1"],
            "label FOLDER --workers 2": ["label", clips[0].parent, "--workers", "2"],
            "predict CLIP...": ["predict", *clips],
        }
        for name, arguments in ways.items():
            seconds, found = _timed(arguments)
            differ, by = _compared(known, found)
            yield Timed(name, len(clips), seconds, len(clips) / seconds / rate, differ, by)


def _loop(clips: Sequence[Path]) -> tuple[float, Labels]:
    seconds, found = 0.0, {}
    for clip in clips:
        took, labels = _timed(["predict", clip])
        seconds += took
        found |= labels
    return seconds, found


def _timed(arguments: Sequence[str | Path]) -> tuple[float, Labels]:
    """Seconds of a whole process, and its rows. Ends the program if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / ("out" if arguments[0] == "label" else "out.jsonl")
        command = [sys.executable, "-m", "poseact", *map(str, arguments), "-o", str(output), "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        began = time.perf_counter()
        ended = subprocess.run(command, capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - began
        if ended.returncode:
            sys.exit(f"{' '.join(command[:6])} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
        return seconds, _labels(output / "labels.jsonl" if output.is_dir() else output)


def _labels(rows: Path) -> Labels:
    found: Labels = {}
    for line in rows.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(Path(row["source"]).name, []).append((row["label"], row["score"]))
    return found


def _compared(known: Labels, found: Labels) -> tuple[int, float]:
    """How many labels differ, and by how much scores do at most, of the clips of `known`."""
    differ, by = 0, 0.0
    for clip, rows in known.items():
        others = found.get(clip, [])
        differ += abs(len(rows) - len(others))
        for (label, score), (other, its) in zip(rows, others, strict=False):
            differ += label != other
            by = max(by, abs((score or 0.0) - (its or 0.0)))  # nobody has no score
    return differ, by
