"""Pictures as RGB: scaled down first they are what they would be scaled down afterwards."""

from threading import Thread
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from draw_actions import Scene, act, render, write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.decoding import Picture
from poseact.detect import Detections
from poseact.engine import Engine
from poseact.extract import PoseStages, extract_poses
from poseact.letterbox import fit
from poseact.rgb import RgbConverter, Unconverted
from poseact.track import Sighting, Tracker, appearances, clothes_of
from poseact.video import Frame, Video
from poseact.yolo import scaled_size

BT709 = 1


@pytest.fixture
def asked(monkeypatch):
    """The timestamps of the pictures of which the whole was made, each time that it was."""
    made, whole = [], RgbConverter.__call__

    def told(self, picture):
        made.append(picture.pts)
        return whole(self, picture)

    monkeypatch.setattr(RgbConverter, "__call__", told)
    return made


def smooth(height, width):
    """A picture without fine detail, whose colours differ everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    shares = np.stack([x / width, y / height, 0.5 + 0.4 * np.sin(x / 37) * np.cos(y / 29)], axis=2)
    return (20 + 215 * shares).astype(np.uint8)


def decoded(image, pix_fmt="yuv420p", colorspace=None):
    picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
    if colorspace is not None:
        picture.colorspace = colorspace
    return picture


@pytest.mark.parametrize("colorspace", [None, BT709])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv420p10le", "nv12", "p010le"])
def test_scaled_first_is_scaled_afterwards(pix_fmt, colorspace):
    picture, convert = decoded(smooth(720, 1280), pix_fmt, colorspace), RgbConverter()
    scaled = convert.scaled(picture, (360, 640))
    wanted = cv2.resize(convert(picture), (640, 360))
    assert (scaled.shape, scaled.dtype) == (wanted.shape, np.uint8)
    difference = np.abs(scaled.astype(int) - wanted)
    assert difference.mean() < 1.5
    assert difference.max() <= 8


def test_the_colours_depend_on_what_the_video_says_of_them():
    convert, image = RgbConverter(), smooth(720, 1280)
    one, other = (convert.scaled(decoded(image, colorspace=each), (360, 640)) for each in (None, BT709))
    assert np.abs(one.astype(int) - other).mean() > 2


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(130, 400), st.integers(130, 400)),
    st.tuples(st.integers(60, 129), st.integers(60, 129)),
    st.sampled_from(["yuv420p", "nv12"]),
)
def test_sides_may_be_odd(size, smaller, pix_fmt):
    picture, convert = decoded(smooth(*size), pix_fmt), RgbConverter()
    scaled = convert.scaled(picture, smaller)
    assert scaled.shape == (*smaller, 3)
    assert np.abs(scaled.astype(int) - cv2.resize(convert(picture), smaller[::-1])).mean() < 4


@pytest.mark.parametrize(
    ("pix_fmt", "size"), [("rgb24", (24, 32)), ("gray", (24, 32)), ("yuv444p", (24, 32)), ("yuv420p", (48, 64))]
)
def test_rare_formats_and_small_pictures_are_left_to_others(pix_fmt, size):
    assert RgbConverter().scaled(decoded(smooth(48, 64), pix_fmt), size) is None


def test_a_picture_that_lies_from_the_bottom_up_is_left_to_others():
    upside_down = SimpleNamespace(format=SimpleNamespace(name="yuv420p"), width=64, height=48, rotation=0)
    upside_down.planes = [SimpleNamespace(line_size=-64)] * 3
    assert RgbConverter().scaled(upside_down, (24, 32)) is None


def test_a_video_is_scaled_and_its_pictures_are_converted_when_they_are_asked_for(tmp_path, draw_video, asked):
    with Video(draw_video(tmp_path / "v.mp4", 3, size=(1280, 720))) as video:
        frames = list(video.converted(video.pictures(), scaled_size))
    assert not asked
    for frame in frames:
        assert (frame.size, frame.scaled.shape, frame.seen is frame.scaled) == ((720, 1280), (360, 640, 3), True)
        assert frame.nbytes == pytest.approx(1.5 * 1280 * 720 + 3 * 360 * 640, rel=0.1)
        assert frame.image.shape == (720, 1280, 3)
        blank = frame.blank()
        assert (blank.size, blank.scaled, blank.image.any()) == ((720, 1280), None, False)
    assert len(asked) == 3
    with Video(tmp_path / "v.mp4") as video:
        assert all(frame.scaled is None for frame in video.frames())


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_picture_is_scaled_upright(monkeypatch, turns):
    """As a phone held upright writes it."""
    monkeypatch.setattr("poseact.rgb.quarter_turns", lambda picture: turns)
    image = smooth(360, 640)
    upright = np.rot90(image, turns)
    picture, convert = decoded(image), RgbConverter()
    unconverted = Unconverted(picture, convert)
    assert unconverted.shape == unconverted().shape == upright.shape
    size = (upright.shape[0] // 2, upright.shape[1] // 2)
    scaled = convert.scaled(picture, size)
    assert scaled.shape == (*size, 3)
    assert np.abs(scaled.astype(int) - cv2.resize(convert(picture), size[::-1])).mean() < 1.5


def test_a_picture_that_turns_out_to_be_damaged_is_grey():
    class Broken:
        def reformat(self, *args, **kwargs):
            raise ValueError("no such plane")

    convert, picture = RgbConverter(), decoded(smooth(48, 64))
    convert._own.whole = convert._own.small = Broken()
    assert convert.scaled(picture, (24, 32)) is None
    assert convert.errors == 0
    assert convert(picture) is None
    assert convert.errors == 1
    assert np.unique(Unconverted(picture, convert)()).tolist() == [114]


def test_what_is_only_scaled_is_as_bright_whatever_its_range():
    convert, picture = RgbConverter(), decoded(smooth(720, 1280))
    picture.color_range = 2  # full: as phones and webcams tag pictures that are not called yuvj420p
    difference = convert.scaled(picture, (360, 640)).astype(int) - cv2.resize(convert(picture), (640, 360))
    assert np.abs(difference).mean() < 1.5


def test_a_gap_before_a_picture_is_told_of_scaled_ones_too(tmp_path, draw_video):
    picture = Picture(decoded(smooth(720, 1280)), 1.0, 0.04, after_gap=True)
    with Video(draw_video(tmp_path / "v.mp4", 1)) as video:
        (frame,) = video.converted([(7, picture)], scaled_size)
    assert (frame.index, frame.after_gap, frame.scaled.shape) == (7, True, (360, 640, 3))


def test_what_networks_see_is_the_same_of_a_scaled_picture():
    image = smooth(720, 1280)
    whole = fit((720, 1280), 640, 32, square=False)
    window = whole.window(np.array([64, 32, 320, 288]))
    for box in (whole, window):
        assert np.array_equal(box.put(cv2.resize(image, whole.fitted[::-1])), box.put(image))


def test_what_people_wear_is_looked_up_where_they_are_in_a_scaled_picture():
    image = smooth(720, 1280)
    squeezed = cv2.resize(image, (640, 240))
    boxes = np.array([[100, 240, 300, 690], [800, 90, 1000, 600]], np.float32)
    found = Detections(boxes, np.full(2, 0.9, np.float32))
    whole, scaled = (Sighting.of(Frame(image, 0, 0.0, scaled=seen), found) for seen in (None, squeezed))
    assert whole.size == scaled.size == (720, 1280)
    assert np.array_equal(whole.boxes, boxes)
    assert np.array_equal(scaled.boxes, boxes)
    placed = clothes_of(squeezed, boxes * [1 / 2, 1 / 3, 1 / 2, 1 / 3])
    assert all(np.array_equal(one, other) for one, other in zip(scaled.clothes, placed, strict=True))
    assert np.abs(appearances(whole.clothes) - appearances(scaled.clothes)).max() < 0.2


def test_a_tracker_tells_boxes_how_large_the_picture_is(monkeypatch):
    tracker = Tracker(25.0)
    boxes_class, sizes = tracker._boxes_class, []
    monkeypatch.setattr(tracker, "_boxes_class", lambda rows, size: sizes.append(size) or boxes_class(rows, size))
    boxes, scores = np.array([[100, 240, 300, 690]], np.float32), np.full(1, 0.9, np.float32)
    sighting = Sighting(boxes, scores, clothes_of(smooth(720, 1280), boxes), (720, 1280))
    assert tracker.update(sighting).tolist() == [1]
    assert sizes == [(720, 1280)]


@pytest.mark.parametrize(
    ("chosen", "is_scaled"),
    [
        ({}, True),
        ({"search": "whole", "crops": "never"}, True),
        ({"crops": "always"}, False),
        ({"detector": lambda frames: []}, False),
        ({"boxes": "boxes.csv"}, False),
        ({"device": "cuda"}, True),
        ({"device": "mps"}, False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_pictures_are_scaled_where_nobody_looks_closer(monkeypatch, chosen, is_scaled):
    monkeypatch.setattr("poseact.extract.choose_device", lambda device: device)
    assert (PoseStages(**{"device": "cpu", **chosen}).scale is not None) == is_scaled


@pytest.mark.parametrize(("crops", "converted"), [("auto", 0), ("always", 8)])
def test_the_chain_converts_whole_pictures_only_where_it_must(tmp_path, draw_video, asked, crops, converted):
    video = draw_video(tmp_path / "v.mp4", 8, size=(1280, 720))
    poses = extract_poses(video, PoseStages(device="cpu", crops=crops))
    assert (len(poses.times), poses.image_size) == (8, (720, 1280))
    assert len(asked) == converted


@pytest.mark.parametrize("is_live", [False, True])
def test_pictures_of_a_camera_are_not_held(tmp_path, draw_video, is_live):
    """Its driver may take their memory back."""
    with Video(draw_video(tmp_path / "v.mp4", 4, size=(1280, 720))) as video, Engine() as engine:
        video.is_live = is_live
        with PoseStages(device="cpu").decoded(video, engine) as frames:
            assert [isinstance(frame.source, np.ndarray) for frame in frames] == [is_live] * 4


@pytest.fixture(scope="module")
def near_and_far(tmp_path_factory):
    """A second of Full HD: somebody near, and somebody so far off that they get a crop."""
    actors = act("squat", x=0.3, height=0.7), act("jumping_jacks", x=0.75, y=0.75, height=0.2)
    path = tmp_path_factory.mktemp("hd") / "v.mp4"
    write_video(path, render(Scene(actors), 1.0, 15, (1080, 1920)), 15)
    return path


@pytest.mark.parametrize("search", ["auto", "whole"])
def test_people_are_found_as_they_are_in_whole_pictures(near_and_far, monkeypatch, search):
    found = [extract_poses(near_and_far, PoseStages(device="cpu", search=search), subjects="all")]
    monkeypatch.setattr(PoseStages, "scale", None)
    found.append(extract_poses(near_and_far, PoseStages(device="cpu", search=search), subjects="all"))
    scaled, whole = found
    assert scaled.image_size == whole.image_size == (1080, 1920)
    assert scaled.track_ids.tolist() == whole.track_ids.tolist()
    assert len(whole.track_ids) == 2
    assert (scaled.present == whole.present).mean() > 0.95
    heights = whole.boxes[..., 3] - whole.boxes[..., 1]
    assert np.median(heights, axis=1).min() < 0.25 * 1080
    both = scaled.present & whole.present
    for person in range(2):
        seen = both[person]
        apart = np.linalg.norm(scaled.keypoints[person] - whole.keypoints[person], axis=2)
        assert np.median(apart[seen] / heights[person][seen, None]) < 0.01
        assert np.abs(scaled.boxes[person] - whole.boxes[person])[seen].max() < 0.1 * np.median(heights[person])


def test_the_tracker_is_told_how_large_the_picture_is(near_and_far, monkeypatch):
    told, seen = set(), set()
    update = Tracker.update

    def recorded(self, sighting):
        told.add(sighting.size)
        return update(self, sighting)

    monkeypatch.setattr(Tracker, "update", recorded)
    monkeypatch.setattr("poseact.track.clothes_of", lambda *what: seen.add(what[0].shape) or clothes_of(*what))
    extract_poses(near_and_far, PoseStages(device="cpu"))
    assert told == {(1080, 1920)}
    assert seen == {(360, 640, 3)}


def test_of_a_frame_with_many_small_people_the_whole_picture_is_made_once(near_and_far, asked, monkeypatch):
    monkeypatch.setattr("poseact.pose._LEAST_SIDE", 640)  # so that everybody is small
    poses = extract_poses(near_and_far, PoseStages(device="cpu"), subjects="all")
    assert poses.present.all(axis=0).mean() > 0.9
    assert len(set(asked)) == len(asked) == len(poses.times)


def test_threads_that_convert_do_not_share_what_they_convert_with():
    convert, others = RgbConverter(), []
    thread = Thread(target=lambda: others.append((convert._own.whole, convert._own.small)))
    thread.start()
    thread.join()
    assert others[0][0] is not convert._own.whole
    assert others[0][1] is not convert._own.small


def test_what_is_live_is_converted_in_one_thread_with_cores_to_spare_too(tmp_path, draw_video, monkeypatch):
    monkeypatch.setattr(PoseStages, "_has_cores_to_spare", True)
    monkeypatch.setattr("poseact.extract.in_threads", lambda *asked: pytest.fail("would be late"))
    with Video(draw_video(tmp_path / "v.mp4", 4)) as video, Engine() as engine:
        video.is_live = True
        with PoseStages(device="cpu").decoded(video, engine) as frames:
            assert len(list(frames)) == 4
