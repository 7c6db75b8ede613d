"""Live sources on loopback: cut and resumed, stalled, given up, dropped, piped, closed while they are silent."""

import io
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import grey_index
from file_server import FileServer, silence, stall_after, status, without_length
from PIL import Image
from rtsp_server import RtspServer

from poseact import addresses, decoding, live
from poseact.addresses import Address, address_of
from poseact.decoding import Picture
from poseact.errors import InputError
from poseact.live import LiveVideo, open_address
from poseact.reader import Reader
from poseact.video import Video, open_video

QUICK = {"stall": 0.4, "patience": 0.4, "first_wait": 0.05}
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def stream(tmp_path_factory, draw_video) -> bytes:
    """30 frames at 25 frames/s as MPEG-TS, which can be joined and left anywhere."""
    return draw_video(tmp_path_factory.mktemp("live") / "v.ts", 30).read_bytes()


@pytest.fixture
def server(stream):
    server = FileServer(stream, ranges=False)
    yield server
    server.stop()


def whole(server):
    """The stream as a camera sends it: nobody knows how long it is."""
    return without_length(len(server.body))


def stalling(handler, files):
    whole(files)(handler, files)
    handler.wfile.flush()
    files.released.wait(20)


def no_reader_left():
    return not [thread for thread in threading.enumerate() if thread.name == "poseact-reader"]


def test_a_stream_that_is_cut_is_resumed(server, caplog):
    server.faults = [whole(server), status(503), status(503), whole(server), *[status(503)] * 99]
    began = time.monotonic()
    frames = []
    with open_address(address_of(f"{server.address}/live?token=s3cret"), **QUICK) as video:
        assert video.is_live
        assert video.announced_end is None
        with pytest.raises(InputError, match=r"was lost \(.*\) and could not be reached again for 0.4 s") as caught:
            frames.extend(video.frames())
    took = time.monotonic() - began
    assert "s3cret" not in str(caught.value) + caplog.text
    assert [grey_index(f.image) for f in frames] == [*range(30), *range(30)]
    assert [f.index for f in frames] == list(range(60))
    assert [f.index for f in frames if f.after_gap] == [30]
    times = np.array([f.time for f in frames])
    assert np.allclose(np.diff(times[:30]), 0.04)
    assert np.allclose(np.diff(times[30:]), 0.04)
    assert 0 < times[30] - times[29] < took
    assert all(began < f.arrived < began + took for f in frames)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "lost http://127.0.0.1" in warnings[0]
    assert "; reconnected after " in warnings[0]
    assert not video.was_cut
    assert no_reader_left()


def test_time_goes_on_by_the_clock_while_a_stream_is_away(server):
    server.faults = [whole(server), *[status(503)] * 4, whole(server), *[status(503)] * 99]
    arrived = {}
    with open_address(address_of(server.url), **{**QUICK, "first_wait": 0.1, "patience": 9}) as video:
        for frame in video.frames():
            arrived[frame.index] = frame
            if frame.index == 30:
                break
    # The first 30 frames came at once; what follows did so 0.1 + 0.2 + 0.4 seconds or more later.
    assert arrived[30].after_gap
    assert arrived[30].time == pytest.approx(arrived[30].arrived - arrived[0].arrived, abs=0.05)
    assert arrived[30].time > 0.65


def test_a_stream_that_stalls_is_lost(server, caplog):
    server.faults = [stalling, whole(server)]
    frames = []
    with open_address(address_of(server.url), **{**QUICK, "patience": 5}) as video:
        for frame in video.frames():
            frames.append(frame)
            if len(frames) == 40:
                break
    assert [f.index for f in frames if f.after_gap] == [30]
    assert "nothing came any more" in caplog.text


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (status(401), "asks for a user and a password"),
        (status(403), "refuses access"),
        (status(404), "does not exist on its server"),
        (status(500), "cannot be opened"),
        (silence, "does not answer within 0.4 s"),
        (
            lambda handler, files: handler.wfile.write(
                b"HTTP/1.0 200 OK\r\nContent-Length: 891\r\n\r\n" + b"no video\n" * 99
            ),
            "nothing that FFmpeg",
        ),
    ],
)
def test_a_first_connection_that_fails_is_an_error_at_once(server, fault, says):
    server.faults = [fault] * 9
    address = address_of(server.url.replace("//", "//anna:s3cret@"))
    with pytest.raises(InputError, match=says) as caught:
        open_address(address, **QUICK)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert no_reader_left()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("rtsp://127.0.0.1:1/x", "refuses the connection"),
        ("http://no-such-host.invalid/x", "its host is unknown"),
        ("321", r"there is no camera 321 \(/dev/video321\)"),
    ],
)
def test_what_is_not_there(source, says):
    if source == "321" and sys.platform != "linux":
        pytest.skip("cameras are files on Linux only")
    with pytest.raises(InputError, match=says):
        open_video(source)


def test_an_rtsp_camera(stream):
    camera = RtspServer(stream)
    with open_address(address_of(camera.url), **QUICK) as video:
        frames = [frame for frame, _ in zip(video.frames(), range(50), strict=False)]
    camera.stop()
    assert camera.asked.count("PLAY") == 2
    # FFmpeg does not give the packet that it took last from a connection.
    assert [grey_index(f.image) for f in frames[:28]] == list(range(28))
    assert sum(f.after_gap for f in frames) == 1


def test_a_recording_on_a_server_is_like_a_file(tmp_path, draw_video):
    path = draw_video(tmp_path / "v.mp4", 50)
    server = FileServer(path.read_bytes())
    with open_video(f"{server.address}/v.mp4") as video:
        frames = list(video.frames(start=0.4))
    server.stop()
    assert not video.is_live
    assert video.announced_end == pytest.approx(2.0)
    with Video(path) as video:
        expected = list(video.frames(start=0.4))
    assert [(f.index, f.time) for f in frames] == [(f.index, f.time) for f in expected]
    assert all(np.array_equal(f.image, e.image) for f, e in zip(frames, expected, strict=True))


def test_a_recording_that_does_not_tell_its_duration_is_read_once(server):
    with open_address(address_of(server.url), **QUICK) as video:
        assert video.announced_end is None
        assert len(list(video.frames())) == 30
    assert len(server.paths) == 1


@pytest.mark.parametrize("told_bytes", [0, 2**31 - 1], ids=["as many as come", "far more than come"])
def test_a_camera_of_single_pictures_is_live_though_it_tells_how_many_bytes_come(told_bytes):
    jpeg = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 100, np.uint8)).save(jpeg, "jpeg")
    part = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (
        len(jpeg.getvalue()),
        jpeg.getvalue(),
    )

    def pictures(handler, files):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        handler.send_header("Content-Length", str(told_bytes or 10 * len(part)))
        handler.end_headers()
        for _ in range(10):
            handler.wfile.write(part)

    server = FileServer(b"", faults=[pictures] * 99)
    with open_address(address_of(server.address), **QUICK) as video:
        assert video.is_live
        assert video.announced_end is None
        frames = list(itertools.islice(video.frames(), 15))
    server.stop()
    assert sum(frame.after_gap for frame in frames) == 1
    assert len(server.paths) >= 2


def test_a_stream_that_hangs_up_again_and_again_is_not_asked_without_end(server):
    server.faults = [whole(server)] * 999
    with open_address(address_of(server.url), **{**QUICK, "first_wait": 0.2}) as video:
        began = time.monotonic()
        for frame in video.frames():
            if frame.index == 100:
                break
    assert time.monotonic() - began > 0.5
    assert len(server.paths) <= 5


def test_a_recording_whose_connection_breaks_off_was_cut(tmp_path, draw_video):
    server = FileServer(draw_video(tmp_path / "v.mkv", 200).read_bytes(), ranges=False)
    server.faults = [stall_after(len(server.body) // 2)]
    with open_address(address_of(server.url), **QUICK) as video:
        count = len(list(video.frames()))
        assert not video.is_live
        assert video.was_cut
    server.stop()
    assert 20 < count < 180


# Prints the indices of the frames that come through a pipe.
PIPED = """
import sys
sys.path.insert(0, {root!r})
from poseact.video import open_video
with open_video("-") as video:
    assert video.is_live
    print([round((frame.image.mean() - 40) / 5) for frame in video.frames()], video.end)
"""


@pytest.mark.parametrize("ending", ["ts", "mkv"])
def test_standard_input(tmp_path, draw_video, ending):
    path = draw_video(tmp_path / f"v.{ending}", 30)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        script = PIPED.format(root=str(ROOT))
        found = subprocess.run([sys.executable, "-c", script], stdin=cat.stdout, capture_output=True, text=True)
    assert found.stdout.strip() == f"{list(range(30))} 1.2", found.stderr


def test_a_file_that_the_shell_opens_may_have_its_index_at_the_end(tmp_path, draw_video, monkeypatch):
    path = draw_video(tmp_path / "v.mp4", 20)
    with open(path, "rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with open_video("-") as video:
            assert [grey_index(frame.image) for frame in video.frames()] == list(range(20))


def test_a_pipe_with_an_index_at_its_end_is_told(tmp_path, draw_video, monkeypatch):
    path = draw_video(tmp_path / "v.mp4", 60, size=(640, 480), codec="mjpeg", pix_fmt="yuvj420p")
    pipe = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)  # more than a pipe holds
    monkeypatch.setattr(sys, "stdin", pipe.stdout)
    with pipe, pytest.raises(InputError, match="must have its index in front"), open_video("-") as video:
        list(video.frames())


def pipe_of(monkeypatch, content):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(content)
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading, "rb"))


@pytest.mark.parametrize("content", [b"", b"no video\n" * 50])
def test_a_pipe_without_video(monkeypatch, content):
    pipe_of(monkeypatch, content)
    with pytest.raises(InputError, match="standard input is no video"):
        open_video("-")


def test_nothing_is_piped(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="nothing is piped"):
        open_video("-")


def test_a_file_in_realtime_plays_at_its_own_speed(tmp_path, draw_video):
    path = draw_video(tmp_path / "v.mp4", 20, fps=50)
    began = time.monotonic()
    with open_video(path, realtime=True) as video:
        frames = list(video.frames())
    assert video.is_live
    assert time.monotonic() - began > 0.35
    assert [f.index for f in frames] == list(range(20))
    late = [f.arrived - frames[0].arrived - f.time for f in frames]
    assert min(late) > -0.01


def test_realtime_drops_what_nobody_fetches_in_time(tmp_path, draw_video):
    path = draw_video(tmp_path / "v.mp4", 60, fps=100)
    with open_video(path, realtime=True) as video:
        frames = []
        for frame in video.frames():
            time.sleep(0.05)
            frames.append(frame)
    assert video.dropped > 20
    assert video.decoded == 60
    assert len(frames) + video.dropped == 60
    assert [grey_index(f.image) for f in frames] == [39 - abs(39 - f.index) for f in frames]
    assert frames[-1].index == 59
    # Never more than a few frames behind, and those 0.05 s each.
    assert max(f.index - before.index for before, f in pairwise(frames)) <= 12


class Pictures:
    """A feed of what a test gives it. ask: seconds between pictures."""

    fps, announced_end, decode_errors = 25.0, None, 0

    def __init__(self, pictures):
        self.given, self.closed = pictures, False

    def pictures(self, start, wanted=None):
        for picture in self.given:
            if isinstance(picture, Exception):
                raise picture
            yield picture

    def close(self):
        self.closed = True


def picture(index, **told):
    return Picture(av.VideoFrame(64, 48, "yuv420p"), index / 25, 0.04, **told)


def test_a_gap_is_told_though_the_frame_after_it_is_dropped_or_not_wanted():
    feed = Pictures([picture(i, after_gap=i == 3) for i in range(20)])
    video = LiveVideo("camera", Reader(lambda: feed, drops=True, stopped=threading.Event()))
    frames = video.frames(wanted=lambda time: round(time * 25) % 2 == 1)
    first = next(frames)  # reads all of it, of which the newest are kept
    time.sleep(0.05)
    rest = list(frames)
    assert [f.index for f in [first, *rest] if f.after_gap] == [[first, *rest][first.index < 3].index]
    assert video.dropped + 2 * len(rest) >= 14
    video.close()
    assert feed.closed


def test_without_realtime_the_source_waits():
    feed = Pictures([picture(i) for i in range(50)])
    with LiveVideo("pipe", Reader(lambda: feed, drops=False, stopped=threading.Event())) as video:
        frames = []
        for frame in video.frames():
            time.sleep(0.001)
            frames.append(frame.index)
    assert frames == list(range(50))
    assert video.dropped == 0


def test_an_error_in_the_thread_reaches_who_reads():
    feed = Pictures([picture(0), picture(1), InputError("gone")])
    frames = []
    with (
        LiveVideo("camera", Reader(lambda: feed, drops=False, stopped=threading.Event())) as video,
        pytest.raises(InputError, match="gone"),
    ):
        frames.extend(video.frames())
    assert len(frames) == 2
    assert feed.closed
    assert no_reader_left()


def test_a_consumer_that_stops_leaves_no_thread():
    feed = Pictures([picture(i) for i in range(50)])
    with LiveVideo("pipe", Reader(lambda: feed, drops=False, stopped=threading.Event())) as video:
        next(video.frames())
    assert feed.closed
    assert no_reader_left()


def test_one_that_is_never_read_leaves_no_thread():
    feed = Pictures([])
    with LiveVideo("pipe", Reader(lambda: feed, drops=False, stopped=threading.Event())):
        pass
    assert feed.closed
    assert no_reader_left()


def test_closing_ends_a_read_that_waits(server):
    server.faults = [stalling]
    video = open_address(address_of(server.url), **{**QUICK, "stall": 1.2})
    frames = []
    reading = threading.Thread(target=lambda: frames.extend(video.frames()))
    reading.start()
    time.sleep(0.2)
    began = time.monotonic()
    video.close()
    reading.join(1)
    assert not reading.is_alive()
    assert time.monotonic() - began < 1.2
    assert len(frames) > 20
    for _ in range(200):  # FFmpeg itself hears of it when the stream stalls
        if no_reader_left():
            break
        time.sleep(0.02)
    assert no_reader_left()


def test_ctrl_c_ends_a_read_that_waits(server):
    server.faults = [stalling]
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + (
        "from poseact.video import open_video\n"
        f"with open_video({server.url!r}) as video:\n"
        "    for frame in video.frames():\n"
        "        print(frame.index, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while b"20" not in process.stdout.readline():
            pass
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=8)
    assert time.monotonic() - began < 4
    assert errors.strip().endswith(b"KeyboardInterrupt")
    assert process.returncode in (-signal.SIGINT, 130, 1)


def clocked(times, arrivals, monkeypatch, is_timed=True):
    """What `_Clock` makes of pictures with these times, which arrive so."""
    clock = live._Clock(0.04)
    clock.restart(is_timed)
    placed = []
    for stamp, arrived in zip(times, arrivals, strict=True):
        monkeypatch.setattr(live, "monotonic", lambda arrived=arrived: 100.0 + arrived)
        placed.append(clock.placed(replace(picture(0), time=stamp)))
    return [round(p.time, 3) for p in placed], [p.after_gap for p in placed]


def test_a_streams_own_times_are_kept(monkeypatch):
    times, gaps = clocked([7.0, 7.04, 7.08, 7.12], [0, 0.3, 0.31, 0.32], monkeypatch)
    assert times == [0, 0.04, 0.08, 0.12]
    assert not any(gaps)


def test_a_clock_that_is_set_is_not_believed(monkeypatch):
    times, gaps = clocked([0, 0.04, 3600.0, 3600.04], [0, 0.04, 0.08, 0.12], monkeypatch)
    assert times == [0, 0.04, 0.08, 0.12]
    assert not any(gaps)


def test_a_hole_in_a_stream_is_a_gap(monkeypatch):
    times, gaps = clocked([0, 0.04, 4.0, 4.04], [0, 0.04, 4.0, 4.04], monkeypatch)
    assert times == [0, 0.04, 4.0, 4.04]
    assert gaps == [False, False, True, False]


def test_without_times_of_its_own_a_stream_is_timed_by_arrival(monkeypatch):
    times, _ = clocked([0, 0.04, 0.08], [0, 0.1, 0.2], monkeypatch, is_timed=False)
    assert times == [0, 0.1, 0.2]


def test_a_camera_drops_and_is_opened_as_its_platform_says(monkeypatch, tmp_path, draw_video):
    """Its place is taken by a file."""
    path, opened = draw_video(tmp_path / "v.ts", 30), []

    def fake_open(name, **options):
        opened.append((name, options))
        return real_open(str(path))

    real_open = av.open
    monkeypatch.setattr(decoding.av, "open", fake_open)
    monkeypatch.setattr(addresses.sys, "platform", "linux")
    video = open_address(address_of("7"), **QUICK)
    monkeypatch.undo()
    assert opened[0][0] == "/dev/video7"
    assert (opened[0][1]["format"], opened[0][1]["timeout"]) == ("v4l2", (0.4, 0.4))
    video.close()


def test_a_camera_that_has_no_picture_yet_is_asked_again(tmp_path, draw_video):
    """As AVFoundation's are, which do not wait."""
    with Video(draw_video(tmp_path / "v.mp4", 5)) as video:
        container = video._feed.container
        answers = [av.BlockingIOError(11, "not yet"), None]

        class Hesitant:
            format = container.format

            def demux(self, stream):
                if (answer := answers.pop(0)) is not None:
                    raise answer
                return container.demux(stream)

            def close(self):
                container.close()

        video._feed.container = Hesitant()
        assert len(list(video.frames())) == 5
        assert video.decode_errors == 0


class Accelerated:
    """PyAV's HWAccel, as far as it is seen here."""

    made: list[tuple] = []  # noqa: RUF012

    def __init__(self, *args, **options):
        self.made.append(args)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_driver_that_does_not_decode_falls_back(tmp_path, draw_video, monkeypatch, caplog, device):
    def fake_open(name, hwaccel=None, **options):
        if hwaccel is not None:
            raise av.PermissionError(1, "Operation not permitted")
        return real_open(name, **options)

    real_open, path = av.open, draw_video(tmp_path / "v.mp4", 5)
    monkeypatch.setattr(decoding, "HWAccel", Accelerated)
    monkeypatch.setattr(decoding, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(decoding.av, "open", fake_open)
    with caplog.at_level(logging.INFO), open_video(path, device=device) as video:
        assert len(list(video.frames())) == 5
    assert Accelerated.made[-1] == ("cuda", "1" if device == "cuda:1" else None)
    assert "the GPU does not decode (Operation not permitted)" in caplog.text


def test_without_cuda_in_ffmpeg_the_gpu_is_not_asked(tmp_path, draw_video, monkeypatch):
    monkeypatch.setattr(decoding, "HWAccel", None)
    monkeypatch.setattr(decoding, "hwdevices_available", list)
    with open_video(draw_video(tmp_path / "v.mp4", 5), device="cuda") as video:
        assert len(list(video.frames())) == 5


def test_an_address_of_no_protocol_that_this_ffmpeg_has():
    with pytest.raises(InputError, match="lacks the protocol"):
        open_address(Address("stream", "gopher9://x", "gopher9://x"), **QUICK)
