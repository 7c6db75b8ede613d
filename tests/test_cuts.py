"""Where scenes end: in spliced videos, and nowhere in real ones without cuts."""

import numpy as np
import pytest

from poseact.cuts import mark_cuts
from poseact.detect import Detections
from poseact.engine import Engine
from poseact.extract import PoseStages
from poseact.skeleton import COCO17
from poseact.video import Frame, Video

SIZE = (96, 128)
RNG = np.random.default_rng(0)
KITCHEN, STREET = (RNG.integers(0, 256, (12, 40, 3), dtype=np.uint8) for _ in range(2))


def shot(room, count, pan=0, flicker=0):
    """Pictures of one room; pan: by how many pixels the camera turns from one to the next."""
    wide = np.kron(room, np.ones((8, 16, 1), np.uint8))
    for i in range(count):
        noise = RNG.integers(-3, 4, (*SIZE, 3)) + flicker * (i % 2)
        yield (wide[: SIZE[0], pan * i : pan * i + SIZE[1]] + noise).clip(0, 255).astype(np.uint8)


def frames_of(*shots):
    images = [image for one in shots for image in one]
    return [Frame(image, i, i / 25) for i, image in enumerate(images)]


def cuts_of(frames):
    marked = list(mark_cuts(frames))
    assert [frame.index for frame, _ in marked] == [frame.index for frame in frames]
    return [frame.index for frame, cut in marked if cut]


def test_a_cut_is_the_first_frame_of_the_new_scene():
    assert cuts_of(frames_of(shot(KITCHEN, 10), shot(STREET, 8), shot(KITCHEN, 9))) == [10, 18]


def test_a_pan_and_a_flicker_are_no_cuts():
    assert cuts_of(frames_of(shot(KITCHEN, 30, pan=6))) == []
    assert cuts_of(frames_of(shot(KITCHEN, 30, flicker=15))) == []


def test_a_cut_between_two_pans_is_found():
    assert cuts_of(frames_of(shot(KITCHEN, 12, pan=2), shot(STREET, 12, pan=3))) == [12]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_short_videos(count):
    assert cuts_of(frames_of(shot(KITCHEN, count))) == []


def test_pictures_of_another_size_are_another_scene_and_no_crash():
    small = [image[::2, ::2] for image in shot(STREET, 6)]
    assert cuts_of(frames_of(shot(KITCHEN, 6), small)) == [6]


def test_frames_come_two_late_and_not_later():
    asked = []

    def source():
        for frame in frames_of(shot(KITCHEN, 6)):
            asked.append(frame.index)
            yield frame

    marked = mark_cuts(source())
    assert next(marked)[0].index == 0
    assert asked == [0, 1, 2]


def standing(frames):
    """The same person at the same place in every frame."""
    points = np.tile(np.array([[[40.0, 40.0]]], np.float32), (1, 17, 1))
    one = np.array([[20, 10, 60, 90]], np.float32), np.array([0.9], np.float32)
    return [Detections(*one, points, np.full((1, 17), 0.9, np.float32), COCO17) for _ in frames]


class Estimate:
    layout = COCO17

    def __call__(self, frames, detections):
        return detections


def test_a_person_after_a_cut_is_a_new_one():
    stages = PoseStages(standing, Estimate(), device="cpu")
    frames = frames_of(shot(KITCHEN, 9), shot(STREET, 8), shot(KITCHEN, 7))
    with Engine() as engine:
        ids = [ids.tolist() for _, ids, _ in stages.track(frames, 25, engine)]
    assert ids == [[1]] * 9 + [[2]] * 8 + [[3]] * 7


def thinned(path, rate):
    with Video(path) as video:
        step = max(1, round(video.fps / rate))
        return [frame for frame in video.frames() if frame.index % step == 0]


@pytest.mark.parametrize(
    "name", ["aerobics.avi", "basketball.mp4", "drink.avi", "pat_back_two_people.mp4", "walk_climb.mp4"]
)
def test_videos_without_cuts_have_none(shared, name):
    frames = thinned(shared / "videos" / name, 30)
    assert cuts_of(frames) == []
    assert cuts_of(frames[:: max(1, round(30 / 8))]) == []


@pytest.mark.parametrize("rate", [30, 12, 8])
def test_spliced_videos_are_cut_where_they_were_spliced(shared, rate):
    one, other = (thinned(shared / "videos" / name, rate) for name in ("drink.avi", "pat_back_two_people.mp4"))
    third = thinned(shared / "videos" / "basketball.mp4", rate)
    images = [frame.image for frame in (*one[:20], *other[:18], *third[:25])]
    first, second = min(20, len(one)), min(20, len(one)) + min(18, len(other))
    assert cuts_of([Frame(image, i, i / rate) for i, image in enumerate(images)]) == [first, second]
