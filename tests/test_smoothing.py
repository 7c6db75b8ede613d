"""Paths of keypoints that tremble less, and never across what is absent."""

import numpy as np
import pytest

from poseact.errors import UsageError
from poseact.poses import PoseSequence
from poseact.skeleton import BODY13
from poseact.smoothing import smooth

FRAMES = 40


def poses_of(path, scores=None):
    """One person, all of whose keypoints go the same way at 20 frames a second. path: (T,), x and y alike."""
    points = np.tile(np.asarray(path, np.float32)[None, :, None, None], (1, 1, 13, 2))
    return PoseSequence(
        keypoints=points,
        scores=np.full((1, len(path), 13), 0.9, np.float32) if scores is None else scores,
        times=np.arange(len(path)) / 20,
        image_size=(480, 640),
        layout=BODY13,
        track_ids=np.array([1]),
        boxes=np.ones((1, len(path), 4), np.float32),
    )


def trembling(rng=None):
    rng = rng or np.random.default_rng(0)
    clean = 100 + 40 * np.sin(np.arange(FRAMES) / 8)
    return clean, clean + rng.normal(0, 3, FRAMES)


def test_trembling_becomes_less_and_the_motion_stays():
    clean, noisy = trembling()
    smoothed = smooth(poses_of(noisy), 0.4).keypoints[0, :, 0, 0]
    assert np.abs(smoothed - clean).mean() < 0.8 * np.abs(noisy - clean).mean()


def test_a_parabola_is_left_alone():
    path = 0.1 * np.arange(FRAMES) ** 2
    assert smooth(poses_of(path), 0.4).keypoints == pytest.approx(poses_of(path).keypoints, abs=1e-2)


def test_more_seconds_than_there_are_is_all_of_them():
    poses = poses_of(trembling()[1])
    assert np.array_equal(smooth(poses, 1e308).keypoints, smooth(poses, FRAMES / 20).keypoints)


def test_scores_boxes_and_the_input_stay():
    before = poses_of(trembling()[1])
    kept = before.keypoints.copy()
    after = smooth(before, 0.4)
    assert np.array_equal(before.keypoints, kept)
    assert not np.array_equal(after.keypoints, kept)
    assert after.keypoints.dtype == np.float32
    assert after.scores is before.scores
    assert after.boxes is before.boxes


def test_nothing_is_smoothed_across_an_absent_keypoint():
    _, path = trembling()
    path[20:] += 500  # elsewhere, after an absence of one frame
    scores = np.full((1, FRAMES, 13), 0.9, np.float32)
    scores[0, 20, 4] = 0
    after = smooth(poses_of(path, scores), 0.4).keypoints[0, :, :, 0]
    assert after[20, 4] == np.float32(path[20])
    assert after[:20, 4].max() < 200
    assert after[21:, 4].min() > 500
    assert after[:20, 5].max() > 250  # another keypoint's path is not broken there
    first = smooth(poses_of(path[:20]), 0.4).keypoints[0, :, 4, 0]
    assert after[:20, 4] == pytest.approx(first)


def test_paths_too_short_for_the_filter_stay():
    _, path = trembling()
    scores = np.zeros((1, FRAMES, 13), np.float32)
    scores[0, 3:7] = scores[0, 20:27] = 0.9  # 4 frames, and 7 of the 9 that 0.4 s are
    before = poses_of(path, scores)
    after = smooth(before, 0.4)
    same = np.isclose(after.keypoints, before.keypoints)[0, :, 0, 0]
    assert same[:20].all()
    assert not same[20:27].all()


@pytest.mark.parametrize("seconds", [0, 0.05, 0.15])
def test_less_than_five_frames_change_nothing(seconds):
    before = poses_of(trembling()[1])
    assert smooth(before, seconds) is before


def test_nobody_and_a_single_frame():
    nobody = poses_of(trembling()[1]).select([])
    assert smooth(nobody, 1.0).keypoints.shape == (0, FRAMES, 13, 2)
    single = poses_of([3.0])
    assert smooth(single, 1.0) is single


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_impossible_seconds(seconds):
    with pytest.raises(UsageError, match="smoothed over 0 s or more"):
        smooth(poses_of([1.0, 2.0]), seconds)
