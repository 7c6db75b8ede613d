"""Fixtures for all tests. Nothing here needs a download; what needs ../shared skips without it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

sys.path.insert(0, str(ROOT / "examples"))


@pytest.fixture
def shared() -> Path:
    """The folder of data, videos and reference outputs beside the project."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, the data beside the project")
    return SHARED


@pytest.fixture(scope="session")
def draw_video() -> Callable[..., Path]:
    """Write a video whose frame i is a plain grey of brightness 40 + 4·(i mod 40): each frame tells its index.

    draw_video(path, n_frames, fps=25, size=(64, 48), codec="libx264", pix_fmt="yuv420p", pts=None);
    pts: timestamps in milliseconds, for a variable frame rate.
    """

    def draw(path, n_frames, fps=25, size=(64, 48), codec="libx264", pix_fmt="yuv420p", pts=None):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            if pts is not None:
                from fractions import Fraction

                stream.codec_context.time_base = Fraction(1, 1000)
            for index in range(n_frames):
                grey = np.full((size[1], size[0], 3), 40 + 4 * (index % 40), np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
                if pts is not None:
                    frame.pts = pts[index]
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return Path(path)

    return draw


def grey_index(image: np.ndarray) -> int:
    """The index that a frame of `draw_video` tells."""
    return round((float(image[2:-2, 2:-2].mean()) - 40) / 4)
