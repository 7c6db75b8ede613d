"""Small pictures of moments."""

from io import BytesIO

import numpy as np
import pytest
from conftest import grey_index
from PIL import Image

from poseact.errors import InputError
from poseact.poses import PoseSequence
from poseact.records import PersonAtMoment
from poseact.skeleton import BODY13
from poseact.thumbnails import take_moments
from poseact.video_poses import VideoPoses


def image_of(moment) -> np.ndarray:
    picture = Image.open(BytesIO(moment.picture))
    assert picture.format == "WEBP"
    return np.asarray(picture.convert("RGB"))


def one_person(times, size=(48, 64)) -> VideoPoses:
    """Somebody whose keypoints are all at (16, 12), but for the last one, which is absent."""
    scores = np.full((1, len(times), 13), 0.5, np.float32)
    scores[..., 12] = 0
    keypoints = np.tile(np.array([16, 12], np.float32), (1, len(times), 13, 1))
    boxes = np.tile(np.array([0, 0, 32, 24], np.float32), (1, len(times), 1))
    poses = VideoPoses()
    poses.add(PoseSequence(keypoints, scores, np.array(times), size, BODY13, np.array([7]), boxes, times[-1]))
    return poses


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "libx264"), ("avi", "mpeg4")])
def test_pictures_are_of_the_nearest_frames_in_order(tmp_path, draw_video, ending, codec):
    video = draw_video(tmp_path / f"v.{ending}", 38, fps=25, codec=codec)
    moments = take_moments(video, VideoPoses(), [1.0, 0.0, 0.41, 0.39, 1.0])
    assert [moment.time for moment in moments] == [0.0, 0.39, 0.41, 1.0]
    assert [grey_index(image_of(moment)) for moment in moments] == [0, 10, 10, 25]


def test_only_what_is_wanted_is_decoded(tmp_path, draw_video, monkeypatch):
    from poseact.rgb import RgbConverter

    converted = []
    plain = RgbConverter.__call__
    monkeypatch.setattr(RgbConverter, "__call__", lambda self, picture: converted.append(1) or plain(self, picture))
    take_moments(draw_video(tmp_path / "v.mp4", 38), VideoPoses(), [0.2, 0.8])
    assert len(converted) == 2


def test_people_are_in_shares_of_the_picture(tmp_path, draw_video):
    (moment,) = take_moments(draw_video(tmp_path / "v.mp4", 20), one_person([0.0, 0.2, 0.4]), [0.2])
    (person,) = moment.people
    assert person == PersonAtMoment(7, ((0.25, 0.25, 0.5),) * 12 + ((0.0, 0.0, 0.0),))


def test_a_large_picture_is_made_small(tmp_path, draw_video):
    (moment,) = take_moments(draw_video(tmp_path / "v.mp4", 3, size=(640, 360)), VideoPoses(), [0.0])
    assert image_of(moment).shape == (135, 240, 3)


def test_a_small_picture_stays(tmp_path, draw_video):
    (moment,) = take_moments(draw_video(tmp_path / "v.mp4", 3), VideoPoses(), [0.0])
    assert image_of(moment).shape == (48, 64, 3)


def test_after_the_end_there_is_no_picture_but_who_is_there(tmp_path, draw_video):
    moments = take_moments(draw_video(tmp_path / "v.mp4", 10), one_person([0.0, 5.0, 5.1]), [0.0, 5.05])
    assert [moment.picture is None for moment in moments] == [False, True]
    assert [len(moment.people) for moment in moments] == [1, 1]


def test_no_times_give_no_moments(tmp_path, draw_video):
    assert take_moments(draw_video(tmp_path / "v.mp4", 3), VideoPoses(), []) == []


def test_progress_is_told(tmp_path, draw_video):
    told = []
    take_moments(draw_video(tmp_path / "v.mp4", 25), VideoPoses(), [0.2, 0.8], lambda *now: told.append(now))
    assert told[0] == (pytest.approx(0.2), pytest.approx(1.0))


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError):
        take_moments(tmp_path / "v.mp4", VideoPoses(), [0.0])


def test_pictures_of_people_take_few_bytes(shared):
    for name in ("walk_climb.mp4", "drink.avi"):
        moments = take_moments(shared / "videos" / name, VideoPoses(), [0.5, 1.5])
        assert all(800 < len(moment.picture) < 6000 for moment in moments)
