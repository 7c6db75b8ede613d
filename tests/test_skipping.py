"""Pictures that nobody wants are not decoded, and nobody can tell from those that are wanted."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact import decoding
from poseact.video import Video

CODECS = {
    "h264": ("libx264", "mp4", {}),
    "h264 in Matroska": ("libx264", "mkv", {"bf": "4", "x264-params": "b-pyramid=normal:open-gop=1:keyint=15"}),
    "h264 without B-frames": ("libx264", "mp4", {"bf": "0"}),
    "hevc": ("libx265", "mp4", {"x265-params": "log-level=error:bframes=4:keyint=12"}),
    "mpeg4": ("mpeg4", "mp4", {"bf": "2"}),
    "vp9": ("libvpx-vp9", "webm", {"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "h264 in AVI": ("libx264", "avi", {}),
    "h264 in MPEG-TS": ("libx264", "ts", {}),
}
SKIPPABLE = {"h264", "h264 in Matroska", "hevc", "mpeg4"}


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Write 40 frames of something that moves, each at times of its own where the container can tell them."""

    def write(kind):
        codec, ending, options = CODECS[kind]
        path = tmp_path_factory.mktemp("moving") / f"v.{ending}"
        noise = np.random.default_rng(0).integers(0, 255, (48, 104, 3), np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for index in range(40):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, index : index + 64]), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


def read(path, wanted, start=None, end=None):
    """Everything that can be told of the frames, and how many were decoded."""
    with Video(path) as video:
        frames = [(f.index, f.time, f.image.tobytes()) for f in video.frames(start, end, wanted)]
        return frames, video.end, video.decoded, video.was_cut, video.decode_errors


def both_ways(monkeypatch, path, make_wanted, **span):
    with_skipping = read(path, make_wanted(), **span)
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "can_skip", lambda *_: False)
        return with_skipping, read(path, make_wanted(), **span)


def each_third():
    seen = iter(range(1000))
    return lambda time: next(seen) % 3 == 0


@pytest.mark.parametrize("kind", CODECS)
def test_the_same_frames_come_of_every_codec(monkeypatch, moving, kind):
    skipped, plain = both_ways(monkeypatch, moving(kind), each_third)
    assert skipped == plain
    assert len(plain[0]) == 14


@pytest.mark.parametrize("kind", CODECS)
def test_what_is_skipped_is_not_decoded(monkeypatch, moving, kind):
    pictures = []
    with Video(moving(kind)) as video:
        pictures = list(video._feed.pictures(0.0, each_third()))
    assert len(pictures) == 40
    assert any(p.picture is None for p in pictures) == (kind in SKIPPABLE)
    assert np.all(np.diff([p.time for p in pictures]) > 0)


@settings(max_examples=40, deadline=None)
@given(
    chosen=st.sets(st.integers(0, 39)),
    start=st.one_of(st.none(), st.integers(0, 30)),
    length=st.one_of(st.none(), st.integers(1, 30)),
    kind=st.sampled_from(sorted(SKIPPABLE)),
)
def test_the_same_frames_come_whatever_is_wanted(moving_once, chosen, start, length, kind):
    span = {
        "start": None if start is None else start / 25,
        "end": None if length is None else ((start or 0) + length) / 25,
    }
    asked: list[list[float]] = []

    def wanted():
        asked.append([])
        times = asked[-1]
        return lambda time: times.append(time) or round(time * 25) in chosen

    with pytest.MonkeyPatch.context() as patch:
        skipped, plain = both_ways(patch, moving_once(kind), wanted, **span)
    assert skipped == plain
    ahead, later = asked
    assert ahead[: len(later)] == later  # asked in the same order, once each
    assert ahead == sorted(set(ahead))


@pytest.fixture(scope="module")
def moving_once(moving):
    paths: dict[str, object] = {}

    def path(kind):
        if kind not in paths:
            paths[kind] = moving(kind)
        return paths[kind]

    return path


@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "basketball.mp4"])
def test_the_same_frames_come_of_real_videos(monkeypatch, shared, name):
    skipped, plain = both_ways(monkeypatch, shared / "videos" / name, each_third)
    assert skipped == plain


def test_damage_does_not_move_what_follows(moving_once, tmp_path):
    """Undamaged frames of a damaged file keep index and time, though pictures before them were neither decoded."""
    content = bytearray(moving_once("h264 in Matroska").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(content)
    whole, *_ = read(moving_once("h264 in Matroska"), each_third())
    found, *_ = read(damaged, each_third())
    assert len(found) > 5
    assert {time for _, time, _ in found} <= {time for _, time, _ in whole}
    assert [i for i, *_ in found] == sorted({i for i, *_ in found})
