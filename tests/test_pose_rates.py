"""How the benchmark of pose rates interpolates, and how it tells that two labels are the same person's."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import person, poses

from poseact.clips import ClipLabel, LabelScore
from poseact.sampling import nearest_frames

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import pose_rates


def moving(x, scores, times):
    """Somebody at x pixels, (T,), with these scores, (T,), at these seconds."""
    keypoints = person(len(x)) + np.array(x, np.float32)[None, :, None, None]
    sequence = poses(keypoints, np.repeat(np.array(scores, np.float32)[None, :, None], 13, axis=2))
    return replace(sequence, times=np.array(times, np.float64))


def test_keypoints_between_frames_by_hand():
    sequence = moving([0, 10, 30, 70, 0], [0.5, 1, 1, 0, 1], [0, 0.1, 0.2, 0.3, 0.7])
    found = pose_rates.on_lines(sequence, np.array([-1, 0.05, 0.2, 0.24, 0.26, 0.6, 9]))
    # After 0.2 s the keypoints have but one end, and after 0.3 s the next frame is too far away.
    assert found.keypoints[0, :, 0, 0] - 50 == pytest.approx([0, 5, 30, 30, 70, 0, 0], abs=1e-4)
    assert found.scores[0, :, 0] == pytest.approx([0.5, 0.75, 1, 1, 0, 1, 1])


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=8),
    st.lists(st.floats(-1, 4), min_size=1, max_size=8).map(sorted),
    st.randoms(use_true_random=False),
)
def test_interpolated_keypoints_stay_between_those_of_the_frames_around(gaps, times, random):
    frames = np.cumsum(gaps) / 1000
    sequence = moving([random.uniform(0, 200) for _ in gaps], [random.choice([0, 0.5, 1]) for _ in gaps], frames)
    found = pose_rates.on_lines(sequence, np.array(times))
    ends = [np.searchsorted(frames, times), np.searchsorted(frames, times, side="right") - 1]
    around = [sequence.keypoints[:, end.clip(0, len(frames) - 1)] for end in ends]
    assert (found.keypoints >= np.minimum(*around) - 1e-3).all()
    assert (found.keypoints <= np.maximum(*around) + 1e-3).all()
    assert (found.present == sequence.present[:, nearest_frames(frames, np.array(times))]).all()
    same = pose_rates.on_lines(sequence, frames)
    assert np.array_equal(same.keypoints, sequence.keypoints)
    assert np.array_equal(same.scores, sequence.scores)


def said(clip, label, x, score=0.6, times=(0.0, 0.1, 0.2)):
    boxes = np.tile(np.array([x, 0, x + 10, 20], np.float32), (len(times), 1))
    words = ClipLabel("a.mp4", clip, clip, clip + 1, 1, label, score, (LabelScore(label, score),), 2)
    return pose_rates.Said(words, (label, score), (label, label), np.array(times), boxes)


def test_labels_are_compared_person_by_person_whatever_their_ids():
    full = [said(0, "walk", 0), said(0, "jump", 50), said(1, "walk", 0)]
    fewer = (0.0, 0.2)
    change = pose_rates.Change()
    change.add(full, [said(0, "jump", 51, 0.5, fewer), said(0, "run", 1, 0.6, fewer), said(2, "walk", 0)], 6)
    assert (change.labels, change.lost, change.extra, change.same.tolist()) == (3, 1, 1, [1, 1])
    assert change.row() == "6 | 33.3% | 0.050 | 33.3% | 0.050 | 1 and 1 of 3"


def test_whoever_is_elsewhere_or_at_another_time_is_another():
    assert pose_rates.overlap(said(0, "walk", 0), said(0, "walk", 0)) == pytest.approx(1)
    assert pose_rates.overlap(said(0, "walk", 0), said(0, "walk", 5)) == pytest.approx(1 / 3)
    assert pose_rates.overlap(said(0, "walk", 0), said(0, "walk", 0, times=(3.0, 3.1))) == 0
