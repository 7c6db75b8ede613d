"""The whole chain on drawn people whose true poses are known: with the real detector, pose model and classifier."""

from pathlib import Path

import numpy as np
import pytest
from draw_actions import Scene, act, render, true_keypoints, write_video

from poseact import Options, Pipeline
from poseact.detect import YoloDetector
from poseact.pose import YoloPoseEstimator
from poseact.track import Sighting, Tracker
from poseact.video import Video
from poseact.zoo import resolve

FPS = 12
SIZE = (360, 640)
WEIGHTS = "yolo11n-pose"


@pytest.fixture(scope="module")
def detector():
    return YoloDetector(resolve(WEIGHTS, "detector"), "cpu")


@pytest.fixture(scope="module")
def video_of(tmp_path_factory):
    """Draw a scene once: (path, true keypoints (M, T, 17, 2))."""
    drawn: dict[str, tuple[Path, np.ndarray]] = {}

    def video(name, scene, seconds, size=SIZE, fps=FPS):
        if name not in drawn:
            path = tmp_path_factory.mktemp("drawn") / f"{name}.mp4"
            write_video(path, render(scene, seconds, fps, size), fps)
            drawn[name] = path, true_keypoints(scene, seconds, fps, size)
        return drawn[name]

    return video


def frames_of(path):
    with Video(path) as video:
        return list(video.frames())


def error(found, truth, threshold=0.5):
    """Mean distance of the confident keypoints from the true ones, as a share of the body's longer side."""
    side = np.ptp(truth, axis=0).max()
    sure = found.keypoint_scores[0] > threshold
    return np.linalg.norm(found.keypoints[0] - truth, axis=1)[sure].mean() / side


@pytest.mark.parametrize("action", ["jumping_jacks", "squat", "walk"])
def test_the_person_is_found_and_the_keypoints_are_where_they_were_drawn(detector, video_of, action):
    path, truth = video_of(action, Scene((act(action),)), 2.0)
    frames = frames_of(path)
    assert len(frames) == truth.shape[1]
    found = detector(frames)
    seen = [i for i, d in enumerate(found) if len(d) and d.scores[0] > 0.25]
    assert len(seen) >= 0.9 * len(frames)
    assert np.mean([error(found[i], truth[0, i]) for i in seen]) < 0.05


def test_a_crop_makes_up_for_a_person_who_is_small_in_the_picture(detector, video_of):
    scene = Scene((act("jumping_jacks", height=0.22, y=0.8),))
    path, truth = video_of("small", scene, 1.0, size=(1080, 1920), fps=6)
    frames = frames_of(path)
    detections = detector(frames)
    errors = {}
    for crops in ("never", "auto"):
        estimate = YoloPoseEstimator(resolve(WEIGHTS, "pose"), "cpu", crops, same_network=True)
        found = estimate(frames, detections)
        seen = [i for i, d in enumerate(found) if len(d)]
        assert len(seen) >= 4
        errors[crops] = np.mean([error(found[i], truth[0, i]) for i in seen])
    assert errors["auto"] < 0.75 * errors["never"]


def test_large_people_are_not_looked_at_twice(detector, video_of):
    path, _ = video_of("squat", Scene((act("squat"),)), 2.0)
    frames = frames_of(path)[:3]
    detections = detector(frames)
    estimate = YoloPoseEstimator(resolve(WEIGHTS, "pose"), "cpu", "auto", same_network=True)
    estimate.yolo = None  # must not be needed
    for before, after in zip(detections, estimate(frames, detections), strict=True):
        assert np.array_equal(before.keypoints, after.keypoints)


def test_two_people_keep_their_ids(detector, video_of):
    people = act("jumping_jacks", x=0.25), act("squat", x=0.75)
    path, truth = video_of("two", Scene(people), 3.0)
    tracker = Tracker(FPS)
    ids = {0: set(), 1: set()}
    for frame, found in zip(frames_of(path), detector(frames_of(path)), strict=True):
        for track_id, box in zip(tracker.update(Sighting.of(frame, found)), found.boxes, strict=True):
            if track_id > 0:
                centres = np.nanmean(truth[:, frame.index, :, 0], axis=1)
                ids[int(np.abs(centres - (box[0] + box[2]) / 2).argmin())].add(int(track_id))
    assert len(ids[0]) == len(ids[1]) == 1
    assert ids[0] != ids[1]


@pytest.mark.parametrize("action", ["jumping_jacks", "squat", "walk"])
def test_most_clips_of_a_drawn_action_are_labelled_rightly(video_of, action):
    path, _ = video_of(f"{action}-long", Scene((act(action),)), 3.6, fps=25)
    labels = [clip.label for clip in Pipeline(device="cpu").stream(path)]
    assert len(labels) == 4
    assert labels.count(action) >= 3


def test_each_of_two_people_has_their_own_label(video_of):
    people = act("jumping_jacks", x=0.25), act("wave", x=0.75)
    path, _ = video_of("pair", Scene(people), 2.2, fps=25)
    options = Options(per_person=True, window="whole")
    clips = list(Pipeline(device="cpu", options=options).stream(path))
    assert sorted(clip.label for clip in clips) == ["jumping_jacks", "wave"]
    assert all(clip.persons == 2 for clip in clips)


def test_an_empty_room_has_nobody(video_of):
    path, _ = video_of("empty", Scene(()), 1.0)
    (clip,) = Pipeline(device="cpu").stream(path)
    assert (clip.label, clip.score, clip.persons) == (None, None, 0)
