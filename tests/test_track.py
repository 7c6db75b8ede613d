"""Who is who, by boxes drawn by hand; and who matters in a clip."""

import numpy as np
import pytest

from poseact import track
from poseact.detect import Detections
from poseact.poses import PoseSequence
from poseact.skeleton import BODY13
from poseact.track import Sighting, TrackedPoses, Tracker, appearances, clothes_of, presence, prominence
from poseact.video import Frame

SIZE = (480, 640)
GREY = np.full((*SIZE, 3), 128, np.uint8)
ANNE = [50, 100, 110, 300]
BOB = [450, 100, 510, 300]


def moved(box, by):
    return [box[0] + by, box[1], box[2] + by, box[3]]


def room(*people):
    """A grey picture, and in it each (box, colour) filled with the colour."""
    picture = GREY.copy()
    for (x1, y1, x2, y2), colour in people:
        picture[max(y1, 0) : y2, max(x1, 0) : x2] = colour
    return picture


def sighting(boxes, scores, image=GREY):
    return Sighting.of(Frame(image, 0, 0.0), Detections(boxes, np.array(scores, np.float32)))


def follow_dressed(frames, rate=10.0, patience=1.0):
    """The ids of each frame; a frame is a list of (box, colour)."""
    tracker = Tracker(rate, patience)
    ids = []
    for people in frames:
        boxes = np.array([box for box, _ in people], np.float32).reshape(-1, 4)
        ids.append(tracker.update(sighting(boxes, [0.9] * len(people), room(*people))).tolist())
    return ids


def follow(frames, rate=10.0, patience=1.0):
    """The ids of each frame; a frame is a list of boxes, or of (box, score)."""
    tracker = Tracker(rate, patience)
    ids = []
    for frame in frames:
        rows = [row if isinstance(row, tuple) else (row, 0.9) for row in frame]
        boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
        ids.append(tracker.update(sighting(boxes, [score for _, score in rows])).tolist())
    return ids


def test_two_people_far_apart_keep_their_ids():
    ids = follow([[moved(ANNE, 4 * i), moved(BOB, -4 * i)] for i in range(8)])
    assert ids == [[1, 2]] * 8


def test_ids_follow_the_people_and_not_the_order_of_boxes():
    ids = follow([[ANNE, BOB], [BOB, ANNE], [ANNE, BOB]])
    assert ids == [[1, 2], [2, 1], [1, 2]]


def test_somebody_hidden_for_a_few_frames_keeps_the_id():
    ids = follow([[ANNE, BOB]] * 5 + [[ANNE]] * 4 + [[ANNE, BOB]] * 2)
    assert ids == [[1, 2]] * 5 + [[1]] * 4 + [[1, 2]] * 2


def test_patience_is_in_seconds_whatever_the_rate():
    # Six frames are 0.6 s at 10 frames/s, but 3 s at 2 frames/s.
    hidden = [[ANNE, BOB]] * 4 + [[ANNE]] * 6 + [[ANNE, BOB]] * 2
    assert follow(hidden, rate=10, patience=1)[-1] == [1, 2]
    assert follow(hidden, rate=2, patience=1)[-1] == [1, 3]


RED, BLUE, GREEN = (200, 30, 30), (30, 60, 200), (20, 160, 60)


def test_two_who_meet_and_turn_back_are_told_apart_by_what_they_wear():
    left, right = [*range(0, 200, 20), *range(200, -20, -20)], [*range(400, 200, -20), *range(200, 420, 20)]
    box = [20, 100, 80, 300]
    frames = [[(moved(box, a), RED), (moved(box, b), BLUE)] for a, b in zip(left, right, strict=True)]
    del frames[9][0], frames[10][0], frames[11][0]  # red is behind blue
    ids = follow_dressed(frames)
    assert ids[0] == ids[-1] == [1, 2]
    assert ids[10] == [2]


def test_somebody_who_comes_out_elsewhere_has_their_id_again():
    hidden = [[(ANNE, RED)]] * 5 + [[]] * 5 + [[(moved(ANNE, 150), RED)]] * 2
    assert follow_dressed(hidden)[-1] == [1]


def test_who_wears_something_else_is_somebody_else():
    changed = [[(ANNE, RED)]] * 5 + [[]] * 5 + [[(moved(ANNE, 150), GREEN)]] * 2
    assert follow_dressed(changed)[-1] == [2]


def test_nobody_comes_out_further_away_than_they_can_have_got():
    far = [[(ANNE, RED)]] * 5 + [[]] + [[(moved(ANNE, 450), RED)]] * 2
    assert follow_dressed(far)[-1] == [2]


def test_somebody_whom_the_light_changes_keeps_the_id():
    assert follow_dressed([[(ANNE, RED)]] * 5 + [[(ANNE, BLUE)]] * 5) == [[1]] * 10


def test_after_a_restart_everybody_is_new():
    tracker = Tracker(10)
    both = sighting(np.array([ANNE, BOB], np.float32), [0.9, 0.9])
    assert tracker.update(both).tolist() == [1, 2]
    tracker.restart()
    assert tracker.update(both).tolist() == [3, 4]


@pytest.mark.parametrize(("new_scene", "after_gap"), [(True, False), (False, True)])
def test_in_a_new_scene_and_when_a_live_source_was_away_everybody_is_new(new_scene, after_gap):
    anne = Detections(np.array([ANNE], np.float32), np.array([0.9], np.float32))
    frames = [Frame(GREY, index, index / 10, after_gap=after_gap and index == 2) for index in range(4)]
    found = [(frame, new_scene and frame.index == 2, anne) for frame in frames]
    assert [ids.tolist() for _, ids, _ in track.follow(found, Tracker(10))] == [[1], [1], [2], [2]]


def test_appearances_by_hand():
    picture = room(([0, 0, 100, 240], RED), ([0, 240, 100, 480], BLUE))
    boxes = np.array([[0, 0, 100, 480], [0, 0, 100, 240], [700, 0, 800, 100]], np.float32)
    red_over_blue, red, outside = appearances(clothes_of(picture, boxes))
    assert np.linalg.norm(red_over_blue) == pytest.approx(2**0.5)
    assert red_over_blue @ red == pytest.approx(1)  # the shirt is the same, the trousers are not
    assert not outside.any()
    assert appearances(clothes_of(picture, boxes[:0])).shape == (0, len(red))


def test_a_newcomer_has_an_id_at_once():
    assert follow([[ANNE], [ANNE, BOB], [ANNE, BOB]]) == [[1], [1, 2], [1, 2]]


def test_weak_boxes_belong_to_nobody():
    ids = follow([[ANNE, (BOB, 0.05)]] * 4)
    assert ids == [[1, -1]] * 4
    ids = follow([[ANNE, (BOB, 0.2)]] * 4)
    assert ids == [[1, -1]] * 4


def test_somebody_known_is_followed_through_weak_boxes():
    ids = follow([[ANNE]] * 3 + [[(ANNE, 0.15)]] * 3)
    assert ids == [[1]] * 6


def test_frames_of_nobody():
    assert follow([[], [], []]) == [[], [], []]
    assert follow([[ANNE]] * 3 + [[], [ANNE]]) == [[1]] * 3 + [[], [1]]


def test_a_new_tracker_counts_from_one_and_does_not_disturb_the_others():
    first = Tracker(10)
    boxes = np.array([ANNE], np.float32)
    assert first.update(sighting(boxes, [0.9])).tolist() == [1]
    assert follow([[ANNE, BOB]]) == [[1, 2]]
    both = sighting(np.array([ANNE, BOB], np.float32), [0.9, 0.9])
    first.update(both)
    assert first.update(both).tolist() == [1, 2]


def found(*values):
    """A detection for each value: all coordinates of its keypoints are the value, its score 0.5."""
    n = len(values)
    value = np.array(values, np.float32)
    return Detections(
        boxes=np.tile(value[:, None], (1, 4)),
        scores=np.ones(n, np.float32),
        keypoints=np.tile(value[:, None, None], (1, 13, 2)),
        keypoint_scores=np.full((n, 13), 0.5, np.float32),
        layout=BODY13,
    )


def tracked(*frames):
    """Frames as (time, ids, values)."""
    poses = TrackedPoses(BODY13, SIZE)
    for time, ids, values in frames:
        poses.add(time, np.array(ids, dtype=np.int64), found(*values))
    return poses


THREE_FRAMES = [(0.0, [3, 1], [30, 10]), (0.5, [1], [11]), (1.0, [-1, 3], [99, 32])]


def test_a_sequence_holds_everybody_in_the_order_of_their_ids():
    sequence = tracked(*THREE_FRAMES).sequence(0, 2)
    assert sequence.track_ids.tolist() == [1, 3]
    assert sequence.times.tolist() == [0, 0.5, 1]
    assert sequence.keypoints[:, :, 0, 0].tolist() == [[10, 11, 0], [30, 0, 32]]
    assert sequence.boxes[:, :, 3].tolist() == [[10, 11, 0], [30, 0, 32]]
    assert sequence.image_size == SIZE


def test_somebody_absent_has_score_zero_and_a_box_without_id_is_nobody():
    sequence = tracked(*THREE_FRAMES).sequence(0, 2)
    assert sequence.scores[:, :, 12].tolist() == [[0.5, 0.5, 0], [0.5, 0, 0.5]]
    assert 99 not in sequence.keypoints


def test_a_sequence_of_some_people_in_a_given_order():
    sequence = tracked(*THREE_FRAMES).sequence(0, 2, [3, 7, 1])
    assert sequence.track_ids.tolist() == [3, 7, 1]
    assert sequence.keypoints[:, :, 0, 0].tolist() == [[30, 0, 32], [0, 0, 0], [10, 11, 0]]


def test_who_matters_over_many_frames_is_the_same_as_over_all_at_once(monkeypatch):
    monkeypatch.setattr("poseact.track._FRAMES_AT_A_TIME", 3)
    rng = np.random.default_rng(0)
    poses = TrackedPoses(BODY13, SIZE)
    for t in range(11):
        ids = rng.permutation(6)[: rng.integers(0, 6)]
        detections = found(*rng.uniform(0, 100, len(ids)))
        detections.boxes[:, 2:] += rng.uniform(10, 100, (len(ids), 1))
        poses.add(t / 10, ids, detections)
    everybody = poses.sequence(0, 9)
    expected = everybody.track_ids[np.argsort(-prominence(everybody), kind="stable")].tolist()
    assert poses.best_first() == expected
    assert len(expected) == 6


def test_a_sequence_starts_at_its_start_and_ends_before_its_end():
    poses = tracked(*THREE_FRAMES)
    assert poses.sequence(0, 1).times.tolist() == [0, 0.5]
    assert poses.sequence(0.5, 1).times.tolist() == [0.5]
    assert poses.sequence(0.5, 1).track_ids.tolist() == [1]
    assert poses.sequence(0.5, 1.1).times.tolist() == [0.5, 1]


def test_a_sequence_without_frames_or_people():
    empty = tracked(*THREE_FRAMES).sequence(5, 6)
    assert empty.keypoints.shape == (0, 0, 13, 2)
    assert presence(empty).tolist() == []
    assert prominence(empty).tolist() == []


def test_what_was_forgotten_is_gone_and_the_rest_is_not():
    poses = tracked(*THREE_FRAMES)
    poses.forget_before(0.5)
    assert poses.sequence(0, 2).times.tolist() == [0.5, 1]
    poses.forget_before(9)
    assert poses.sequence(0, 20).times.tolist() == []


def test_a_frame_that_a_clip_takes_by_rounding_is_not_forgotten_before_it():
    time = 1 - 0.9  # 0.09999999999999998
    poses = tracked((time, [1], [10]), (0.2, [1], [11]))
    assert len(poses.sequence(0.1, 1).times) == 2
    poses.forget_before(0.1)
    assert len(poses.sequence(0.1, 1).times) == 2


def people(sides, scores):
    """sides, scores: (M, T), the side of each square box in pixels of a 100 × 100 picture."""
    sides, scores = np.array(sides, np.float32), np.array(scores, np.float32)
    m, t = sides.shape
    boxes = np.zeros((m, t, 4), np.float32)
    boxes[..., 2:] = sides[..., None]
    return PoseSequence(
        keypoints=np.zeros((m, t, 13, 2), np.float32),
        scores=np.repeat(scores[..., None], 13, axis=2),
        times=np.arange(t) / 10,
        image_size=(100, 100),
        layout=BODY13,
        track_ids=np.arange(m),
        boxes=boxes,
    )


def test_presence_is_the_share_of_frames():
    poses = people([[20] * 4] * 3, [[1, 1, 1, 1], [0, 1, 0, 0], [0, 0.5, 0.1, 0]])
    assert presence(poses).tolist() == [1, 0.25, 0.5]


def test_prominence_by_hand():
    poses = people([[20, 20], [50, 50]], [[1, 1], [0.5, 0]])
    # 20 of 100 pixels, all sure, always: 0.2. 50 of 100, half sure, half of the time: 0.125.
    assert prominence(poses) == pytest.approx([0.2, 0.125])


def test_somebody_there_throughout_beats_somebody_large_for_a_moment():
    poses = people([[20] * 10, [100] + [0] * 9], [[0.8] * 10, [0.8] + [0] * 9])
    throughout, moment = prominence(poses)
    assert throughout > moment


def test_the_larger_and_the_surer_of_two_matters_more():
    larger, smaller, unsure = prominence(people([[40] * 3, [30] * 3, [40] * 3], [[0.8] * 3, [0.8] * 3, [0.4] * 3]))
    assert larger > smaller > unsure
