"""3D skeletons seen from the front, the side and above: by hand, hostile, and of two depth sensors."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.errors import InputError, UsageError
from poseact.planes import PLANES, project
from poseact.poses import load_poses

# In metres, x right, y down, z away: the body is 2 high and stands 3 away; the left wrist points at the camera.
HEAD, LEFT_WRIST, LEFT_ANKLE = 0, 5, 11


def standing(n_people=1, n_frames=2):
    body = np.zeros((n_people, n_frames, 13, 3), np.float32) + np.float32([0.5, 0, 3])
    body[..., HEAD, 1] = -1
    body[..., LEFT_ANKLE, 1] = 1
    body[..., LEFT_WRIST, 2] = 2
    return body


def row(name="a", **changed):
    made = {"frame_dir": name, "label": 1, "total_frames": 2, "fps": 15.0, "keypoint": standing(), **changed}
    return {key: value for key, value in made.items() if value is not None}


def flat(name="b"):
    return row(name, keypoint=np.ones((1, 2, 13, 2)), img_shape=(48, 64))


def written(tmp_path, rows, split=None):
    path = tmp_path / "poses.pkl"
    path.write_bytes(pickle.dumps({"split": split or {}, "annotations": rows}))
    return path


def test_a_3d_sequence_becomes_one_for_each_plane(tmp_path):
    file = load_poses(written(tmp_path, [row()], {"train": ["a"]}))
    assert list(file.annotations) == ["a#xy", "a#yz", "a#xz"] == file.splits["train"]
    for annotation in file.split("train"):
        assert (annotation.sequence, annotation.label) == ("a", 1)
        assert annotation.poses.image_size == (640, 640)
        assert annotation.poses.times.tolist() == pytest.approx([0, 1 / 15])
        assert (annotation.poses.scores == 1).all()


def test_each_plane_shows_what_is_seen_from_there(tmp_path):
    # 2 m fill 0.8 of 640 pixels: 256 pixels a metre. The middle is (0.5, 0, 2.5).
    seen = {name: a.poses.keypoints[0, 0] for name, a in load_poses(written(tmp_path, [row()])).annotations.items()}
    at = (HEAD, LEFT_ANKLE, LEFT_WRIST)
    assert seen["a#xy"][at, :].tolist() == [[320, 64], [320, 576], [320, 320]]
    assert seen["a#yz"][at, :].tolist() == [[448, 64], [448, 576], [192, 320]]
    assert seen["a#xz"][at, :].tolist() == [[320, 192], [320, 192], [320, 448]]  # towards the camera is down


def test_only_the_planes_that_are_asked_for(tmp_path):
    path = written(tmp_path, [row(), flat()], {"test": ["b", "a"]})
    file = load_poses(path, planes=("xy",))
    assert file.splits["test"] == ["b", "a#xy"]
    assert [a.sequence for a in file.split("test")] == ["b", "a"]


@pytest.mark.parametrize("planes", [(), ("zx",), ("xy", "xy")])
def test_planes_that_are_not_there_are_a_usage_error(tmp_path, planes):
    with pytest.raises(UsageError, match="planes are one or more of xy, yz, xz, each once; got"):
        load_poses(written(tmp_path, [row()]), planes=planes)


def test_a_2d_sequence_is_its_own_and_has_no_planes(tmp_path):
    (annotation,) = load_poses(written(tmp_path, [flat()])).annotations.values()
    assert annotation.name == annotation.sequence == "b"
    assert annotation.poses.image_size == (48, 64)


def test_a_keypoint_that_is_not_finite_or_at_the_sensor_is_absent_from_all_planes(tmp_path):
    keypoints = standing()
    keypoints[0, 0, 1, 2] = np.nan
    keypoints[0, 1, 2, 0] = np.inf
    keypoints[0, 1, 3] = 0
    keypoints[0, 1, 4, 0] = 0  # x alone may be 0: right before the sensor
    scores = np.ones((1, 2, 13))
    scores[0, 0, 7], scores[0, 0, 8] = np.nan, 0
    for annotation in load_poses(
        written(tmp_path, [row(keypoint=keypoints, keypoint_score=scores)])
    ).annotations.values():
        absent = {tuple(place) for place in np.argwhere(annotation.poses.scores == 0)}
        assert absent == {(0, 0, 1), (0, 1, 2), (0, 1, 3), (0, 0, 7), (0, 0, 8)}


def test_a_sequence_of_nothing_is_absent(tmp_path):
    for keypoint in (np.zeros((1, 2, 13, 3)), np.full((1, 2, 13, 3), np.nan)):
        for annotation in load_poses(written(tmp_path, [row(keypoint=keypoint)])).annotations.values():
            assert not annotation.poses.scores.any()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=78, max_size=78),
    st.sampled_from([0.0, 1e-3, 1.0, 1e6]),
)
def test_all_that_is_there_lies_well_inside_the_picture_at_one_scale(numbers, scale):
    keypoints = scale * np.float32(numbers).reshape(1, 2, 13, 3) + np.float32([0, 0, 5])
    seen = project({"keypoint": keypoints}, PLANES)
    for plane in seen.values():
        there = plane["keypoint_score"] > 0
        assert (plane["keypoint"][there] > 60).all()
        assert (plane["keypoint"][there] < 580).all()
    np.testing.assert_allclose(seen["xy"]["keypoint"][..., 0], seen["xz"]["keypoint"][..., 0])
    np.testing.assert_allclose(seen["xy"]["keypoint"][..., 1], seen["yz"]["keypoint"][..., 1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keypoint": np.zeros((1, 2, 13, 4))}, r"\(M, T, K, 2\) or \(M, T, K, 3\) with T > 0, got \(1, 2, 13, 4\)"),
        ({"keypoint": np.zeros((1, 0, 13, 3))}, r"with T > 0, got \(1, 0, 13, 2\)"),
        ({"keypoint": np.ones((1, 2, 25, 3))}, "no layout has 25 keypoints"),
        ({"keypoint_score": np.ones((1, 2, 17))}, r"keypoint_score must have shape \(1, 2, 13\), got \(1, 2, 17\)"),
        ({"frame_dir": None}, "annotation number 1 is malformed: it has no 'frame_dir'"),
        ({"frame_dir": "good"}, "has two annotations named good#xy; names must differ"),
    ],
)
def test_a_malformed_3d_annotation_is_named(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        load_poses(written(tmp_path, [row("good"), row("bad", **changed)]))


@pytest.mark.parametrize(("file", "n_sequences", "n_train"), [("msr_action3d", 560, 290), ("utkinect", 199, 100)])
def test_the_depth_sensors_data_stands_upright(shared, file, n_sequences, n_train):
    found = load_poses(shared / "data" / f"{file}.pkl")
    assert len(found.annotations) == 3 * n_sequences
    assert len(found.split("train")) == 3 * n_train
    for plane in ("xy", "yz"):
        poses = [a.poses for name, a in found.annotations.items() if name.endswith(plane)]
        heights = np.concatenate([(p.keypoints[p.scores[..., 0] > 0][:, [11, 0], 1]) for p in poses])
        assert np.median(heights[:, 0] - heights[:, 1]) > 200
