"""The person at a place at a time."""

from dataclasses import replace

import numpy as np
import pytest
from test_extract import stages_of, two_seconds  # noqa: F401
from test_pipeline import ALWAYS, LEFT_SHOULDER, NOSE
from test_track import people

from poseact.errors import InputError, UsageError
from poseact.extract import extract_poses
from poseact.follow import Follow


def test_the_text_of_the_command_line():
    assert Follow.parse("100,50,180.5,300@2.5") == Follow((100, 50, 180.5, 300), 2.5)


@pytest.mark.parametrize("text", ["", "1,2,3,4", "1,2,3@4", "1,2,3,4,5@6", "1@2,3,4,5", "a,2,3,4@5", "1,2,3,4@"])
def test_other_text_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="is given as x1,y1,x2,y2@SECONDS, for example"):
        Follow.parse(text)


def test_impossible_boxes_and_times():
    with pytest.raises(UsageError, match="has no area"):
        Follow.parse("10,10,5,20@1")
    with pytest.raises(UsageError, match="has no area"):
        Follow.parse("nan,10,50,20@1")
    with pytest.raises(UsageError, match="must be 0 s or later"):
        Follow.parse("1,2,3,4@-1")


def test_the_best_overlap_at_that_time_counts():
    poses = people([[20, 20, 60], [60, 60, 20]], np.ones((2, 3)))  # they exchange their sizes; both begin at (0, 0)
    assert Follow((0, 0, 55, 65), 0.0).row_in(poses) == 1
    assert Follow((0, 0, 55, 65), 0.21).row_in(poses) == 0
    assert Follow((0, 0, 22, 18), 0.1).row_in(poses) == 0


def test_nobody_there_names_the_nearest():
    poses = people([[20, 0], [60, 0]], np.array([[1, 0], [1, 0]]))
    with pytest.raises(InputError, match=r"nobody is at 80,80,95,99 at 0.00 s; .* 0,0,60,60 and 0,0,20,20"):
        Follow((80, 80, 95, 99), 0.0).row_in(poses)
    with pytest.raises(InputError, match="nobody at all is tracked there"):
        Follow((80, 80, 95, 99), 0.1).row_in(poses)
    with pytest.raises(InputError, match="at 5 s: the video has no frame about that time"):
        Follow((0, 0, 20, 20), 5.0).row_in(poses)


def test_the_followed_person_is_the_one_that_is_extracted(two_seconds):  # noqa: F811
    stages, _ = stages_of((20, 200, NOSE, *ALWAYS), (200, 60, LEFT_SHOULDER, *ALWAYS))
    poses = extract_poses(two_seconds, stages, follow=Follow((200, 10, 232, 72), 1.0))
    assert poses.keypoints[:, 0, 0, 0].tolist() == [200]
    assert poses.present.all()
    with pytest.raises(InputError, match=r"nobody is at 150,10,180,70 at 1.00 s; .* 200,10,230,70"):
        extract_poses(two_seconds, stages, follow=Follow((150, 10, 180, 70), 1.0))
    with pytest.raises(UsageError, match="subjects must be 1"):
        extract_poses(two_seconds, stages, subjects="all", follow=Follow((200, 10, 232, 72), 1.0))


def test_poses_without_boxes_tell_why_nobody_can_be_followed():
    poses = people([[20, 20]], np.ones((1, 2)))
    poses = replace(poses, boxes=np.zeros_like(poses.boxes))
    with pytest.raises(InputError, match="they come without boxes"):
        Follow((0, 0, 20, 20), 0.0).row_in(poses)
