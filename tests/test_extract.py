"""The poses of a whole video, with a detector and a pose estimator that are a few lines each."""

import logging
import re

import cv2
import numpy as np
import pytest
from test_pipeline import ALWAYS, LEFT_SHOULDER, NOSE, Actors

from poseact.engine import Engine
from poseact.errors import InputError, ModelError, UsageError
from poseact.extract import FrameThinner, PoseStages, extract_poses
from poseact.skeleton import COCO17
from poseact.video import Video


@pytest.fixture
def two_seconds(tmp_path, draw_video):
    return draw_video(tmp_path / "two.mp4", 50, fps=25, size=(320, 240))


def stages_of(*people):
    actors = Actors(*people)
    return PoseStages(actors.detect, actors, device="cpu"), actors


def test_every_frame_of_the_one_person(two_seconds):
    stages, actors = stages_of((20, 100, NOSE, *ALWAYS))
    poses = extract_poses(two_seconds, stages)
    assert poses.scores.shape == (1, 50, 17)
    assert poses.layout == COCO17
    assert poses.image_size == (240, 320)
    assert poses.times == pytest.approx(np.arange(50) / 25)
    assert poses.keypoints[0, :, 0].tolist() == [[20, 10]] * 50
    assert [index for index, _ in actors.looked_at] == list(range(50))


def test_the_most_prominent_first_and_only_so_many(two_seconds):
    people = (200, 60, LEFT_SHOULDER, *ALWAYS), (20, 120, NOSE, *ALWAYS), (120, 200, NOSE, 0.5, 0.7)
    found = {}
    for subjects in (1, 2, "all"):
        stages, _ = stages_of(*people)
        found[subjects] = extract_poses(two_seconds, stages, subjects=subjects)
    assert found[1].keypoints[:, 0, 0, 0].tolist() == [20]
    assert found[2].keypoints[:, 0, 0, 0].tolist() == [20, 200]
    assert len(found["all"].track_ids) == 3
    assert found["all"].present[2].sum() < 6


def test_a_rate_thins_the_frames(two_seconds):
    stages, actors = stages_of((20, 100, NOSE, *ALWAYS))
    poses = extract_poses(two_seconds, stages, rate=5)
    assert [index for index, _ in actors.looked_at] == list(range(0, 50, 5))
    assert poses.times == pytest.approx(np.arange(10) / 5)
    assert poses.present.all()  # they are followed from one to the next


@pytest.mark.parametrize(
    ("times", "rate", "passed"),
    [
        ([0, 0.25, 0.5, 0.75, 1.0], None, "xxxxx"),
        ([0, 0.25, 0.5, 0.75, 1.0], 3, "x.xxx"),
        ([0, 0.25, 0.5, 0.75, 1.0], 4, "xxxxx"),
        ([0, 0.033, 0.067, 0.1, 0.133], 30, "xxxxx"),  # rounded to milliseconds
        ([0.5, 0.51, 0.52, 9.0, 9.9], 1, "x..xx"),
    ],
)
def test_which_frames_pass(times, rate, passed):
    thinner = FrameThinner(25, rate)
    assert "".join("x" if thinner.wants(time) else "." for time in times) == passed


def test_the_rate_of_a_thinned_video():
    assert FrameThinner(25, None).rate == FrameThinner(25, 30).rate == 25
    assert FrameThinner(50, 30).rate == 30
    assert FrameThinner(1000, None).rate == 60  # a browser's recording tells no rate


def test_a_video_of_nobody_is_a_sequence_of_nobody(two_seconds):
    stages, _ = stages_of()
    assert extract_poses(two_seconds, stages).scores.shape == (0, 50, 17)


def test_progress_goes_to_the_end(two_seconds):
    seen = []
    stages, _ = stages_of((20, 100, NOSE, *ALWAYS))
    extract_poses(two_seconds, stages, on_progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == pytest.approx((np.arange(50) / 25).tolist())
    assert [total for _, total in seen] == pytest.approx([2.0] * 50)


def test_a_cut_video_is_used_up_to_the_cut_with_one_warning(tmp_path, caplog):
    from test_video import faststart

    content = faststart(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    stages, _ = stages_of((20, 60, NOSE, *ALWAYS))
    with caplog.at_level(logging.WARNING):
        poses = extract_poses(cut, stages)
    assert 0.5 < poses.times[-1] < 3.2
    assert len([r for r in caplog.records if "seems to be cut; it is used up to there" in r.message]) == 1


def test_opencv_has_no_threads_of_its_own_before_ours_begin(two_seconds):
    """To take them from it later, as Ultralytics does when it is imported, has killed the process (SIGFPE)."""
    stages, _ = stages_of((20, 100, NOSE, *ALWAYS))
    cv2.setNumThreads(2)
    with Video(two_seconds) as video, Engine() as engine, stages.decoded(video, engine):
        assert cv2.getNumThreads() == 1


def test_what_cannot_be_is_refused(two_seconds, tmp_path):
    stages, _ = stages_of()
    with pytest.raises(UsageError, match="at least 1 subject"):
        extract_poses(two_seconds, stages, subjects=0)
    with pytest.raises(UsageError, match="rate must be above 0"):
        extract_poses(two_seconds, stages, rate=0)
    with pytest.raises(InputError, match="does not exist"):
        extract_poses(tmp_path / "none.mp4", stages)
    with pytest.raises(ModelError, match="known by name: yolo11n-pose"):
        PoseStages("yolo99")


def test_the_description_tells_models_apart():
    stages, actors = stages_of()
    assert stages.description == "detector Actors.detect, pose Actors, crops auto"
    named = PoseStages(actors.detect, "yolo11n-pose", device="cpu", crops="always").description
    assert re.fullmatch(r"detector Actors.detect, pose yolo11n-pose \w{8}, crops always", named)
