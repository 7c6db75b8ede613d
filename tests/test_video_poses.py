"""The poses of a whole video, put together from overlapping clips."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.poses import PoseSequence
from poseact.skeleton import BODY13, COCO17
from poseact.video_poses import VideoPoses


def walk(times, ids=(1,), absent=(), end=None) -> PoseSequence:
    """People who walk to the right at 100 pixels a second, each 50 pixels below the one before; absent: (id, frame)."""
    times = np.array(times, dtype=np.float64)
    x = 100 * times[None, :, None] + np.arange(13)
    y = 50.0 * np.array(ids)[:, None, None] + np.zeros((len(times), 13))
    keypoints = np.stack(np.broadcast_arrays(x, y), axis=-1).astype(np.float32)
    scores = np.full(keypoints.shape[:3], 0.5, np.float32)
    for person, frame in absent:
        keypoints[ids.index(person), frame], scores[ids.index(person), frame] = 0, 0
    boxes = np.concatenate([keypoints.min(axis=2), keypoints.max(axis=2) + 40], axis=-1)
    return PoseSequence(keypoints, scores, times, (480, 640), BODY13, np.array(ids), boxes, end)


def collected(*clips: PoseSequence) -> VideoPoses:
    poses = VideoPoses()
    for clip in clips:
        poses.add(clip)
    return poses


def test_nobody_is_there_before_anything_was_added():
    people = VideoPoses().at(1.0)
    assert people.ids.shape == (0,)
    assert people.boxes.shape == (0, 4)


def test_a_clip_without_people_gives_nobody_in_its_layout():
    people = collected(walk([0, 0.1], ids=())).at(0.05)
    assert people.keypoints.shape == (0, 13, 2)
    assert people.scores.shape == (0, 13)


def test_between_two_poses_people_are_on_a_straight_line():
    people = collected(walk([0, 0.05, 0.1], ids=(3, 7))).at(0.06)
    assert people.ids.tolist() == [3, 7]
    assert people.keypoints[:, 2, 0] == pytest.approx([8, 8])
    assert people.boxes[1].tolist() == pytest.approx([6, 350, 58, 390])
    assert people.scores == pytest.approx(0.5, abs=1e-3)
    assert people.keypoints.dtype == people.boxes.dtype == people.scores.dtype == np.float32


def test_people_are_there_up_to_the_next_picture_only():
    poses = collected(walk([0, 0.05, 0.1]))
    assert len(poses.at(0.149).ids) == 1
    assert len(poses.at(0.17).ids) == 0
    assert len(poses.at(-0.01).ids) == 0


@pytest.mark.parametrize(("missed", "is_there"), [(6, True), (7, False)])
def test_somebody_who_was_not_found_for_a_while_is_gone(missed, is_there):
    times = np.arange(20) * 0.05
    poses = collected(walk(times, absent=[(1, 5 + frame) for frame in range(missed)]))
    assert len(poses.at(0.33).ids) == is_there


def test_where_few_pictures_are_looked_at_people_stay():
    assert len(collected(walk([0, 0.5, 1.0])).at(0.3).ids) == 1


def test_in_a_gap_between_clips_nobody_is_there():
    poses = collected(walk([0, 0.1], end=0.2), walk([3.0, 3.1], end=3.2))
    assert [len(poses.at(time).ids) for time in (0.05, 1.5, 3.05)] == [1, 0, 1]
    assert poses.seconds == 3.2


def test_another_layout_is_refused():
    clip = walk([0, 0.1])
    other = PoseSequence(
        np.zeros((0, 1, 17, 2), np.float32),
        np.zeros((0, 1, 17), np.float32),
        np.array([0.2]),
        (480, 640),
        COCO17,
        np.zeros(0, np.int64),
        np.zeros((0, 1, 4), np.float32),
    )
    with pytest.raises(ValueError, match="one layout"):
        collected(clip, other)


def test_a_keypoint_that_is_missing_for_a_moment_is_put_in():
    clip = walk(np.arange(10) * 0.05)
    keypoints, scores = clip.keypoints.copy(), clip.scores.copy()
    keypoints[0, 4:6, 9], scores[0, 4:6, 9] = 0, 0
    people = collected(replace(clip, keypoints=keypoints, scores=scores)).at(0.225)
    assert people.keypoints[0, 9, 0] == pytest.approx(22.5 + 9)
    assert 0.1 < people.scores[0, 9] < 0.5


def test_a_keypoint_that_goes_fades_where_it_was_and_is_absent_then():
    clip = walk(np.arange(20) * 0.05)
    keypoints, scores = clip.keypoints.copy(), clip.scores.copy()
    keypoints[0, 5:, 9], scores[0, 5:, 9] = 0, 0
    poses = collected(replace(clip, keypoints=keypoints, scores=scores))
    assert poses.at(0.22).keypoints[0, 9].tolist() == pytest.approx([29, 50])
    assert poses.at(0.26).scores[0, 9] == 0
    assert poses.at(0.26).scores[0, 8] > 0.4


def test_scores_that_jump_from_frame_to_frame_change_gradually():
    clip = walk(np.arange(60) * 0.05)
    scores = clip.scores.copy()
    scores[0, ::2, 4], scores[0, 1::2, 4] = 0.2, 0.5
    poses = collected(replace(clip, scores=scores))
    found = [poses.at(time).scores[0, 4] for time in np.arange(0.5, 2.5, 1 / 60)]
    assert max(found) - min(found) < 0.05
    assert np.mean(found) == pytest.approx(0.35, abs=0.02)


def test_an_hour_of_one_person_is_kept_in_15_megabytes():
    import tracemalloc

    minute = np.arange(1200) * 0.05
    tracemalloc.start()
    poses = VideoPoses()
    for start in range(0, 600, 60):
        template = walk(minute + start)
        seventeen = np.repeat(template.keypoints, 2, axis=2)[:, :, :17]
        poses.add(
            replace(
                template,
                keypoints=seventeen,
                scores=np.repeat(template.scores, 2, axis=2)[:, :, :17],
                layout=COCO17,
            )
        )
        del template, seventeen
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept * 6 < 15e6
    assert len(poses.at(599.97).ids) == 1


_MOVES = st.lists(st.floats(0, 600, width=32), min_size=4, max_size=12)


@settings(max_examples=60, deadline=None)
@given(_MOVES, st.floats(0, 1))
def test_what_is_between_two_poses_lies_between_them(xs, share):
    clip = walk(np.arange(len(xs)) * 0.05)
    clip.keypoints[0, :, :, 0] = np.array(xs, np.float32)[:, None]
    poses = collected(clip)
    for frame in range(len(xs) - 1):
        low, high = sorted(xs[frame : frame + 2])
        x = poses.at((frame + share) * 0.05).keypoints[0, :, 0]
        assert (low - 1e-3 <= x).all()
        assert (x <= high + 1e-3).all()


@settings(max_examples=60, deadline=None)
@given(_MOVES)
def test_at_a_pose_people_are_where_it_has_them(xs):
    clip = walk(np.arange(len(xs)) * 0.05)
    clip.keypoints[0, :, :, 0] = np.array(xs, np.float32)[:, None]
    poses = collected(clip)
    for frame, time in enumerate(clip.times):
        people = poses.at(float(time))
        assert people.keypoints[0] == pytest.approx(clip.keypoints[0, frame], abs=1e-2)
        assert people.boxes[0] == pytest.approx(clip.boxes[0, frame], abs=1e-2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 39)), max_size=60),
    st.floats(0.2, 1.5),
    st.floats(0.1, 1.0),
    st.floats(-0.1, 2.2),
)
def test_how_a_video_was_cut_into_clips_changes_nothing(absent, length, stride, time):
    whole = walk(np.arange(40) * 0.05, ids=(1, 2, 3), absent=absent, end=2.0)
    stride = min(stride, length)
    starts = np.arange(0, 2.0, stride)
    cut = collected(*(whole.between(start, min(start + length, 2.0)) for start in starts))
    expected, found = collected(whole).at(time), cut.at(time)
    assert found.ids.tolist() == expected.ids.tolist()
    for name in ("boxes", "keypoints", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
