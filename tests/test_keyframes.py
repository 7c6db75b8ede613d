"""People of successive frames, found in whole pictures now and then and in regions in between."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseact.detect import Detections, YoloDetector
from poseact.errors import UsageError
from poseact.extract import PoseStages, _batches, extract_poses
from poseact.keyframes import KeyFrames, frames_between_keys
from poseact.letterbox import fit
from poseact.video import Frame
from poseact.yolo import Yolo, YoloResult

SIZE = (360, 640)


def walker(index, x=100, step=2.0):
    return (x + step * index, 100, x + 40 + step * index, 220)


@dataclass
class Stage(YoloDetector, Yolo):
    """A detector and its network, which find those who are there. people: the boxes of each frame. whole, parts: the
    frames that were looked at as a whole, and in part."""

    people: dict[int, list[tuple[float, ...]]]
    looked: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    keypoint_shape = (17, 3)
    stride = 32

    @property
    def yolo(self):
        return self

    def __call__(self, frames):
        self.looked += [frame.index for frame in frames]
        return [self._found(frame.index) for frame in frames]

    def whole(self, size):
        return fit(size, 640, 32, square=False)

    def within(self, images, windows):
        found = []
        for image, window in zip(images, windows, strict=True):
            index = int(image[0, 0, 0])
            self.parts.append(index)
            boxes = self._found(index).boxes
            ends = window.bring(boxes.reshape(-1, 2)).reshape(-1, 4)
            there = (ends[:, :2] >= 0).all(1) & (ends[:, 2:] <= window.size[::-1]).all(1)
            found.append(YoloResult(boxes[there], np.full(there.sum(), 0.9, np.float32), points(boxes[there])))
        return found

    def _found(self, index):
        boxes = np.array(self.people.get(index, []), np.float32).reshape(-1, 4)
        keypoints = points(boxes)
        scores = np.full(len(boxes), 0.9, np.float32)
        return Detections(boxes, scores, keypoints[..., :2], keypoints[..., 2])


def points(boxes):
    return np.concatenate([np.repeat(boxes[:, None, :2], 17, 1), np.ones((len(boxes), 17, 1), np.float32)], -1)


def marked(count, cuts=()):
    return at([i / 15 for i in range(count)], cuts)


def at(times, cuts=()):
    return [(Frame(np.full((*SIZE, 3), i, np.uint8), i, time), i in cuts) for i, time in enumerate(times)]


def run(stage, frames, sizes, every=4):
    keys, found = KeyFrames(every), []
    for size in sizes:
        found += keys.detect(stage, frames[len(found) : len(found) + size])
    assert len(found) == len(frames)
    return found


def test_most_frames_are_looked_at_in_part():
    stage = Stage({i: [walker(i)] for i in range(17)})
    found = run(stage, marked(17), [8, 8, 1])
    assert sorted(stage.looked) == [0, 3, 7, 11, 15, 16]
    assert sorted(stage.parts) == sorted(set(range(17)) - set(stage.looked))
    for i, people in enumerate(found):
        assert people.boxes.tolist() == [pytest.approx(walker(i))]
        assert people.keypoints[0, 0].tolist() == pytest.approx(walker(i)[:2])


def test_where_nobody_is_nothing_is_looked_at_between_key_frames():
    stage = Stage({})
    found = run(stage, marked(8), [8])
    assert (sorted(stage.looked), stage.parts) == ([0, 3, 7], [])
    assert [(len(people), people.keypoints.shape) for people in found] == [(0, (0, 17, 2))] * 8


def test_who_comes_between_key_frames_is_found_at_once():
    stage = Stage({i: [walker(i)] + [walker(i, 400)] * (i >= 9) for i in range(16)})
    found = run(stage, marked(16), [8, 8])
    assert [len(people) for people in found] == [1] * 9 + [2] * 7
    assert set(stage.parts) >= {12, 13, 14}
    assert not {8, 9, 10} & set(stage.parts)


def test_who_is_not_where_they_must_be_is_looked_for_everywhere():
    people = {i: [walker(i)] for i in range(8)}
    people[5] = [walker(5, 400)]
    stage = Stage(people)
    found = run(stage, marked(8), [8])
    assert 5 in stage.looked
    assert found[5].boxes.tolist() == [pytest.approx(walker(5, 400))]


def test_both_sides_of_a_cut_are_key_frames():
    stage = Stage({i: [walker(i)] if i < 5 else [walker(i, 400)] for i in range(8)})
    found = run(stage, marked(8, cuts={5}), [8])
    assert {4, 5} <= set(stage.looked)
    places = [walker(i, 100 if i < 5 else 400)[0] for i in range(8)]
    assert [people.boxes[0, 0] for people in found] == pytest.approx(places)


def test_people_who_fill_the_picture_are_looked_at_as_a_whole():
    stage = Stage({i: [(20, 5, 600, 355)] for i in range(8)})
    run(stage, marked(8), [8])
    assert (len(stage.looked), stage.parts) == (8, [])


def test_after_a_gap_and_with_another_size_everything_begins_anew():
    stage = Stage({i: [walker(i)] for i in range(12)})
    frames = marked(12)
    frames[5] = (Frame(frames[5][0].image, 5, 9.0, after_gap=True), False)
    frames[10:] = [(Frame(np.full((180, 320, 3), i, np.uint8), i, 9 + i / 15), False) for i in (10, 11)]
    run(stage, frames, [12])
    assert {4, 5, 9, 10} <= set(stage.looked)


def test_both_sides_of_a_change_of_size_are_key_frames():
    stage = Stage({i: [walker(i)] for i in range(8)})
    frames = marked(8)
    frames[5:] = [(Frame(np.full((180, 320, 3), i, np.uint8), i, i / 15), False) for i in (5, 6, 7)]
    run(stage, frames, [8])
    assert {4, 5} <= set(stage.looked)


@pytest.mark.parametrize("sizes", [[4] * 4, [8] * 2, [12, 4], [16]])
def test_how_many_frames_come_together_makes_no_difference(sizes):
    """That depends on the cores of the machine, and of a worker of `label`."""
    stage = Stage({i: [walker(i)] for i in range(16)})
    run(stage, marked(16, cuts={6}), sizes)
    assert sorted(stage.looked) == [0, 3, 5, 6, 7, 11, 15]


@pytest.mark.parametrize(
    ("most", "multiple", "fitting", "sizes"),
    [
        (16, 4, 10, [8, 8, 8]),
        (4, 4, 10, [4] * 6),
        (8, 4, 2, [2] * 12),
        (8, 1, 5, [5, 5, 5, 5, 4]),
        (8, 4, 0.5, [1] * 24),
    ],
)
def test_memory_cuts_batches_where_a_key_frame_is(most, multiple, fitting, sizes):
    frames = marked(24)
    batches = list(_batches(frames, most, multiple, fitting * frames[0][0].image.nbytes))
    assert [len(batch) for batch in batches] == sizes


def test_frames_of_the_same_time_do_no_harm():
    stage = Stage({i: [walker(0)] for i in range(8)})
    frames = [(Frame(frame.image, frame.index, 1.0), cut) for frame, cut in marked(8)]
    assert [len(people) for people in run(stage, frames, [8])] == [1] * 8


def test_a_batch_that_failed_can_be_tried_again():
    class Failing(Stage):
        fails = True

        def within(self, images, windows):
            if self.fails and int(images[0][0, 0, 0]) >= 8:
                self.fails = False
                raise RuntimeError("out of order")
            return super().within(images, windows)

    frames, keys = marked(16), KeyFrames(4)
    stage = Failing({i: [walker(i)] for i in range(16)})
    keys.detect(stage, frames[:8])
    with pytest.raises(RuntimeError, match="out of order"):
        keys.detect(stage, frames[8:])
    found = keys.detect(stage, frames[8:])
    assert [people.boxes[0, 0] for people in found] == [pytest.approx(walker(i)[0]) for i in range(8, 16)]
    assert 8 not in stage.looked


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(2, 8), st.floats(-20, 20), st.integers(0, 30))
def test_however_frames_come_everybody_is_found(sizes, every, step, comes):
    count = sum(sizes)
    people = {i: [walker(i, 300, step)] * (i >= comes) + [walker(i, 100)] for i in range(count)}
    stage = Stage(people)
    for i, found in enumerate(run(stage, marked(count), sizes, every)):
        assert sorted(found.boxes.tolist()) == sorted(np.array(people[i], np.float32).tolist())


def test_where_a_recording_slows_down_nobody_is_guessed_for_seconds():
    """15 frames/s, then 2 frames/s, then 5 frames/s, and a second without any."""
    times = np.cumsum([0] + [1 / 15] * 8 + [0.5] * 4 + [0.2] * 6 + [1.0] + [1 / 15] * 4).tolist()
    stage = Stage({i: [walker(i)] for i in range(len(times))})
    run(stage, at(times), [len(times)], every=8)
    assert sorted(set(range(len(times))) - set(stage.looked)) == [1, 2, 3, 4, 5, 6, 13, 16, 20, 21, 22]


UNEVEN = st.lists(st.sampled_from([0.0, 1 / 60, 1 / 30, 1 / 15, 0.1, 0.2, 0.5, 0.6, 3.0]), min_size=1, max_size=40)


@given(UNEVEN, st.integers(2, 8), st.lists(st.integers(1, 3), min_size=40, max_size=40))
def test_key_frames_depend_on_time_and_not_on_batches(intervals, every, multiples):
    frames = at(np.cumsum(intervals).tolist())
    ends = [min(end, len(frames)) for end in np.cumsum([0, *multiples]) * every]
    looked = []
    for sizes in ([len(frames)], np.diff(ends).tolist()):
        stage = Stage({i: [walker(0)] for i in range(len(frames))})
        run(stage, frames, [size for size in sizes if size], every)
        looked.append(sorted(stage.looked))
    assert looked[0] == looked[1]
    for key, following in pairwise(looked[0]):
        assert following == key + 1 or frames[following][0].time - frames[key][0].time < 0.6


@pytest.mark.parametrize(("rate", "every"), [(30, 8), (60, 8), (15, 4), (12, 3), (8, 2), (5, 1), (1, 1)])
def test_key_frames_are_a_quarter_of_a_second_apart(rate, every):
    assert frames_between_keys(rate) == every


def test_of_real_video_the_poses_are_nearly_the_same(shared):
    """The network's own noise in bfloat16 is 0.2 % of the body."""
    found = {
        search: extract_poses(shared / "videos" / "drink.avi", PoseStages(device="cpu", search=search), rate=15)
        for search in ("auto", "whole")
    }
    key, whole = found["auto"], found["whole"]
    assert key.scores.shape == whole.scores.shape
    body = (whole.boxes[..., 3] - whole.boxes[..., 1]).max()
    off = np.linalg.norm(key.keypoints - whole.keypoints, axis=-1)[whole.scores > 0.5]
    assert off.max() > 0
    assert np.median(off) < 0.004 * body


def test_boxes_of_a_file_leave_nothing_to_search(tmp_path):
    with pytest.raises(UsageError, match="nobody is searched for"):
        PoseStages(device="cpu", boxes=tmp_path / "boxes.csv", search="whole")


def test_of_large_pictures_batches_that_wait_stay_apart():
    """Or else key frames would depend on what happens to wait: of 4K pictures two fit into a batch, of four at most."""
    asked = []

    class Recorder:
        def submit(self, thread, name, run, items, most):
            asked.append((len(items), most))
            return [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))] * len(items)

        def result(self, future):
            return future

    stages = PoseStages(device="cpu")
    image = np.broadcast_to(np.uint8(0), (2160, 3840, 3))
    frames = [(Frame(image, i, i / 15), False) for i in range(8)]
    assert len(list(stages._found(frames, *stages.finder(15, "", is_live=False), Recorder()))) == 8
    assert asked == [(2, 2)] * 4


def test_boxes_of_a_file_are_not_described_as_searched_for(tmp_path):
    assert "key frames" not in PoseStages(device="cpu", boxes=tmp_path / "boxes.csv").description


def test_what_poses_depend_on_tells_how_they_were_searched_for():
    assert PoseStages(device="cpu").description != PoseStages(device="cpu", search="whole").description
