"""Videos of any length, made of a short one by repeating it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from draw_actions import write_video

FULL_HD = (1920, 1080)
# Taken where a stream tells no frame rate.
_FALLBACK_FPS = 25
# Phones write no pictures that build on later ones, so that a video may be cut off anywhere.
_AS_PHONES = {"crf": "23", "preset": "fast", "bf": "0"}


def looped(source: Path, path: Path, seconds: float, size: tuple[int, int] | None = FULL_HD) -> Path:
    """Write `source` over and over as H.264 of so many seconds, and return `path`.

    size: (W, H) in even pixels, or None for the source's own. It is encoded once and its packets repeated, so that an
    hour takes no longer to make than a minute.
    """
    with tempfile.TemporaryDirectory() as folder:
        once = Path(folder) / "once.mp4"
        with av.open(str(source)) as container:
            rate = float(container.streams.video[0].guessed_rate or _FALLBACK_FPS)
        count = write_video(once, _pictures(source, size), rate, options=_AS_PHONES)
        loops = int(seconds * rate / count) + 1
        listed = Path(folder) / "list.txt"
        listed.write_text("ffconcat version 1.0\n" + f"file {once.name}\n" * loops)
        _copy_packets(listed, path, round(seconds * rate))
    return path


def _pictures(source: Path, size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    with av.open(str(source)) as container:
        for picture in container.decode(video=0):
            width, height = size or (picture.width // 2 * 2, picture.height // 2 * 2)
            yield picture.to_ndarray(format="rgb24", width=width, height=height)


def _copy_packets(listed: Path, path: Path, count: int) -> None:
    with av.open(str(listed), format="concat") as repeated, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(repeated.streams.video[0])
        packets = (packet for packet in repeated.demux(video=0) if packet.size)
        for _, packet in zip(range(count), packets, strict=False):
            packet.stream = stream
            output.mux(packet)
