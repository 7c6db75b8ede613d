"""Annotated videos, read back."""

import os
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from poseact import mp4
from poseact.annotate import annotate_video
from poseact.clips import ClipLabel
from poseact.errors import InputError, OutputError, UsageError
from poseact.poses import PoseSequence
from poseact.skeleton import BODY13
from poseact.video_poses import VideoPoses


def row(start, end, label="run", person=None) -> ClipLabel:
    return ClipLabel("v.mp4", 0, start, end, person, label, 0.9, (), 1)


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times(path: Path) -> list[float]:
    return [frame.time for frame in pictures(path)]


def packets(path: Path, index: int = 0) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=index) if packet.size]


def sounded(path: Path, video: Path, codec: str, *, streams: int = 1, start: float = 0.0, seconds: float = 1.2) -> Path:
    """A copy of a video with so many streams of a tone beside its pictures."""
    with av.open(str(video)) as source, av.open(str(path), "w") as output:
        shown = output.add_stream_from_template(source.streams.video[0])
        tones = [output.add_stream(codec, rate=48000, layout="mono") for _ in range(streams)]
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = shown
                output.mux(packet)
        for tone in tones:
            samples = np.sin(np.arange(int(48000 * seconds)) / 20)[None] * 0.5
            frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, round(48000 * start), Fraction(1, 48000)
            resampler = av.AudioResampler(tone.format, "mono", 48000)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                output.mux(tone.encode(part))
            output.mux(tone.encode())
    return path


@pytest.fixture
def annotate(tmp_path):
    """annotate(video, poses, labels): the path of the annotated video."""

    def run(video, poses=None, labels=(), **more) -> Path:
        annotate_video(video, tmp_path / "out.mp4", poses or VideoPoses(), labels, **more)
        assert not list(tmp_path.glob("*.part"))
        return tmp_path / "out.mp4"

    return run


def test_frames_times_size_and_rate_are_the_sources(tmp_path, draw_video, annotate):
    video = draw_video(tmp_path / "v.mp4", 30, fps=30, size=(96, 64))
    told = []
    out = annotate(video, on_progress=lambda done, total: told.append((done, total)))
    assert times(out) == times(video)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt, stream.codec.name) == (96, 64, "yuv420p", "h264")
        assert stream.average_rate == 30
        assert float(stream.duration * stream.time_base) == pytest.approx(1.0, abs=0.002)
    assert len(told) == 30
    assert told[-1] == (pytest.approx(29 / 30), pytest.approx(1.0))


def test_the_index_comes_before_the_pictures(tmp_path, draw_video, annotate):
    content = annotate(draw_video(tmp_path / "v.mp4", 5)).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_uneven_times_are_kept(tmp_path, draw_video, annotate, ending):
    pts = [0, 40, 50, 130, 400, 401, 900]
    video = draw_video(tmp_path / f"v.{ending}", 7, pts=pts)
    assert times(annotate(video)) == pytest.approx([p / 1000 for p in pts], abs=1e-3)


def test_times_that_had_to_be_guessed_may_lie_between_the_sources_own(tmp_path, draw_video):
    """As of H.264 in AVI, which has no times of pictures."""
    video, guessed = draw_video(tmp_path / "v.avi", 3, fps=10), [0.1, 0.133, 0.166, 0.2, 0.5]
    with mp4.Mp4(tmp_path / "out.mp4", video, (48, 64), 10.0) as written:
        for time in guessed:
            written.write(np.zeros((48, 64, 3), np.uint8), time, 0.1)
    assert times(tmp_path / "out.mp4") == pytest.approx(guessed, abs=1e-3)


def test_an_odd_size_becomes_even(tmp_path, draw_video, annotate):
    video = draw_video(tmp_path / "v.mkv", 3, size=(63, 47), codec="ffv1", pix_fmt="bgr0")
    frame = pictures(annotate(video))[0]
    assert (frame.width, frame.height) == (64, 48)


def test_colours_stay_as_they_are(tmp_path, annotate):
    video = tmp_path / "v.mp4"
    for space in (1, 5):  # of HD and of SD
        with av.open(str(video), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            stream.codec_context.colorspace, stream.codec_context.color_range = space, 1
            for _ in range(3):
                frame = av.VideoFrame(64, 64, "yuv420p")
                for plane, value in zip(frame.planes, (120, 90, 180), strict=True):
                    plane.update(bytes([value]) * plane.buffer_size)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        shown = pictures(annotate(video))[1]
        assert shown.colorspace == space
        middle = [bytes(plane)[plane.line_size * (plane.height // 2) + 8] for plane in shown.planes]
        assert middle == pytest.approx([120, 90, 180], abs=3)


def test_what_is_stored_as_rgb_keeps_its_colours(tmp_path, annotate):
    video = tmp_path / "v.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
        image = np.tile(np.array([200, 60, 30], np.uint8), (64, 64, 1))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    shown = pictures(annotate(video))[0]
    assert shown.colorspace != 0
    assert shown.to_ndarray(format="rgb24")[30, 10].astype(int) == pytest.approx([200, 60, 30], abs=5)


def test_ten_bits_become_eight(tmp_path, draw_video, annotate):
    video = draw_video(tmp_path / "v.mp4", 3, pix_fmt="yuv420p10le")
    assert pictures(annotate(video))[0].format.name == "yuv420p"


def test_pixels_that_are_not_square_stay_so(tmp_path, annotate):
    video = tmp_path / "v.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode())
    with av.open(str(annotate(video))) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def test_what_was_filmed_on_its_side_is_upright(tmp_path, draw_video, annotate):
    video = draw_video(tmp_path / "v.mp4", 3, size=(96, 64))
    _turn(video)
    frame = pictures(annotate(video))[0]
    assert (frame.width, frame.height) == (64, 96)
    assert frame.rotation == 0


def _turn(video: Path) -> None:
    """Write a quarter turn into the matrix of the video's track header."""
    content = bytearray(video.read_bytes())
    track = content.index(b"tkhd") + 4
    content[track + 40 : track + 76] = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 0x40000000], ">i4").tobytes()
    video.write_bytes(content)


def test_sound_is_copied(tmp_path, draw_video, annotate):
    video = sounded(tmp_path / "v.mp4", draw_video(tmp_path / "mute.mp4", 30), "aac")
    out = annotate(video)
    assert packets(out) == packets(video)
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_each_audio_stream_is_copied(tmp_path, draw_video, annotate):
    video = sounded(tmp_path / "v.mkv", draw_video(tmp_path / "mute.mp4", 10), "aac", streams=3)
    out = annotate(video)
    assert [packets(out, index) for index in range(3)] == [packets(video, index) for index in range(3)]


@pytest.mark.parametrize("codec", ["pcm_s16le", "mp2"])
def test_sound_that_mp4_players_do_not_know_becomes_aac(tmp_path, draw_video, annotate, codec):
    video = sounded(tmp_path / "v.mkv", draw_video(tmp_path / "mute.mp4", 30), codec)
    with av.open(str(annotate(video))) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "aac"
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(sound)], axis=1)
    assert samples.shape[1] == pytest.approx(48000 * 1.2, abs=4096)
    assert np.sqrt((samples**2).mean()) == pytest.approx(0.5 / np.sqrt(2), abs=0.03)


@pytest.mark.parametrize(("codec", "ending"), [("aac", "mkv"), ("pcm_s16le", "mkv"), ("aac", "ts")])
def test_sound_begins_when_it_did(tmp_path, draw_video, annotate, codec, ending):
    video = sounded(tmp_path / f"v.{ending}", draw_video(tmp_path / "mute.mp4", 30), codec, start=0.5)
    assert _difference(annotate(video)) == pytest.approx(_difference(video), abs=0.03)


def _difference(video: Path) -> float:
    """How much later than the first picture sound begins, in seconds."""
    with av.open(str(video)) as container:
        picture = next(container.decode(video=0)).time
    with av.open(str(video)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray().astype(float)).max(axis=0) > 1e-2 * 0.5)
            if len(loud):
                return frame.time + loud[0] / frame.sample_rate - picture
    raise AssertionError("no sound")


def test_sound_that_is_broken_costs_no_picture(tmp_path, draw_video, annotate):
    video = sounded(tmp_path / "v.mkv", draw_video(tmp_path / "mute.mp4", 30), "mp2")
    content = bytearray(video.read_bytes())
    for packet in packets(video)[3:20]:
        place = content.index(packet)
        content[place : place + len(packet)] = os.urandom(len(packet))
    video.write_bytes(content)
    assert len(times(annotate(video))) == 30


def test_sound_that_cannot_be_written_is_left_out(tmp_path, draw_video, annotate, monkeypatch, caplog):
    def refuse(*_):
        raise av.InvalidDataError(1094995529, "Invalid data found when processing input")

    monkeypatch.setattr("poseact.sound._Copied.take", refuse)
    video = sounded(tmp_path / "v.mp4", draw_video(tmp_path / "mute.mp4", 30), "aac")
    out = annotate(video)
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert len(times(out)) == 30
    assert "sound is broken" in caplog.text


def test_subtitles_are_passed_over(tmp_path, draw_video, annotate):
    video = draw_video(tmp_path / "v.mp4", 5)
    texts = tmp_path / "t.srt"
    texts.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    both = tmp_path / "both.mkv"
    with av.open(str(video)) as shown, av.open(str(texts)) as read, av.open(str(both), "w") as output:
        inputs = [(source, source.streams[0]) for source in (shown, read)]
        streams = [output.add_stream_from_template(stream) for _, stream in inputs]
        for (source, stream), out in zip(inputs, streams, strict=True):
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = out
                    output.mux(packet)
    with av.open(str(annotate(both))) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_of_a_video_that_is_broken_off_what_there_is_is_written(tmp_path, draw_video, annotate):
    video = draw_video(tmp_path / "v.mkv", 60, size=(320, 240))
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    count = len(times(annotate(video)))
    assert 10 < count < 60


def test_a_disk_that_is_full_is_told(tmp_path, annotate):
    video = tmp_path / "v.mkv"
    noise = np.random.default_rng(0)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.bit_rate = 128, 128, 10_000_000
        for _ in range(60):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 256, (128, 128, 3), dtype=np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OutputError, match=r"out\.mp4 cannot be written: .*; free some space"):
            annotate(video)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mkv"]


def test_a_source_is_not_overwritten(tmp_path, draw_video):
    video = draw_video(tmp_path / "v.mp4", 3)
    with pytest.raises(UsageError, match="overwrite"):
        annotate_video(video, video, VideoPoses(), [])


def test_what_is_no_video_is_told(tmp_path, annotate):
    (tmp_path / "v.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError):
        annotate(tmp_path / "v.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


@pytest.fixture
def _fresh_encoder():
    mp4._best_encoder.cache_clear()
    yield
    mp4._best_encoder.cache_clear()


@pytest.mark.usefixtures("_fresh_encoder")
def test_without_an_encoder_that_is_said(tmp_path, draw_video, annotate, monkeypatch):
    monkeypatch.setattr(mp4, "_ENCODERS", ("h264_of_another_planet",))
    with pytest.raises(OutputError, match=r"no H\.264 encoder"):
        annotate(draw_video(tmp_path / "v.mp4", 3))


@pytest.mark.usefixtures("_fresh_encoder")
def test_an_encoder_that_does_not_work_here_is_passed_over(monkeypatch):
    monkeypatch.setattr(mp4, "_ENCODERS", ("h264_v4l2m2m", "libx264"))
    assert mp4._best_encoder() == "libx264"


def test_people_are_drawn_where_they_are_in_a_picture_of_another_size(tmp_path, draw_video, annotate):
    """Poses found in a picture of half the size."""
    scores = np.ones((1, 2, 13), np.float32)
    keypoints = np.full((1, 2, 13, 2), 60, np.float32)
    boxes = np.tile(np.array([40, 30, 80, 100], np.float32), (1, 2, 1))
    poses = VideoPoses()
    poses.add(PoseSequence(keypoints, scores, np.array([0.0, 0.2]), (120, 160), BODY13, np.array([1]), boxes, 0.24))
    video = draw_video(tmp_path / "v.mp4", 6, size=(320, 240))
    image = pictures(annotate(video, poses, [row(0, 0.24, person=1)]))[3].to_ndarray(format="rgb24").astype(int)
    is_drawn = np.ptp(image, axis=2) > 60
    assert is_drawn[100:180, 78:83].any(axis=1).all()
    assert is_drawn[100:180, 158:163].any(axis=1).all()
    assert is_drawn[116:125, 116:125].any()
    assert not is_drawn[100:115, 85:155].any()


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path, draw_video):
    video = draw_video(tmp_path / "v.mp4", 3).rename(tmp_path / "10:30 Käse.mp4")
    annotate_video(video, tmp_path / "11:30.mp4", VideoPoses(), [])
    assert len(times(Path(f"{tmp_path}/11:30.mp4"))) == 3


def test_memory_stays_the_same_however_long_the_video(tmp_path, draw_video):
    """The peak of a process that annotates 250 frames is hardly above that of one with 50."""
    code = (
        "import resource, sys; from pathlib import Path; from poseact.annotate import annotate_video;"
        "from poseact.video_poses import VideoPoses;"
        "annotate_video(Path(sys.argv[1]), Path(sys.argv[2]), VideoPoses(), []);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (50, 250):
        video = draw_video(tmp_path / "v.mp4", count, size=(640, 480))
        command = [sys.executable, "-c", code, str(video), str(tmp_path / "out.mp4")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 60_000
