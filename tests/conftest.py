"""Fixtures for all tests. Nothing here needs a download; what needs ../shared skips without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the command line does, before torch is there

import av
import numpy as np
import pytest
import torch

from poseact.bundle import BundleInfo

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
    """Write a video of plain greys that tell the index of a frame: 40 + 5·i up to frame 39, then back down and up
    again, since a jump from white to black would be a cut.

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
                grey = np.full((size[1], size[0], 3), 40 + 5 * told_index(index), np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
                if pts is not None:
                    frame.pts = pts[index]
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return Path(path)

    return draw


def told_index(index: int) -> int:
    """What a frame of `draw_video` can tell of its index: 0, 1, ... 38, 39, 38, ... 1, 0, 1, ..."""
    return min(index % 78, 78 - index % 78)


def grey_index(image: np.ndarray) -> int:
    """The index that a frame of `draw_video` tells, see `told_index`."""
    return round((float(image[2:-2, 2:-2].mean()) - 40) / 5)


class KeypointNamer(torch.nn.Module):
    """A classifier with an answer that can be foretold: how much is drawn of each of the first keypoints."""

    def __init__(self, n_labels: int):
        super().__init__()
        self.n_labels = n_labels
        self.scale = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.scale * volume.amax(dim=(3, 4)).mean(dim=2)[:, : self.n_labels]


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """make_bundle(**info): a bundle with the labels head, left_shoulder, right_shoulder; the answer is the one
    of these keypoints that is drawn brightest."""

    def make(path: Path | None = None, **info) -> Path:
        path = path or tmp_path / "namer.pt"
        labels = ("head", "left_shoulder", "right_shoulder")
        described = {
            "name": "namer",
            "version": "1",
            "labels": labels,
            "layout": "body13",
            "window": 2.0,
            "stride": 1.0,
        }
        bundle = BundleInfo(**{**described, **info})
        script = torch.jit.script(KeypointNamer(len(labels)).eval())
        torch.jit.save(script, str(path), _extra_files={"poseact.json": bundle.to_json()})
        return path

    return make
