"""The chain, with a detector and a pose estimator that are a few lines each and real decoding between them."""

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest
from conftest import grey_index
from PIL import Image
from small import example

from poseact import Options, Pipeline
from poseact.detect import Detections
from poseact.errors import InputError, ModelError, UsageError
from poseact.extract import PoseStages, extract_poses
from poseact.follow import Follow
from poseact.heatmaps import VolumeRule
from poseact.poses import Annotation, save_poses
from poseact.skeleton import COCO17

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 5, 6


class Actors:
    """Detector and pose estimator in one: people who stand where they are told and show one keypoint best.

    people: (x, size, shown keypoint, first and last second). `looked_at` are the frames that were offered.
    """

    layout = COCO17

    def __init__(self, *people):
        self.people = people
        self.looked_at = []

    def detect(self, frames):
        self.looked_at += [(frame.index, grey_index(frame.image)) for frame in frames]
        return [self._of(frame) for frame in frames]

    def __call__(self, frames, detections):
        return detections

    def _of(self, frame):
        there = [p for p in self.people if p[3] <= frame.time < p[4]]
        boxes = np.array([[x, 10, x + size / 2, 10 + size] for x, size, *_ in there], np.float32).reshape(-1, 4)
        body = np.stack([np.linspace(0, 0.5, 17), np.linspace(0, 1, 17)], axis=1).astype(np.float32)
        keypoints = np.array([body * size + (x, 10) for x, size, *_ in there], np.float32).reshape(-1, 17, 2)
        scores = np.full((len(there), 17), 0.5, np.float32)
        for row, person in enumerate(there):
            scores[row, person[2]] = 1.0
        return Detections(boxes, np.full(len(there), 0.9, np.float32), keypoints, scores, COCO17)


ALWAYS = (0, 1e9)


def label(video, bundle, *people, **options):
    actors = Actors(*people)
    pipeline = Pipeline(bundle, detector=actors.detect, pose=actors, device="cpu", options=Options(**options))
    return list(pipeline.stream(video)), actors


def spans(clips):
    return [(round(c.start, 2), round(c.end, 2)) for c in clips]


def test_two_bundles_are_averaged_with_their_weights(five_seconds, make_bundle, tmp_path):
    one = make_bundle()
    other = make_bundle(tmp_path / "other.pt", labels=("right_shoulder", "head", "left_shoulder"))  # so it is wrong
    actors = Actors((20, 100, NOSE, *ALWAYS))

    def score(classifier, weights=None):
        pipeline = Pipeline(classifier, weights=weights, detector=actors.detect, pose=actors, device="cpu")
        (clip,) = list(pipeline.stream(five_seconds))[:1]
        return {each.label: each.score for each in clip.top}

    alone, wrong = score(one), score(other)
    both, weighted = score(f"{one},{other}"), score(f"{one},{other}", [3, 1])
    for found, share in ((both, 0.5), (weighted, 0.75)):
        products = {name: alone[name] ** share * wrong[name] ** (1 - share) for name in alone}
        assert found == pytest.approx({name: product / sum(products.values()) for name, product in products.items()})
    assert alone["head"] > 0.9 > 0.1 > wrong["head"]


@pytest.fixture
def five_seconds(tmp_path, draw_video):
    return draw_video(tmp_path / "five.mp4", 125, fps=25, size=(320, 240))


def test_clips_follow_the_bundles_window_and_end_with_the_video(five_seconds, make_bundle):
    clips, _ = label(five_seconds, make_bundle(window=2.0, stride=1.2), (20, 100, NOSE, *ALWAYS))
    assert spans(clips) == [(0, 2), (1.2, 3.2), (2.4, 4.4), (3, 5)]
    assert [c.clip for c in clips] == [0, 1, 2, 3]
    assert {c.label for c in clips} == {"head"}
    assert {c.person for c in clips} == {None}
    assert {c.persons for c in clips} == {1}
    assert all(c.source == str(five_seconds) for c in clips)
    assert clips[0].top[0].score == clips[0].score > 0.9


def test_labels_come_while_the_video_is_still_read(five_seconds, make_bundle):
    actors = Actors((20, 100, NOSE, *ALWAYS))
    label_is_there = threading.Event()

    def detect(frames):
        if frames[-1].time > 4.5:
            assert label_is_there.wait(20)
        return actors.detect(frames)

    labels = Pipeline(make_bundle(), detector=detect, pose=actors, device="cpu").stream(five_seconds)
    assert spans([next(labels)]) == [(0, 2)]
    label_is_there.set()
    assert spans(labels) == [(1, 3), (2, 4), (3, 5)]


def test_the_label_changes_when_the_person_changes(five_seconds, make_bundle):
    clips, _ = label(
        five_seconds, make_bundle(stride=2.0), (20, 100, NOSE, 0, 2), (200, 100, LEFT_SHOULDER, 2, 9), window=1.0
    )
    labels = [c.label for c in clips]
    assert labels[:3] == ["head"] * 3
    assert labels[4:] == ["left_shoulder"] * 5  # the clip between them holds half of each


def test_the_main_subject_is_there_throughout_not_large_for_a_moment(five_seconds, make_bundle):
    clips, _ = label(
        five_seconds, make_bundle(), (20, 100, NOSE, *ALWAYS), (150, 180, LEFT_SHOULDER, 0.5, 1.1), window="whole"
    )
    assert [c.label for c in clips] == ["head"]


def test_two_subjects_share_one_volume_where_the_bundle_wants_two(five_seconds, make_bundle):
    people = (20, 100, NOSE, *ALWAYS), (200, 90, LEFT_SHOULDER, *ALWAYS)
    one, _ = label(five_seconds, make_bundle(subjects=1), *people, window="whole")
    two, _ = label(five_seconds, make_bundle(subjects=2), *people, window="whole")
    assert one[0].top[0].score - one[0].top[1].score > 0.9
    assert two[0].top[0].score - two[0].top[1].score < 0.5
    assert one[0].persons == two[0].persons == 2


def test_with_per_person_each_has_a_label_of_their_own(five_seconds, make_bundle):
    clips, _ = label(
        five_seconds,
        make_bundle(window=5.0),
        (20, 100, NOSE, *ALWAYS),
        (200, 90, RIGHT_SHOULDER, *ALWAYS),
        (120, 90, LEFT_SHOULDER, 0, 2),  # there for less than half of the clip
        per_person=True,
    )
    assert sorted(c.label for c in clips) == ["head", "right_shoulder"]
    assert len({c.person for c in clips}) == 2
    assert {c.persons for c in clips} == {3}


def test_nobody_is_no_error(five_seconds, make_bundle):
    for per_person in (False, True):
        clips, _ = label(five_seconds, make_bundle(window=5.0), per_person=per_person)
        (clip,) = clips
        assert (clip.label, clip.score, clip.top, clip.persons, clip.person) == (None, None, (), 0, None)


def test_below_the_least_score_the_label_is_null_and_the_rest_stays(five_seconds, make_bundle):
    clips, _ = label(five_seconds, make_bundle(), (20, 100, NOSE, *ALWAYS), min_score=1.0, window="whole", top_k=2)
    (clip,) = clips
    assert clip.label is None
    assert clip.score == clip.top[0].score > 0.5
    assert clip.top[0].label == "head"
    assert len(clip.top) == 2


def test_the_bundles_own_threshold_applies_unless_another_is_given(five_seconds, make_bundle):
    bundle = make_bundle(rejection_threshold=1.0, window=5.0)
    person = (20, 100, NOSE, *ALWAYS)
    assert label(five_seconds, bundle, person)[0][0].label is None
    assert label(five_seconds, bundle, person, min_score=0.0)[0][0].label == "head"


def test_a_part_of_the_video(five_seconds, make_bundle):
    clips, actors = label(five_seconds, make_bundle(), (20, 100, NOSE, *ALWAYS), start=1.0, end=3.5)
    assert spans(clips) == [(1.0, 3.5)]  # up to 1.5 windows are one clip
    assert actors.looked_at[0][1] in (25, 26)
    clips, _ = label(five_seconds, make_bundle(), (20, 100, NOSE, *ALWAYS), start=1.0)
    assert spans(clips) == [(1, 3), (2, 4), (3, 5)]


def test_a_stride_alone_keeps_the_bundles_window(five_seconds, make_bundle):
    clips, _ = label(five_seconds, make_bundle(), (20, 100, NOSE, *ALWAYS), stride=3.0)
    assert spans(clips) == [(0, 2), (3, 5)]


def test_frames_that_no_clip_samples_are_not_looked_at(tmp_path, draw_video, make_bundle):
    video = draw_video(tmp_path / "fast.mp4", 240, fps=120, size=(320, 240))
    _, actors = label(video, make_bundle(clip_len=12), (20, 100, NOSE, *ALWAYS))
    assert len(actors.looked_at) <= 12 + 17  # the samples, and one every 0.125 s to follow people
    assert label(video, make_bundle(clip_len=12), (20, 100, NOSE, *ALWAYS))[0][0].label == "head"


def test_one_frame_is_one_clip(tmp_path, draw_video, make_bundle):
    clips, _ = label(draw_video(tmp_path / "one.mp4", 1, size=(320, 240)), make_bundle(), (20, 100, NOSE, *ALWAYS))
    assert [c.label for c in clips] == ["head"]


def test_a_still_picture_has_no_action_in_it(tmp_path, make_bundle):
    """Told even where nobody looked before, such as of one photo among many videos."""
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((240, 320, 3), 40, np.uint8)).save(photo)
    with pytest.raises(InputError, match=r"photo.png is a still picture, and there is no action in one; give a video"):
        label(photo, make_bundle(), (20, 100, NOSE, *ALWAYS))


def test_a_cut_video_is_labelled_up_to_the_cut_with_one_warning(tmp_path, make_bundle, caplog):
    from test_video import faststart

    content = faststart(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        clips, _ = label(cut, make_bundle(), (20, 100, NOSE, *ALWAYS))
    assert clips[-1].end < 3.2
    assert [record.message for record in caplog.records if "cut" in record.message] == [caplog.records[-1].message]


def test_progress_reaches_the_announced_end(five_seconds, make_bundle):
    seen = []
    actors = Actors((20, 100, NOSE, *ALWAYS))
    pipeline = Pipeline(make_bundle(), detector=actors.detect, pose=actors, device="cpu")
    list(pipeline.stream(five_seconds, lambda done, total: seen.append((done, total))))
    assert seen[-1][1] == pytest.approx(5.0)
    assert seen[-1][0] > 4.8
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0.0},
        {"window": "whole", "stride": 1.0},
        {"stride": 1e-7},
        {"window": float("nan")},
        {"stride": -1.0},
        {"start": -1.0},
        {"start": 3.0, "end": 2.0},
        {"end": float("inf")},
        {"top_k": 0},
        {"min_score": 1.5},
        {"crops": "sometimes"},
        {"subjects": 0},
        {"rate": 0.0},
    ],
)
def test_options_are_checked_when_made(wrong):
    with pytest.raises(UsageError):
        Options(**wrong)


def test_a_person_of_whom_nothing_is_drawn_is_nobody(five_seconds, make_bundle):
    actors = Actors((20, 100, NOSE, *ALWAYS))
    pipeline = Pipeline(
        make_bundle(window=5.0, volume=VolumeRule(least_score=1.5)), detector=actors.detect, pose=actors, device="cpu"
    )
    (clip,) = pipeline.stream(five_seconds)
    assert (clip.label, clip.score, clip.persons) == (None, None, 0)


def test_crops_can_only_be_left_out_where_the_first_pass_gives_keypoints(five_seconds, make_bundle):
    actors = Actors()
    pipeline = Pipeline(make_bundle(), detector=actors.detect, device="cpu", options=Options(crops="never"))
    with pytest.raises(UsageError, match="the same network"):
        list(pipeline.stream(five_seconds))


def test_weights_that_are_not_pytorchs_are_refused(tmp_path, five_seconds, make_bundle):
    other = tmp_path / "m.engine"
    other.touch()
    with pytest.raises(ModelError, match=r"is no \.pt file"):
        list(Pipeline(make_bundle(), detector=other, device="cpu").stream(five_seconds))


def test_names_are_checked_at_once():
    with pytest.raises(ModelError, match="known by name: yolo11n-pose"):
        Pipeline(detector="yolo99")
    with pytest.raises(ModelError, match="actions27"):
        Pipeline("nope")
    with pytest.raises(UsageError, match="is no device"):
        Pipeline(device="gpu")


def test_an_unreadable_video_is_an_input_error(tmp_path, make_bundle):
    with pytest.raises(InputError, match="does not exist"):
        label(tmp_path / "no.mp4", make_bundle())


PEOPLE = (20, 100, NOSE, *ALWAYS), (200, 90, LEFT_SHOULDER, 0.5, 4.2), (120, 180, RIGHT_SHOULDER, 2, 2.6)


def from_video_and_from_poses(video, bundle, tmp_path, people=PEOPLE, extraction=None, **options):
    """The labels of a video, and those of all poses of it."""
    actors = Actors(*people)
    stages = PoseStages(actors.detect, actors, device="cpu")
    poses = extract_poses(video, stages, **{"subjects": "all", **(extraction or {})})
    file = tmp_path / "poses.pkl"
    save_poses([Annotation("five.mp4", -1, poses, source=str(video))], {}, file)
    options = Options(**{"rate": None, **options})
    pipeline = Pipeline(bundle, detector=actors.detect, pose=actors, device="cpu", options=options)
    looked_at = len(actors.looked_at)
    again = list(pipeline.stream(file))
    assert len(actors.looked_at) == looked_at, "poses need no picture"
    return list(pipeline.stream(video)), again


def assert_same_labels(expected, found):
    assert [replace(c, score=None, top=(), label=None) for c in found] == [
        replace(c, score=None, top=(), label=None) for c in expected
    ]
    assert [c.label for c in found] == [c.label for c in expected]
    for one, other in zip(expected, found, strict=True):
        assert other.score == (None if one.score is None else pytest.approx(one.score, abs=1e-3))
        scores = {each.label: each.score for each in one.top}
        assert {each.label: each.score for each in other.top} == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_person": True},
        {"per_person": True, "subjects": 1},
        {"subjects": 1, "window": "whole"},
        {"window": 1.1, "stride": 0.3, "min_score": 0.9},
        {"start": 1.0, "end": 3.3},
        {"end": 60.0},
        {"smoothing": 0.4, "window": 1.0},
        {"follow": Follow((200, 10, 245, 100), 3.0), "window": 1.0},
    ],
    ids=str,
)
def test_poses_get_the_labels_of_the_video_they_are_from(five_seconds, make_bundle, tmp_path, options):
    expected, found = from_video_and_from_poses(five_seconds, make_bundle(subjects=2), tmp_path, **options)
    assert_same_labels(expected, found)
    assert len(found) > 1 or options.get("window") == "whole" or "end" in options


def test_a_lower_rate_of_frames_means_the_same_for_both(five_seconds, make_bundle, tmp_path):
    expected, found = from_video_and_from_poses(
        five_seconds, make_bundle(), tmp_path, extraction={"rate": 7.0}, rate=7.0, window=1.3
    )
    assert_same_labels(expected, found)
    assert spans(found)[-1][1] == 5.0, "the last frame that is looked at is not the end"


def test_a_video_of_uneven_times_too(tmp_path, draw_video, make_bundle):
    times = np.cumsum(np.tile([40, 7, 90, 33, 60], 25)).tolist()
    video = draw_video(tmp_path / "uneven.mp4", 125, fps=25, size=(320, 240), pts=times)
    assert_same_labels(*from_video_and_from_poses(video, make_bundle(), tmp_path, window=1.0))


def test_following_in_a_stream_is_following_in_the_extraction(five_seconds, make_bundle, tmp_path):
    somebody = Follow((200, 10, 245, 100), 3.0)
    expected, _ = from_video_and_from_poses(five_seconds, make_bundle(), tmp_path, follow=somebody, window=1.0)
    _, found = from_video_and_from_poses(
        five_seconds, make_bundle(), tmp_path, extraction={"follow": somebody, "subjects": 1}, window=1.0
    )
    assert_same_labels(expected, found)
    assert {c.label for c in found[1:6]} == {"left_shoulder"}


def test_nobody_to_follow_is_told(five_seconds, make_bundle):
    with pytest.raises(InputError, match="nobody is at 5,5,9,9"):
        label(five_seconds, make_bundle(), *PEOPLE, follow=Follow((5, 5, 9, 9), 1.0))


def test_smoothing_reaches_over_the_ends_of_clips(five_seconds, make_bundle, monkeypatch):
    seen = []
    monkeypatch.setattr("poseact.lane.smooth", lambda poses, seconds: seen.append(poses) or poses)
    label(five_seconds, make_bundle(), PEOPLE[0], smoothing=0.4, window=1.0)
    assert seen[2].times[[0, -1]] == pytest.approx([0.6, 2.36], abs=0.08)


def test_of_several_people_only_the_most_prominent_are_labelled(five_seconds, make_bundle):
    clips, _ = label(five_seconds, make_bundle(), *PEOPLE, per_person=True, subjects=1, window="whole")
    assert [c.label for c in clips] == ["head"]
    clips, _ = label(five_seconds, make_bundle(), *PEOPLE, per_person=True, subjects=2, window="whole")
    assert [c.label for c in clips] == ["head", "left_shoulder"]


def test_poses_of_several_videos_are_labelled_each_under_its_name(tmp_path, make_bundle):
    rows = [example(0, n_frames=90), example(1, n_frames=90)]
    save_poses([rows[0], replace(rows[1], source="dir/wave.mp4")], {}, tmp_path / "two.pkl")
    clips = list(Pipeline(make_bundle(), device="cpu").stream(tmp_path / "two.pkl"))
    assert [(c.source, *span) for c, span in zip(clips, spans(clips), strict=True)] == [
        *(("seq0", 0, 3),),
        *(("dir/wave.mp4", 0, 3),),
    ]
    pipeline = Pipeline(make_bundle(), device="cpu", options=Options(follow=Follow((0, 0, 9, 9), 0)))
    with pytest.raises(UsageError, match="is of 2 videos"):
        list(pipeline.stream(tmp_path / "two.pkl"))


def test_poses_outside_of_the_span_are_an_input_error(tmp_path, make_bundle):
    save_poses([example(0, n_frames=30)], {}, tmp_path / "one.pkl")
    with pytest.raises(InputError, match="seq0 ends at 1 s and has no poses from 60 s to there"):
        list(Pipeline(make_bundle(), device="cpu", options=Options(start=60)).stream(tmp_path / "one.pkl"))


def test_one_sequence_that_is_too_short_does_not_keep_others_from_their_labels(tmp_path, make_bundle, caplog):
    save_poses([example(0, n_frames=30), example(1, n_frames=90)], {}, tmp_path / "two.pkl")
    clips = list(Pipeline(make_bundle(), device="cpu", options=Options(start=2)).stream(tmp_path / "two.pkl"))
    assert [c.source for c in clips] == ["seq1"]
    assert "seq0 ends at 1 s and has no poses from 2 s to there; choose others; it is left out" in caplog.text
    with pytest.raises(InputError, match="nor can any of the others"):
        list(Pipeline(make_bundle(), device="cpu", options=Options(start=60)).stream(tmp_path / "two.pkl"))


def test_names_that_are_no_text_are_told_as_text(tmp_path, make_bundle):
    save_poses([replace(example(0, n_frames=30), source="\udcff.mp4")], {}, tmp_path / "one.pkl")
    (clip,) = Pipeline(make_bundle(), device="cpu").stream(tmp_path / "one.pkl")
    assert clip.source == "\ufffd.mp4"


def test_boxes_of_a_file_need_the_start():
    with pytest.raises(UsageError, match="count frames from the start"):
        Options(boxes="boxes.csv", start=2.0)
