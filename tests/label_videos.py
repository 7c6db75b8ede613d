"""Videos for `poseact label`, tiny ones with everything that a cheap chain needs, and broken ones of many kinds."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import small_onnx
import torch
from conftest import KeypointNamer

from poseact.bundle import BundleInfo

SIZE = (96, 64)  # width, height
FPS = 10
# The middles of a red and a blue spot; the pose network puts the nose on red and the left shoulder on blue.
_RED, _BLUE = (30, 20), (62, 40)


@dataclass(frozen=True)
class TinyChain:
    """videos: a folder of tiny videos; boxes: that of their boxes. options: of the command line, for a chain of real
    stages that takes a millisecond a frame: boxes from files, a pose network of a few operators, a classifier of a
    few more."""

    videos: Path
    boxes: Path
    options: list[str]


def write_tiny_chain(folder: Path, count: int, seconds: float = 1.2, seed: int = 0) -> TinyChain:
    """`count` videos `videos/NN/MMM.mp4` that last so long, one person in each who is now one label, now another."""
    rng = np.random.default_rng(seed)
    videos, boxes = folder / "videos", folder / "boxes"
    boxes.mkdir(parents=True)
    for number in range(count):
        path = videos / f"{number // 100:02}" / f"v{number:04}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tiny_video(path, seconds, rng)
    for path in videos.rglob("*.mp4"):
        write_boxes(boxes / f"{path.stem}.csv", round(seconds * FPS))
    pose = small_onnx.simcc(folder / "pose.onnx")
    model = write_namer(folder / "namer.pt")
    named = ["--boxes", boxes, "--pose", pose, "--classifier", model, "--devices", "cpu"]
    return TinyChain(videos, boxes, [str(value) for value in named])


def write_tiny_video(path: Path, seconds: float, rng: np.random.Generator) -> None:
    """Two spots, the brightness of which drifts from one to the other."""
    frames = round(seconds * FPS)
    first, last = rng.uniform(0, 1, 2)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=FPS, options={"qscale": "3"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(frames):
            share = first + (last - first) * index / frames
            picture = np.full((SIZE[1], SIZE[0], 3), 20, np.uint8)
            for (x, y), channel, bright in ((_RED, 0, share), (_BLUE, 2, 1 - share)):
                picture[y - 6 : y + 6, x - 6 : x + 6, channel] = 60 + 180 * bright
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_boxes(path: Path, frames: int) -> None:
    rows = [f"{frame},8,2,{SIZE[0] - 8},{SIZE[1] - 2},1" for frame in range(frames)]
    path.write_text("\n".join(["frame,x1,y1,x2,y2,id", *rows, ""]))


def write_namer(path: Path, **info) -> Path:
    """The bundle of conftest's `make_bundle`, with windows of half a second."""
    labels = ("head", "left_shoulder", "right_shoulder")
    described = {"name": "namer", "version": "1", "labels": labels, "layout": "body13", "window": 0.5, "stride": 0.5}
    script = torch.jit.script(KeypointNamer(len(labels)).eval())
    torch.jit.save(script, str(path), _extra_files={"poseact.json": BundleInfo(**{**described, **info}).to_json()})
    return path


# Broken ones. Each maker gets a good mp4 and the path, without an ending, to write to, and returns what it wrote.


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _without_index(good: bytes, path: Path) -> Path:
    return _written(path.with_suffix(".mp4"), good[: good.index(b"moov") - 4])


def _scrambled(good: bytes, path: Path) -> Path:
    """The index is whole, but every byte of the pictures is another."""
    first, end = good.index(b"mdat") + 4, good.index(b"moov") - 4
    noise = np.random.default_rng(0).integers(0, 256, end - first, dtype=np.uint8).tobytes()
    return _written(path.with_suffix(".mp4"), good[:first] + noise + good[end:])


def _audio_only(good: bytes, path: Path) -> Path:
    path = path.with_suffix(".mp4")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _raw_avi(path: Path, width: int, height: int) -> Path:
    """Pictures of 64×48 pixels in a file that says they have another size."""
    path = path.with_suffix(".avi")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    sides = content.index(b"strf") + 12
    return _written(path, content[:sides] + struct.pack("<ii", width, height) + content[sides + 8 :])


def _link(path: Path, target: str | Path) -> Path:
    path = path.with_suffix(".mp4")
    path.symlink_to(target)
    return path


def _fifo(good: bytes, path: Path) -> Path:
    path = path.with_suffix(".mp4")
    os.mkfifo(path)
    return path


def _random(good: bytes, path: Path) -> Path:
    return _written(path.with_suffix(".mp4"), np.random.default_rng(1).bytes(4000))


BROKEN: dict[str, Callable[[bytes, Path], Path]] = {
    "empty": lambda good, path: _written(path.with_suffix(".mp4"), b""),
    "text": lambda good, path: _written(path.with_suffix(".mp4"), b"<html>Not found</html>\n" * 40),
    "no index": _without_index,
    "zeros": lambda good, path: _written(path.with_suffix(".mp4"), bytes(len(good))),
    "random bytes": _random,
    "audio only": _audio_only,
    "scrambled pictures": _scrambled,
    "no frames": lambda good, path: _written(path.with_suffix(".y4m"), b"YUV4MPEG2 W64 H48 F25:1 Ip C420jpeg\n"),
    "no size": lambda good, path: _raw_avi(path, 0, 0),
    "absurd size": lambda good, path: _raw_avi(path, 60_000, 60_000),
    "dangling link": lambda good, path: _link(path, "nowhere.mp4"),
    "link to itself": lambda good, path: _link(path, f"{path.name}.mp4"),
    "pipe": _fifo,
    "device": lambda good, path: _link(path, "/dev/zero"),
}


def write_broken(chain: TinyChain, count: int) -> dict[str, str]:
    """`count` broken files among the videos of a chain, of all kinds in turn, each with boxes, as if it were good.
    Returns the kind of each by the file's name."""
    good = min(chain.videos.rglob("*.mp4")).read_bytes()
    kinds = list(BROKEN.items())
    made = {}
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        path = make(good, chain.videos / f"broken-{number:02}")
        write_boxes(chain.boxes / f"{path.stem}.csv", 10)
        made[path.name] = kind
    return made
