"""The renderer driven by 2D keypoints, and the script that makes a test bench of it."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from draw_actions import Scene, act, true_keypoints
from draw_poses import joints_of_keypoints, random_look, render_poses

from poseact.detect import Detections, YoloDetector
from poseact.extract import PoseStages
from poseact.poses import Annotation, PoseSequence, load_poses, save_poses
from poseact.skeleton import BODY13, COCO17, conversion
from poseact.video import Frame
from poseact.zoo import resolve

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import rendered

FPS = 10
SIZE = (240, 320)
BODY = conversion(COCO17, BODY13)
K = {name: index for index, name in enumerate(BODY13.keypoints)}


def body_of(keypoints, image_size=SIZE):
    """A sequence of one person whose 13 keypoints (T, 13, 2) are all seen."""
    frames = len(keypoints)
    return PoseSequence(
        keypoints=np.asarray(keypoints, np.float32)[None],
        scores=np.ones((1, frames, 13), np.float32),
        times=np.arange(frames) / FPS,
        image_size=image_size,
        layout=BODY13,
        track_ids=np.array([0]),
        boxes=np.zeros((1, frames, 4), np.float32),
    )


def acted(action, facing, seconds=1.0, **changes):
    """The 2D keypoints of a drawn motion, (T, 13, 2)."""
    scene = Scene((act(action, facing=facing, **changes),))
    return true_keypoints(scene, seconds, FPS, SIZE)[0][:, BODY]


def everywhere(keypoints):
    return np.ones(keypoints.shape[:2], bool)


@pytest.mark.parametrize("action", ["squat", "jumping_jacks"])
def test_the_estimator_finds_the_person_where_they_were_drawn(action):
    truth = acted(action, 20, seconds=1.2)
    images = list(render_poses(body_of(truth), random_look(np.random.default_rng(1), horizon=0.7)))
    assert len(images) == len(truth)
    assert (images[0].shape, images[0].dtype) == ((*SIZE, 3), np.uint8)
    chosen = range(0, 12, 3)
    found = YoloDetector(resolve("yolo11n-pose", "detector"), "cpu")([Frame(images[i], i, i / FPS) for i in chosen])
    named_rightly = 0
    for i, detections in zip(chosen, found, strict=True):
        best = detections.keypoints[int(detections.scores.argmax())][BODY]
        size = np.ptp(truth[i], axis=0).max()
        # The small network now and then takes somebody's front for their back.
        as_named, as_exchanged = (
            np.linalg.norm(points - truth[i], axis=1).mean() / size
            for points in (best, best[list(BODY13.mirrored_order)])
        )
        assert min(as_named, as_exchanged) < 0.08
        named_rightly += as_named < 0.08
    assert named_rightly >= 3


@pytest.mark.parametrize(("facing", "nose_ahead"), [(0, (0, 1)), (180, (0, -1)), (90, (1, 0)), (-90, (-1, 0))], ids=str)
def test_the_face_looks_where_the_body_does(facing, nose_ahead):
    keypoints = acted("squat", facing, seconds=2.0, x=0.5)
    joints, heights = joints_of_keypoints(keypoints, everywhere(keypoints))
    at = joints[10]
    ahead = (at["nose"] - (at["left_ear"] + at["right_ear"]) / 2) / heights[10]
    assert ahead[[0, 2]] == pytest.approx(np.multiply(nose_ahead, 0.075), abs=0.03)
    to_left = at["left_ear"][0] - at["right_ear"][0]
    if nose_ahead[1]:
        assert np.sign(to_left) == nose_ahead[1]  # of somebody who looks into the camera: on the picture's right


def test_the_height_of_a_body_is_told_from_its_limbs():
    keypoints = acted("squat", 60, seconds=2.0, height=0.75)
    _, heights = joints_of_keypoints(keypoints, everywhere(keypoints))
    assert heights == pytest.approx(0.75 * SIZE[0], rel=0.12)


def test_a_limb_that_is_never_there_is_not_drawn():
    keypoints = acted("jumping_jacks", 0)
    there = everywhere(keypoints)
    there[:, [K["left_elbow"], K["left_wrist"], K["right_ankle"]]] = False
    at = joints_of_keypoints(keypoints, there)[0][3]
    assert not {"left_elbow", "left_wrist", "left_hand", "right_ankle", "right_toe"} & at.keys()
    assert {"left_shoulder", "right_hand", "right_knee", "left_toe"} <= at.keys()
    poses = body_of(np.where(there[..., None], keypoints, 0))
    whole, without = (
        next(render_poses(p, random_look(np.random.default_rng(1), 0.7))).astype(int)
        for p in (body_of(keypoints), poses)
    )
    x, y = np.round(keypoints[0, [K["left_elbow"], K["left_wrist"]]].mean(axis=0)).astype(int)
    assert np.abs(whole - without)[y, x].max() > 20


def test_a_keypoint_that_is_missing_for_a_while_follows_its_parent():
    keypoints = np.repeat(acted("stand", 0)[:1], 9, axis=0)
    keypoints += 10 * np.arange(9)[:, None, None]  # the whole body moves
    there = everywhere(keypoints)
    there[3:6, K["left_wrist"]] = False
    joints, _ = joints_of_keypoints(np.where(there[..., None], keypoints, 0), there)
    for frame in (3, 4, 5):
        assert joints[frame]["left_wrist"][:2] == pytest.approx(keypoints[frame, K["left_wrist"]], abs=1e-3)


def test_hips_that_are_out_of_the_picture_hang_below_the_shoulders():
    keypoints = acted("stand", 0)
    there = everywhere(keypoints)
    there[:, 7:] = False
    at = joints_of_keypoints(keypoints, there)[0][0]
    truth = keypoints[0, [K["left_hip"], K["right_hip"]]].mean(axis=0)
    assert at["pelvis"][:2] == pytest.approx(truth, abs=0.06 * SIZE[0])
    there[:] = False
    with pytest.raises(ValueError, match="no frame with a shoulder"):
        joints_of_keypoints(keypoints, there)


@pytest.fixture
def pose_file(tmp_path):
    """Eight sequences of two classes, `penn_action.pkl`, so that left and right count as exchanged."""
    rows = []
    for index in range(8):
        keypoints = acted(("squat", "jumping_jacks")[index % 2], 0, seconds=2 + index / 10)
        poses = body_of(keypoints * 1.5, (360, 480))
        order = list(BODY13.mirrored_order)
        rows.append(Annotation(f"clip{index}", index % 2, replace(poses, keypoints=poses.keypoints[:, :, order])))
    save_poses(rows, {"train": [row.name for row in rows]}, tmp_path / "penn_action.pkl")
    (tmp_path / "penn_action_labels.txt").write_text("squat\njumping_jacks\n")
    return tmp_path / "penn_action.pkl"


class Seer:
    """A detector that always sees the same, and how often it was asked."""

    layout = COCO17

    def __init__(self):
        self.frames = 0

    def detect(self, frames):
        self.frames += len(frames)
        box, points = np.array([[10, 10, 90, 200]], np.float32), np.full((1, 17, 2), 50, np.float32)
        return [Detections(box, np.array([0.9]), points, np.full((1, 17), 0.7, np.float32), COCO17) for _ in frames]

    def __call__(self, frames, detections):
        return detections


def test_what_is_held_out_is_what_training_holds_out(pose_file):
    from poseact.training.data import hold_out

    items = [(a, a.label) for a in load_poses(pose_file).split("train")]
    _, held_out = hold_out(items, 0.5, np.random.default_rng(3))
    chosen = rendered.chosen([pose_file], ["train"], 0.5, 3, 10)
    assert sorted(a.name for a in chosen) == sorted(a.name for a, _ in held_out)
    assert [a.label for a in chosen] == [0, 1, 0, 1]
    assert len(rendered.chosen([pose_file], ["train"], None, 3, 3)) == 3


def test_a_clip_is_staged_small_with_names_of_the_body(pose_file):
    annotation = load_poses(pose_file).annotations["clip1"]
    poses = rendered.staged(annotation.poses, True, np.random.default_rng(0))
    assert poses.image_size == (240, 320)
    left, right = poses.keypoints[0, 0, K["left_shoulder"]], poses.keypoints[0, 0, K["right_shoulder"]]
    assert left[0] > right[0]  # they look into the camera
    far = replace(annotation.poses, keypoints=annotation.poses.keypoints / 4 + 100)
    poses = rendered.staged(far, True, np.random.default_rng(0))
    assert rendered._size(poses.keypoints[0], poses.scores[0] > 0) >= 110
    assert max(poses.image_size) < 640  # the surroundings only


def test_the_script_writes_a_pose_file_and_goes_on_where_it_was(pose_file, tmp_path, monkeypatch, capsys):
    seer, output = Seer(), tmp_path / "out.pkl"
    monkeypatch.setattr(rendered, "PoseStages", lambda **options: PoseStages(seer.detect, seer, **options))
    options = argparse.Namespace(
        poses=[pose_file],
        split=["train"],
        fraction=None,
        seed=0,
        count=2,
        output=output,
        h264=False,
        sheets=None,
        crops="auto",
    )
    rendered.draw(options)
    assert seer.frames == sum(len(a.poses.times) for a in load_poses(output).split("test")) > 20
    (row, _) = load_poses(output).split("test")
    assert row.poses.layout == COCO17
    assert row.poses.present.all()
    truth = load_poses(tmp_path / "out_truth.pkl").annotations[row.name].poses
    assert np.array_equal(truth.times, row.poses.times)
    assert (tmp_path / "out_labels.txt").read_text() == "squat\njumping_jacks\n"
    options.count, seer.frames = 3, 0
    rendered.draw(options)
    assert len(load_poses(output).annotations) == 3
    assert seer.frames < 30  # the third only
    rendered.errors(argparse.Namespace(poses=output))
    assert "found in 100.0% of them" in capsys.readouterr().out
