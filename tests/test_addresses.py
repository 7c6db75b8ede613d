"""What the name of a source means, and what FFmpeg is given for it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import av.device
import pytest

from poseact import addresses
from poseact.addresses import address_of
from poseact.errors import InputError, UsageError


@pytest.mark.parametrize(
    "source", ["video.mp4", "10:30.mp4", "https:.mp4", "a/0", "0.mp4", "-.mp4", Path("0"), Path("-"), ""]
)
def test_the_name_of_a_file_is_no_address(source):
    assert address_of(source) is None


def test_a_file_that_is_named_like_a_camera_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert address_of("0").kind == "camera"
    (tmp_path / "0").touch()
    assert address_of("0") is None


@pytest.mark.parametrize(
    ("platform", "url", "format"), [("linux", "/dev/video2", "v4l2"), ("darwin", "2", "avfoundation")]
)
def test_a_camera_by_its_number(monkeypatch, platform, url, format):
    monkeypatch.setattr(sys, "platform", platform)
    address = address_of("2")
    assert (address.kind, address.name, address.url, address.format) == ("camera", "camera 2", url, format)


def test_windows_knows_cameras_by_name(monkeypatch):
    devices = [("Microphone", ["audio"]), ("HD Webcam", ["video"]), ("Capture", ["video", "audio"])]
    found = [SimpleNamespace(name=name, media_types=types) for name, types in devices]
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(av.device, "enumerate_input_devices", lambda format: found)
    assert (address_of("1").url, address_of("1").format) == ("video=Capture", "dshow")
    with pytest.raises(InputError, match="no camera 2; found: HD Webcam, Capture"):
        address_of("2")


@pytest.mark.parametrize("protocol", addresses.PROTOCOLS)
def test_streams(protocol):
    address = address_of(f"{protocol}://host:99/path")
    assert (address.kind, address.name) == ("stream", f"{protocol}://host:99/path")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://anna:s3cret@cam:554/1", "rtsp://cam:554/1"),
        ("RTSP://anna:s3cret@[::1]:554/1", "rtsp://[::1]:554/1"),
        ("http://cam/live?channel=2&pwd=s3cret", "http://cam/live?channel=2&pwd=***"),
        ("http://cam/live?user=a&password=s3cret&x=1", "http://cam/live?user=a&password=***&x=1"),
        ("http://cam/live?access_token=s3cret", "http://cam/live?access_token=***"),
        ("rtsp://cam/user=a_password=s3cret_channel=1.sdp", "rtsp://cam/user=a_password=***"),
        ("http://cam/keys/a=1?psw=s3cret", "http://cam/keys/a=1?psw=***"),
    ],
)
def test_names_hold_no_passwords(url, name):
    assert address_of(url).name == name
    assert address_of(url).url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x.mp4", "ftp:// cannot be read; give a file"),
        ("concat://a|b", "concat:// cannot be read"),
        ("rtsp://", "needs a host"),
        ("http:///x", "needs a host"),
        ("rtsp://anna:s3/cret@cam/1", "no proper host and port"),
        ("rtsp://cam:99999/1", "no proper host and port"),
    ],
)
def test_what_cannot_be_an_address(url, says):
    with pytest.raises(UsageError, match=says) as caught:
        address_of(url)
    assert "cret" not in str(caught.value)
