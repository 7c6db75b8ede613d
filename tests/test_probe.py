"""What is a video, whatever its name."""

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from poseact.errors import InputError
from poseact.probe import check_moves, is_video


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (48, 64, 3)).astype(np.uint8)


def still(path, format, n_pictures=1):
    first, *more = (Image.fromarray(noise(i)) for i in range(n_pictures))
    first.save(path, format=format, save_all=bool(more), append_images=more, duration=100)


def sound_with_cover(path):
    """A FLAC file with a picture in it."""
    picture = io.BytesIO()
    Image.fromarray(noise()).save(picture, "png")
    picture.seek(0)
    with av.open(str(path), "w", format="flac") as container, av.open(picture) as cover:
        sound = container.add_stream("flac", rate=8000, layout="mono")
        image = container.add_stream_from_template(cover.streams.video[0])
        image.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        packet = next(cover.demux())
        packet.stream = image
        container.mux(packet)
        container.mux(sound.encode())


@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("mkv", "libx264", "yuv420p"),
        ("webm", "libvpx", "yuv420p"),
        ("mov", "mjpeg", "yuvj420p"),
        ("ts", "mpeg2video", "yuv420p"),
        ("mpg", "mpeg1video", "yuv420p"),
        ("wmv", "wmv2", "yuv420p"),
        ("flv", "flv", "yuv420p"),
        ("h264", "libx264", "yuv420p"),
        ("mjpeg", "mjpeg", "yuvj420p"),
        ("gif", "gif", "rgb8"),
    ],
)
def test_a_video_without_an_ending_is_one(tmp_path, draw_video, container, codec, pix_fmt):
    path = draw_video(tmp_path / f"a.{container}", 40, codec=codec, pix_fmt=pix_fmt)
    assert is_video(path.rename(tmp_path / "recording"))


@pytest.mark.parametrize("name", ["10:30", "%d_%03d", "a b", "-", os.fsdecode(b"v_\xff")])
def test_no_name_misleads(tmp_path, draw_video, name):
    video = draw_video(tmp_path / "a.mp4", 3)
    assert is_video(video.rename(tmp_path / name))
    still(tmp_path / "img_001.jpg", "jpeg")
    still(tmp_path / "img_002.jpg", "jpeg")
    still(tmp_path / "img_%03d.jpg", "jpeg")
    assert not is_video(tmp_path / "img_%03d.jpg")


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "gif", "bmp", "ppm"])
def test_a_still_image_is_none(tmp_path, format):
    still(tmp_path / "image", format)
    assert not is_video(tmp_path / "image")


@pytest.mark.parametrize("name", ["image", "photo.jpg", "10:30.jpg", "recording.mp4"])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "bmp", "ppm"])
def test_a_still_image_is_told(tmp_path, format, name):
    still(tmp_path / name, format)
    with pytest.raises(InputError, match="is a still picture"):
        check_moves(tmp_path / name)


@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt"),
    [("gif", "gif", "rgb8"), ("apng", "apng", "rgb24"), ("mjpeg", "mjpeg", "yuvj420p"), ("avi", "mjpeg", "yuvj420p")],
)
def test_pictures_that_follow_each_other_move(tmp_path, draw_video, container, codec, pix_fmt):
    path = draw_video(tmp_path / f"a.{container}", 3, codec=codec, pix_fmt=pix_fmt)
    check_moves(path)
    check_moves(path.rename(tmp_path / "recording"))


def test_what_is_no_picture_is_not_told_as_one(tmp_path, draw_video):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")  # to read it would take what others want to read, or wait for ever
    still(tmp_path / "animated.webp", "webp", 3)  # which FFmpeg cannot decode
    draw_video(tmp_path / "one.mp4", 1)
    for path in (tmp_path, tmp_path / "none.jpg", *tmp_path.iterdir()):
        check_moves(path)


def test_a_gif_that_moves_is_one_and_a_picture_in_a_container_is_none(tmp_path, draw_video):
    still(tmp_path / "moves", "gif", 3)
    assert is_video(tmp_path / "moves")
    assert not is_video(draw_video(tmp_path / "one.mp4", 1))


def test_sound_is_none_with_and_without_a_cover(tmp_path):
    sound_with_cover(tmp_path / "song")
    with av.open(str(tmp_path / "song")) as container:
        assert len(container.streams.video) == 1
    assert not is_video(tmp_path / "song")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n" * 500,
        "\x1b[31mred\x1b[0m\n" * 500,
        "1\n00:00:00,000 --> 00:00:02,000\nhi\n\n2\n00:00:02,000 --> 00:00:04,000\nhi\n",
        "WEBVTT\n\n00:00.000 --> 00:02.000\nhi\n",
        "[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:02.00,Default,,0,0,0,,hi\n",
        "export const a = 1;\n" * 1000,
        "\0" * 100_000,
        "PK\x03\x04" + "abc" * 50_000,
    ],
)
def test_text_and_the_like_is_none(tmp_path, text):
    (tmp_path / "file").write_text(text)
    assert not is_video(tmp_path / "file")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{video}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {video}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 26\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{video}</BaseURL></MPD>',
    ],
)
@pytest.mark.parametrize("name", ["list", "list.m3u8"])
def test_what_points_elsewhere_is_none_and_is_not_followed(tmp_path, draw_video, monkeypatch, text, name):
    video = draw_video(tmp_path / "a.ts", 3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text.format(video=video.name))
    os.utime(video, (1, 1))
    assert not is_video(tmp_path / name)
    assert video.stat().st_atime == 1  # not even opened


def test_what_is_no_file_or_cannot_be_read_is_none(tmp_path, draw_video):
    os.mkfifo(tmp_path / "pipe")
    cut = tmp_path / "cut"
    cut.write_bytes(draw_video(tmp_path / "a.mp4", 5).read_bytes()[:400])
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent", cut, Path("/dev/zero"), Path("a\0b")):
        assert not is_video(path)


def test_a_title_that_is_not_utf8_does_no_harm(tmp_path, draw_video):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Tanz um acht"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise(index), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"Tanz um acht", b"T\xe4nze im acht"[:12]))
    assert is_video(path)


def test_ffmpeg_says_nothing(tmp_path, capfd):
    for number in range(20):
        path = tmp_path / str(number)
        path.write_bytes(np.random.default_rng(number).bytes(50_000))
        assert not is_video(path)
    (tmp_path / "h264").write_bytes(b"\0\0\0\1\x67\x42" * 999)
    is_video(tmp_path / "h264")
    assert capfd.readouterr() == ("", "")
