"""Decoding: order, timestamps, rotation, odd formats, damage."""

import struct

import av
import numpy as np
import pytest
from conftest import grey_index, told_index
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.errors import InputError
from poseact.video import Frame, Video


def indices(video, **span):
    return [grey_index(frame.image) for frame in video.frames(**span)]


def test_frames_come_in_order_with_the_streams_times(tmp_path, draw_video):
    with Video(draw_video(tmp_path / "v.mp4", 30, fps=25)) as video:
        frames = list(video.frames())
    assert [grey_index(f.image) for f in frames] == list(range(30))
    assert [f.index for f in frames] == list(range(30))
    assert np.allclose([f.time for f in frames], np.arange(30) / 25)
    assert video.end == pytest.approx(1.2)
    assert not video.was_cut
    assert video.decode_errors == 0


def test_b_frames_are_reordered(tmp_path):
    path = tmp_path / "b.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            grey = np.full((48, 64, 3), 40 + 5 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    with Video(path) as video:
        assert indices(video) == list(range(20))


def test_variable_frame_rate_keeps_its_timestamps(tmp_path, draw_video):
    pts = [0, 40, 80, 300, 340, 1000, 1500]
    with Video(draw_video(tmp_path / "vfr.mkv", 7, pts=pts)) as video:
        assert [f.time for f in video.frames()] == pytest.approx([p / 1000 for p in pts], abs=2e-3)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "ending"),
    [
        ("libx264", "yuv444p", "mp4"),
        ("libx264", "yuv420p10le", "mp4"),
        ("libx265", "yuv420p10le", "mp4"),
        ("mpeg4", "yuv420p", "avi"),
        ("mjpeg", "yuvj422p", "avi"),
        ("libvpx-vp9", "yuv420p", "webm"),
        ("ffv1", "gray", "mkv"),
        ("png", "rgba", "mov"),
    ],
)
def test_odd_formats_become_rgb(tmp_path, draw_video, codec, pix_fmt, ending):
    with Video(draw_video(tmp_path / f"v.{ending}", 5, codec=codec, pix_fmt=pix_fmt)) as video:
        frames = list(video.frames())
    greys = [f.image.mean() for f in frames]
    assert np.allclose(greys, [40, 45, 50, 55, 60], atol=4)  # MPEG-4 quantises coarsely
    assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)


def test_colours_are_rgb(tmp_path):
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        red = np.zeros((48, 64, 3), np.uint8)
        red[..., 0] = 220
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode())
    with Video(path) as video:
        (frame,) = video.frames()
    r, g, b = frame.image.reshape(-1, 3).mean(axis=0)
    assert r > 200
    assert max(g, b) < 30


# The matrix of a track header: a, b, u, c, d, v, x, y, w; 16.16 fixed point, u, v, w 2.30.
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path, clockwise):
    upright = tmp_path / "upright.mp4"
    with av.open(str(upright), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        image = np.zeros((48, 64, 3), np.uint8)
        image[:24, :32] = 255  # white in the upper left quarter
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(upright.read_bytes())
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = content.index(identity, content.index(b"tkhd"))
    a, b, c, d = (value << 16 for value in _TURNS[clockwise])
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    with Video(turned) as video:
        (frame,) = video.frames()
    expected = np.rot90(image, -clockwise // 90)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize(("start", "end", "expected"), [(0.4, None, range(10, 50)), (0.4, 0.8, range(10, 20))])
def test_a_part_of_the_video(tmp_path, draw_video, start, end, expected):
    with Video(draw_video(tmp_path / "v.mp4", 50)) as video:
        frames = list(video.frames(start=start, end=end))
    assert [grey_index(f.image) for f in frames] == [told_index(i) for i in expected]
    assert frames[0].time == pytest.approx(start)


def test_only_wanted_frames_are_yielded(tmp_path, draw_video):
    with Video(draw_video(tmp_path / "v.mp4", 20)) as video:
        assert indices(video, wanted=lambda time: round(time * 25) % 5 == 0) == [0, 5, 10, 15]
    assert video.end == pytest.approx(0.8)


def test_a_start_behind_the_end_is_an_error(tmp_path, draw_video):
    with Video(draw_video(tmp_path / "v.mp4", 10)) as video, pytest.raises(InputError, match="--start"):
        list(video.frames(start=100))


def test_one_frame(tmp_path, draw_video):
    with Video(draw_video(tmp_path / "one.mp4", 1)) as video:
        assert len(list(video.frames())) == 1
    assert 0 < video.end <= 0.05


def faststart(tmp_path, n_frames=100):
    """A video of noise, so that it has bytes to lose, with its index in front."""
    path = tmp_path / "fast.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(n_frames):
            noise = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_stream_cut_in_the_middle_is_read_up_to_the_cut(tmp_path):
    content = faststart(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    with Video(cut) as video:
        count = len(list(video.frames()))
    assert 20 < count < 80
    assert video.was_cut
    assert video.announced_end == pytest.approx(4.0, abs=0.1)


def test_damage_in_the_middle_is_passed_over_and_counted(tmp_path):
    content = bytearray(faststart(tmp_path).read_bytes())
    third = len(content) // 3
    content[third : third + 6000] = bytes(6000)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with Video(damaged) as video:
        count = len(list(video.frames()))
    assert video.decode_errors > 0
    assert count > 50
    assert video.end == pytest.approx(4.0, abs=0.1)


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("no video\n" * 50), "not a video"),
        (audio_only, "no video stream"),
    ],
)
def test_what_is_no_video_is_told_in_one_sentence(tmp_path, make, says):
    path = tmp_path / "v.mp4"
    make(path)
    with pytest.raises(InputError, match=says) as caught:
        Video(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_mp4_without_its_index(tmp_path, draw_video):
    content = draw_video(tmp_path / "v.mp4", 30).read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(InputError, match="not finished"):
        Video(broken)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 4000), where=st.integers(0, 4000), junk=st.binary(max_size=40))
def test_whatever_the_bytes_reading_ends_in_frames_or_an_input_error(tmp_path_factory, draw_video, cut, where, junk):
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(draw_video(folder / "v.mp4", 8).read_bytes())
    content[where : where + len(junk)] = junk
    path = folder / "fuzzed.mp4"
    path.write_bytes(content[: max(0, len(content) - cut)])
    try:
        with Video(path) as video:
            times = [frame.time for frame in video.frames()]
    except InputError:
        return
    assert times == sorted(times)


def test_a_frame_checks_itself():
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        Frame(np.zeros((4, 4)), 0, 0.0)
    assert repr(Frame(np.zeros((4, 6, 3), np.uint8), 3, 0.12)) == "Frame(3, 0.120 s, 6×4)"


def test_timestamps_count_from_the_containers_start(tmp_path, draw_video):
    path = draw_video(tmp_path / "v.ts", 10, codec="mpeg2video")
    with av.open(str(path)) as container:
        assert container.start_time > 0  # MPEG-TS starts late
    with Video(path) as video:
        assert next(iter(video.frames())).time == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["10:30.mp4", "with space.mp4", "a[b]%03d.mp4", "ünï.mp4", "https:.mp4"])
def test_a_name_is_only_a_name(tmp_path, draw_video, name):
    path = draw_video(tmp_path / "v.mp4", 3).rename(tmp_path / name)
    with Video(path) as video:
        assert indices(video) == [0, 1, 2]


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        Video(tmp_path / ("x" * 300 + ".mp4"))


def test_a_span_without_a_picture_is_an_input_error(tmp_path):
    """Sound from the start, pictures from 3 s on, as when a camera wakes up late."""
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        pictures = container.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), format="s16", layout="mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(sound.encode(silence))
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts = 75 + index
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
    with Video(path) as video:
        assert next(video.frames()).time == pytest.approx(3.0, abs=0.01)
    with Video(path) as video, pytest.raises(InputError, match="no picture between 1 and 2 s"):
        list(video.frames(start=1.0, end=2.0))


def test_a_start_in_a_file_that_lost_its_index(tmp_path):
    """An AVI's index stands at its end; without it, seeking lands between keyframes."""
    path = tmp_path / "whole.avi"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "100", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(75):
            noise = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    with Video(cut) as video:
        whole = [frame.time for frame in video.frames()]
    with Video(cut) as video:
        part = [frame.time for frame in video.frames(start=1.0)]
        assert video.decode_errors == 0
    assert part == pytest.approx([time for time in whole if time >= 1.0 - 1e-6])
    assert len(part) > 30


def test_a_blank_frame_is_as_large_and_takes_no_memory():
    frame = Frame(np.full((40, 60, 3), 9, np.uint8), 3, 0.5)
    blank = frame.blank()
    assert (blank.image.shape, blank.index, blank.time) == ((40, 60, 3), 3, 0.5)
    assert not blank.image.any()
    assert not any(blank.image.strides)


@pytest.mark.parametrize("wanted", [None, lambda time: time > 0.5], ids=["all", "some"])
def test_a_video_that_was_closed_has_no_more_frames(tmp_path, draw_video, wanted):
    """Reading on would end the process."""
    video = Video(draw_video(tmp_path / "v.mp4", 50))
    frames = video.frames(wanted=wanted)
    next(frames)
    video.close()
    assert list(frames) == []
