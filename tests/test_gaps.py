"""People who are missed for a moment, by a few numbers worked out by hand."""

import numpy as np
import pytest

from poseact.detect import Detections
from poseact.gaps import fill_gaps
from poseact.skeleton import BODY13
from poseact.video import Frame

PICTURE = np.zeros((4, 4, 3), np.uint8)


def frame(time, *people, given=False):
    """people: (id, value): each coordinate of box and keypoints is the value; keypoint 0 of Bob (2) is absent."""
    ids = np.array([i for i, _ in people], np.int64)
    value = np.array([v for _, v in people], np.float32)
    scores = np.full((len(people), 13), 0.8, np.float32)
    scores[ids == 2, 0] = 0
    return (
        Frame(PICTURE, 0, time),
        ids,
        Detections(
            np.tile(value[:, None], (1, 4)),
            np.full(len(people), 0.6, np.float32),
            np.tile(value[:, None, None], (1, 13, 2)),
            scores,
            BODY13,
            ids if given else None,
        ),
    )


def told(tracked):
    """Who is where in each frame, as {id: value}."""
    return [{int(i): round(float(found.boxes[row, 0]), 3) for row, i in enumerate(ids)} for _, ids, found in tracked]


def test_somebody_missing_lies_on_the_line_in_between_with_half_of_the_score():
    filled = list(fill_gaps([frame(0, (1, 0.0)), frame(0.1), frame(0.3, (1, 30.0))], 0.3))
    assert told(filled) == [{1: 0}, {1: 10}, {1: 30}]
    _, _, found = filled[1]
    assert found.scores.tolist() == pytest.approx([0.3])
    assert found.keypoints[0, 5].tolist() == pytest.approx([10, 10])
    assert found.keypoint_scores[0].tolist() == pytest.approx([0.4] * 13)
    assert found.keypoints.dtype == found.boxes.dtype == np.float32
    assert found.layout == BODY13


def test_others_stay_as_they_are_and_an_absent_keypoint_stays_absent():
    tracked = [frame(0, (1, 0.0), (2, 5.0)), frame(0.1, (1, 1.0)), frame(0.2, (2, 7.0), (1, 2.0))]
    filled = list(fill_gaps(tracked, 0.2))
    assert told(filled) == [{1: 0, 2: 5}, {1: 1, 2: 6}, {2: 7, 1: 2}]
    assert filled[1][2].keypoint_scores[:, :2].tolist() == pytest.approx(np.array([[0.8, 0.8], [0, 0.4]]))


def test_who_is_away_for_longer_stays_away():
    tracked = [frame(0, (1, 0.0)), frame(0.1), frame(0.2), frame(0.3, (1, 30.0))]
    assert told(fill_gaps(tracked, 0.2)) == [{1: 0}, {}, {}, {1: 30}]


def test_who_never_comes_back_stays_away_and_nobody_is_invented_before():
    tracked = [frame(0, (1, 0.0)), frame(0.1, (-1, 9.0)), frame(0.2, (2, 5.0), (-1, 8.0))]
    assert told(fill_gaps(tracked, 1.0)) == [{1: 0}, {-1: 9}, {2: 5, -1: 8}]


def test_given_ids_are_taken_at_their_word():
    tracked = [frame(0, (1, 0.0), given=True), frame(0.1), frame(0.2, (1, 30.0), given=True)]
    assert told(fill_gaps(tracked, 0.2)) == [{1: 0}, {}, {1: 30}]


def test_two_gaps_of_one_person():
    tracked = [frame(0, (1, 0.0)), frame(0.1), frame(0.2, (1, 20.0)), frame(0.3), frame(0.4, (1, 0.0))]
    assert told(fill_gaps(tracked, 0.2)) == [{1: 0}, {1: 10}, {1: 20}, {1: 10}, {1: 0}]


def test_no_more_frames_wait_than_a_gap_is_long():
    taken = []

    def source():
        for i in range(10):
            taken.append(i)
            yield frame(i / 10, (1, float(i)))

    filled = fill_gaps(source(), 0.2)
    assert next(filled)[0].time == 0
    assert taken == [0, 1, 2, 3]
    assert len(list(filled)) == 9
