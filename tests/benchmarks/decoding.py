"""How fast videos are decoded: frames per second, decoding alone, and what is skipped where a third is wanted.

    python tests/benchmarks/decoding.py [VIDEO ...] [--seconds 10] [--repeat 3]

Without videos, one of 1080p H.264 is drawn: noise that moves, with x264's usual B-frames. Each way takes its turn, so
that what else the machine does meets all alike; the best turn of each is printed, as a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from poseact.decoding import Decoder, open_container, video_stream
from poseact.rgb import RgbConverter


def decode(path: Path, device: str, threads: int, convert: bool, third: bool) -> tuple[int, float, str]:
    """Frames of the whole video, seconds, and the pixel format that the decoder gave: nv12 is NVDEC's."""
    container = open_container(str(path), device)
    stream = video_stream(container, path)
    decoder, rgb, step, formats = Decoder(container, stream), RgbConverter(), 0, set()
    if threads:
        stream.codec_context.thread_count = threads

    def wanted(time: float) -> bool:
        nonlocal step
        step += 1
        return not third or step % 3 == 1

    began, count = time.perf_counter(), 0
    for picture in decoder.pictures(0.0, wanted):
        count += 1
        if picture.picture is not None:
            formats.add(picture.picture.format.name)
            if convert and (wanted(picture.time) if picture.wanted is None else picture.wanted):
                rgb(picture.picture)
    seconds = time.perf_counter() - began
    decoder.close()
    return count, seconds, ", ".join(sorted(formats))


def ways() -> dict[str, Callable[[Path], tuple[int, float, str]]]:
    processors = os.cpu_count() or 1
    chosen = sorted({1, 2, 4, 8, 16} & set(range(1, processors + 1)) | {min(processors, 16)})

    def way(device: str, threads: int, convert: bool, third: bool) -> Callable[[Path], tuple[int, float, str]]:
        return lambda path: decode(path, device, threads, convert, third)

    found = {f"{n} threads": way("cpu", n, False, False) for n in chosen}
    for device, name in (("cpu", "threads as FFmpeg likes"), ("cuda", "cuda, if it can")):
        found[name] = way(device, 0, False, False)
        found[f"{name}, to RGB"] = way(device, 0, True, False)
        found[f"{name}, every third to RGB, others skipped"] = way(device, 0, True, True)
    return found


def draw(path: Path, seconds: float) -> None:
    """1080p at 30 frames/s, blurred noise that moves."""
    small = np.random.default_rng(0).integers(0, 255, (68, 240, 3), np.uint8)
    noise = np.kron(small, np.ones((16, 16, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(int(seconds * 30)):
            left = index * 7 % 1900
            image = np.ascontiguousarray(noise[4:1084, left : left + 1920])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the video that is drawn")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors, PyAV {av.__version__}, Python {sys.version.split()[0]}\n")
    with tempfile.TemporaryDirectory() as folder:
        if not given.videos:
            given.videos = [Path(folder) / "drawn.mp4"]
            draw(given.videos[0], given.seconds)
        print("| video | way | frames/s | pixel format |\n| --- | --- | --- | --- |")
        for path in given.videos:
            best: dict[str, tuple[float, str]] = {}
            for _ in range(given.repeat):
                for name, way in ways().items():
                    count, seconds, formats = way(path)
                    best[name] = max(best.get(name, (0.0, "")), (count / seconds, formats))
            for name, (speed, formats) in best.items():
                print(f"| {path.name} | {name} | {speed:.0f} | {formats} |", flush=True)


if __name__ == "__main__":
    main()
