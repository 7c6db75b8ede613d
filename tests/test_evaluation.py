"""Evaluation of a classifier on labelled poses: which frames it is shown, and what is made of its answers."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poseact.bundle import load_bundle
from poseact.classifier import Classifier
from poseact.errors import InputError, UsageError
from poseact.heatmaps import VolumeRule
from poseact.planes import PLANES
from poseact.poses import load_poses
from poseact.sampling import pyskl_test_indices, uniform_indices
from poseact.skeleton import BODY13
from poseact.training.dataset import build_dataset
from poseact.training.evaluation import (
    Evaluation,
    EvaluationOptions,
    drop_limb_keypoints,
    evaluate,
    predict_probabilities,
    record_accuracy,
    sequence_probabilities,
    uniform_frames,
)
from poseact.training.labels import class_names
from poseact.training.rejection import Strangers, measure_rejection

CLIP_LEN = 48
NAMES = ("head", "left_shoulder", "right_shoulder")


def row(name, label, bright=None, frames=20, people=1, high=0.9, low=0.3, **more):
    """A still person whose keypoint number `bright` has the score `high`; x of all is 40 to 160, plus the frame."""
    places = np.stack(np.meshgrid([40, 70, 100, 130, 160], [50, 90, 130]), -1).reshape(-1, 2)[:13]
    keypoint = np.tile(places, (people, frames, 1, 1)).astype(np.float32)
    score = np.full((people, frames, 13), low, np.float32)
    score[:, :, label if bright is None else bright] = high
    return {
        "frame_dir": name,
        "label": label,
        "img_shape": (200, 300),
        "keypoint": keypoint,
        "keypoint_score": score,
        **more,
    }


def pose_file(folder, rows, names=NAMES, split=None, name="poses.pkl"):
    path = folder / name
    content = {"split": split or {"test": [r["frame_dir"] for r in rows]}, "annotations": rows}
    path.write_bytes(pickle.dumps(content))
    if names:
        (folder / f"{path.stem}_labels.txt").write_text("\n".join(names))
    return path


class Recorder:
    """A stand-in for a classifier: keeps what it is shown, and gives the two labels' odds by the first x."""

    def __init__(self, largest=1000, sampling="uniform"):
        self.layout, self.device = BODY13, torch.device("cpu")
        self.info = SimpleNamespace(
            clip_len=CLIP_LEN, labels=("a", "b"), aliases={}, rejection_threshold=0.5, sampling=sampling
        )
        self.largest = largest
        self.seen = []

    def classify(self, keypoints, scores, image_size, mirror=False):
        if len(keypoints) > self.largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.seen.append((keypoints, scores, image_size, mirror))
        share = keypoints[:, 0, 0, 0, 0] / 1000
        return torch.stack([share, 1 - share], dim=1)


def moving(name, frames, people=1):
    """Every x is the number of the frame."""
    made = row(name, 0, frames=frames, people=people)
    made["keypoint"][..., 0] = np.arange(2, frames + 2)[:, None]
    return made


def shown_frames(classifier):
    return [((x[:, 0, :, 0, 0] - 2).long().tolist()) for x, *_ in classifier.seen]


def annotations_of(tmp_path, *rows):
    return load_poses(pose_file(tmp_path, list(rows))).split("test")


# What the classifier is shown


def test_one_clip_is_the_middles_of_equal_segments(tmp_path):
    classifier = Recorder()
    annotations = annotations_of(tmp_path, moving("a", 5), moving("b", 130))
    sequence_probabilities(classifier, annotations, EvaluationOptions())
    assert shown_frames(classifier) == [[uniform_indices(n, CLIP_LEN).tolist() for n in (5, 130)]]
    assert not classifier.seen[0][3]


def test_ten_clips_of_pyskls_bundles_are_pyskls_and_come_one_after_the_other(tmp_path):
    classifier = Recorder(sampling="pyskl")
    annotations = annotations_of(tmp_path, *(moving(str(n), n) for n in (3, 60, 130)))
    sequence_probabilities(classifier, annotations, EvaluationOptions(clips=10, mirror=True, batch_size=20))
    wanted = [pyskl_test_indices(n, CLIP_LEN).reshape(-1).tolist() for n in (3, 60, 130)]
    assert shown_frames(classifier) == [wanted[:2], wanted[2:]]
    assert all(mirror for *_, mirror in classifier.seen)


def test_ten_clips_take_ten_places_in_each_segment():
    clips = uniform_frames(torch.tensor([480]), CLIP_LEN, 10).view(10, CLIP_LEN)
    assert clips.T.flatten().tolist() == list(range(480))


@given(st.integers(1, 300), st.integers(1, 12))
def test_several_clips_never_wrap_round_and_stay_inside(length, clips):
    found = uniform_frames(torch.tensor([length]), CLIP_LEN, clips).view(clips, CLIP_LEN)
    assert (found.diff(dim=1) >= 0).all()
    assert found.min() >= 0
    assert found.max() < length
    if length < CLIP_LEN:  # as much of the sequence as a single clip shows
        assert (found.amax(dim=1) - found.amin(dim=1)).min() >= length - 2


@pytest.mark.parametrize(("clips", "batch_size", "sizes"), [(1, 2, [2, 2, 1]), (1, None, [5]), (10, 4, [1] * 5)])
def test_a_batch_counts_clips(tmp_path, clips, batch_size, sizes):
    classifier, told = Recorder(), []
    annotations = annotations_of(tmp_path, *(moving(str(i), 4) for i in range(5)))
    options = EvaluationOptions(clips=clips, batch_size=batch_size)
    found = sequence_probabilities(classifier, annotations, options, lambda *done: told.append(done))
    assert [len(seen[0]) for seen in classifier.seen] == sizes
    assert told == [(done, 5) for done in np.cumsum(sizes)]
    assert list(found) == list("01234")


def test_all_people_are_shown_and_those_that_are_missing_have_no_score(tmp_path):
    classifier = Recorder()
    annotations = annotations_of(tmp_path, moving("a", 4, people=3), moving("b", 4))
    sequence_probabilities(classifier, annotations, EvaluationOptions())
    assert (classifier.seen[0][1] > 0).any(dim=3).any(dim=2).tolist() == [[True] * 3, [True, False, False]]


def test_visibility_flags_are_scores_only_if_wanted(tmp_path):
    flags = row("a", 0, high=1, low=0)
    for wanted, scores in ((False, torch.ones(13)), (True, torch.eye(13)[0])):
        classifier = Recorder()
        options = EvaluationOptions(visibility_as_score=wanted)
        sequence_probabilities(classifier, annotations_of(tmp_path, flags, moving("b", 9, people=2)), options)
        assert classifier.seen[0][1][0, 0, 0].tolist() == scores.tolist()


def test_scores_of_an_estimator_stay_as_they_are(tmp_path):
    for wanted in (False, True):
        classifier = Recorder()
        options = EvaluationOptions(visibility_as_score=wanted)
        sequence_probabilities(classifier, annotations_of(tmp_path, row("a", 2)), options)
        np.testing.assert_allclose(classifier.seen[0][1][0, 0, 0], [0.3, 0.3, 0.9] + [0.3] * 10)


def test_a_layout_that_lacks_keypoints_is_told(tmp_path):
    classifier = Recorder()
    classifier.layout = SimpleNamespace(name="coco17", keypoints=("left_eye",))
    with pytest.raises(InputError, match=r"left_eye.*a classifier of coco17 poses cannot see it"):
        sequence_probabilities(classifier, annotations_of(tmp_path, row("a", 0)), EvaluationOptions())


class ChannelCounter(torch.nn.Module):
    """Answers the number of heatmaps that a frame has: the index of the greatest logit."""

    def forward(self, volume):
        return torch.eye(20)[volume.shape[1]].repeat(len(volume), 1)


@pytest.mark.parametrize(("limbs", "channels"), [(None, 13), (((0, 1), (1, 3)), 2)])
def test_a_network_in_training_sees_joints_or_limbs(tmp_path, limbs, channels):
    dataset = build_dataset(annotations_of(tmp_path, row("a", 0), row("b", 1), row("c", 2)), [0, 1, 2], BODY13)
    found = predict_probabilities(ChannelCounter(), dataset, VolumeRule(), CLIP_LEN, batch_size=2, limbs=limbs)
    assert found.argmax(dim=1).tolist() == [channels] * 3


# Lost keypoints (table 4)

LIMB_KEYPOINTS = range(3, 13)  # elbows, wrists, hips, knees, ankles of body13
HIPS = (7, 8)


def dataset_of(tmp_path, frames=400):
    return build_dataset(annotations_of(tmp_path, row("a", 0, frames=frames, people=2)), [0], BODY13)


def test_one_limb_keypoint_of_each_person_is_lost_in_each_frame(tmp_path):
    dataset = dataset_of(tmp_path)
    lost = drop_limb_keypoints(dataset, 1.0, seed=3)
    gone = lost.scores == 0
    assert (gone.sum(dim=2) == 1).all()
    counts = gone.sum(dim=(0, 1))
    assert [i for i in range(13) if counts[i]] == [i for i in LIMB_KEYPOINTS if i not in HIPS]
    assert counts[counts > 0].min() > 60  # of 100 each
    assert (gone[:, 0] != gone[:, 1]).any(), "each person loses another one"
    assert (lost.keypoints[gone] == 0).all()
    assert (lost.keypoints[~gone] == dataset.keypoints[~gone]).all()
    assert (lost.scores[~gone] == dataset.scores[~gone]).all()


def test_the_share_of_frames_is_the_probability_and_the_seed_repeats_it(tmp_path):
    dataset = dataset_of(tmp_path)
    half = drop_limb_keypoints(dataset, 0.5, seed=0).scores
    assert (half == 0).any(dim=2).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert (half == drop_limb_keypoints(dataset, 0.5, seed=0).scores).all()
    assert (half != drop_limb_keypoints(dataset, 0.5, seed=1).scores).any()
    assert (drop_limb_keypoints(dataset, 0.0, seed=0).scores == dataset.scores).all()


def test_the_classifier_sees_the_loss(tmp_path):
    classifier = Recorder()
    options = EvaluationOptions(drop_keypoint=1.0)
    sequence_probabilities(classifier, annotations_of(tmp_path, row("a", 0)), options)
    assert ((classifier.seen[0][1] == 0).sum(dim=3) == 1).all()


@pytest.mark.parametrize(
    ("part", "keypoints"),
    [
        ("feet", (11, 12)),
        ("legs", (9, 10, 11, 12)),
        ("below-waist", (7, 8, 9, 10, 11, 12)),
        ("left", (1, 3, 5, 7, 9, 11)),
        ("right", (2, 4, 6, 8, 10, 12)),
    ],
)
def test_a_part_is_hidden_of_everybody_throughout(tmp_path, part, keypoints):
    classifier = Recorder()
    sequence_probabilities(classifier, annotations_of(tmp_path, row("a", 0, people=2)), EvaluationOptions(hide=part))
    points, scores = classifier.seen[0][:2]
    hidden = [k in keypoints for k in range(13)]
    assert ((scores == 0) == torch.tensor(hidden)).all()
    assert (points[..., hidden, :] == 0).all()


# Memory


def test_a_batch_that_is_too_large_tells_which_one_fits(tmp_path):
    annotations = annotations_of(tmp_path, *(moving(str(i), 4) for i in range(8)))
    with pytest.raises(UsageError, match=r"a batch of 8 clips .* memory; --batch-size 2 does"):
        sequence_probabilities(Recorder(largest=3), annotations, EvaluationOptions())
    with pytest.raises(UsageError, match=r"a batch of 20 clips .* memory; --batch-size 10 does"):
        sequence_probabilities(Recorder(largest=1), annotations, EvaluationOptions(clips=10, batch_size=20))
    with pytest.raises(UsageError, match="try fewer --clips, or --device cpu"):
        sequence_probabilities(Recorder(largest=0), annotations, EvaluationOptions())


@pytest.mark.parametrize(
    "wrong",
    [
        {"clips": 0},
        {"batch_size": 0},
        {"drop_keypoint": 1.5},
        {"drop_keypoint": float("nan")},
        {"seed": -1},
        {"hide": "tail"},
    ],
)
def test_options_that_make_no_sense(wrong):
    with pytest.raises(UsageError):
        EvaluationOptions(**wrong)


# The whole, with a bundle


def test_a_classifier_is_measured(tmp_path, make_bundle):
    rows = [row("a", 0), row("b", 0, bright=1), row("c", 1, people=2), row("d", 2, frames=3)]
    found = evaluate(Classifier(make_bundle(), "cpu", "float32"), pose_file(tmp_path, rows), "test")
    assert found.names == ("a", "b", "c", "d")
    assert found.truth.tolist() == [0, 0, 1, 2]
    assert found.probabilities.shape == (4, 3)
    assert found.matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert (found.top1, found.top5) == (0.75, 1)
    assert found.per_class == {"head": 0.5, "left_shoulder": 1, "right_shoulder": 1}
    assert found.mean_class_accuracy == pytest.approx(2.5 / 3)
    assert found.confusions == [("head", "left_shoulder", 1)]
    assert json.loads(json.dumps(found.scores()))["c"] == pytest.approx(found.probabilities[2].tolist())


def test_names_are_matched_by_name_and_by_alias_and_may_be_fewer(tmp_path, make_bundle):
    classifier = Classifier(make_bundle(aliases={"skull": "head"}), "cpu", "float32")
    poses = pose_file(tmp_path, [row("a", 0, bright=2), row("b", 1, bright=0)], ("right_shoulder", "skull"))
    found = evaluate(classifier, poses, "test")
    assert found.truth.tolist() == [2, 0]
    assert found.per_class == {"head": 1, "right_shoulder": 1}
    given = tmp_path / "given.txt"
    given.write_text("head\nleft_shoulder\n")
    assert evaluate(classifier, poses, "test", given).truth.tolist() == [0, 1]


def test_a_class_that_only_other_splits_have_does_not_matter(tmp_path, make_bundle):
    classifier = Classifier(make_bundle(), "cpu", "float32")
    rows = [row("a", 0), row("b", 1)]
    poses = pose_file(tmp_path, rows, ("head", "elbow"), {"test": ["a"], "other": ["b"]})
    assert evaluate(classifier, poses, "test").top1 == 1
    with pytest.raises(InputError, match="class 'elbow' is none of the classifier's labels"):
        evaluate(classifier, poses, "other")


def test_without_names_the_classifiers_own_order_is_taken_and_told(tmp_path, caplog):
    poses = tmp_path / "poses.pkl"
    assert class_names(poses, None, ("x", "y")) == ["x", "y"]
    assert "there is no" in caplog.text
    assert "poses_labels.txt" in caplog.text
    caplog.clear()
    (tmp_path / "poses_labels.txt").write_text("u\n")
    assert class_names(poses, None, ("x", "y")) == ["u"]
    assert caplog.text == ""
    with pytest.raises(InputError, match=r"no\.txt cannot be read"):
        class_names(poses, tmp_path / "no.txt", ("x", "y"))


def test_a_perfect_and_a_hopeless_evaluation():
    sure = np.eye(3, dtype=np.float32)
    good = Evaluation(("a", "b", "c"), ("1", "2", "3"), sure, np.array([0, 1, 2])).to_dict()
    assert good == {
        "top1": 1,
        "top5": 1,
        "mean_class_accuracy": 1,
        "ece": 0,
        "ece_by_chance": 0,
        "per_class": {"a": 1, "b": 1, "c": 1},
        "sequences": 3,
        "confusions": [],
    }
    bad = Evaluation(("a", "b", "c"), ("1", "2", "3"), sure, np.array([1, 0, 0])).to_dict()
    assert (bad["top1"], bad["ece"], bad["per_class"]) == (0, 1, {"a": 0, "b": 0})
    assert bad["confusions"] == [{"classes": ["a", "b"], "score": 2}, {"classes": ["a", "c"], "score": 1}]


def test_a_figure_is_recorded_beside_those_that_are_there(make_bundle):
    bundle = make_bundle(accuracy={"before": 0.5})
    record_accuracy(bundle, "poses:test top-1", 2 / 3)
    assert load_bundle(bundle, torch.device("cpu"))[1].accuracy == {"before": 0.5, "poses:test top-1": 0.6667}


# 3D poses


def test_the_planes_of_a_3d_sequence_are_averaged(tmp_path, make_bundle):
    """A leaning person looks different in each plane; one sequence is scored, not three."""
    rows = [row("a", 2), row("b", 0)]
    for made in rows:
        flat = made["keypoint"] / 100
        made["keypoint"] = np.concatenate([flat, flat[..., :1] * 0.5 + 2], axis=-1)
        del made["img_shape"]
    poses = pose_file(tmp_path, rows)
    classifier = Classifier(make_bundle(), "cpu", "float32")
    by_plane = [evaluate(classifier, poses, "test", options=EvaluationOptions(planes=(p,))) for p in PLANES]
    found = evaluate(classifier, poses, "test")
    assert found.names == by_plane[0].names == ("a", "b")
    assert found.truth.tolist() == [2, 0]
    assert abs(by_plane[0].probabilities - by_plane[1].probabilities).max() > 1e-4
    np.testing.assert_allclose(found.probabilities, np.mean([f.probabilities for f in by_plane], axis=0), atol=1e-6)


# Actions outside the labels


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x.pkl", ("x.pkl", None, ())),
        ("x.pkl:test", ("x.pkl", "test", ())),
        ("x.pkl:test:a+b c", ("x.pkl", "test", ("a", "b c"))),
        ("x.pkl::a", ("x.pkl", None, ("a",))),
    ],
)
def test_strangers_are_parsed(tmp_path, monkeypatch, text, wanted):
    monkeypatch.chdir(tmp_path)
    for there in (False, True):
        source = Strangers.parse(text)
        assert (str(source.poses), source.split, source.classes) == wanted, there
        assert str(source) == text
        (tmp_path / "x.pkl").touch()


def test_a_path_may_have_a_colon(tmp_path):
    path = tmp_path / "a:b.pkl"
    path.touch()
    assert Strangers.parse(f"{path}").poses == path
    assert Strangers.parse(f"{path}:test") == Strangers(path, "test")


def asked(tmp_path, *texts, classes=("hammer", "a"), caplog=None):
    """Of three known sequences the confidence is 0.9, 0.8, 0.6; of a hammer's 0.7 and 0.505, of another `a` 0.95."""
    known = Evaluation(
        ("a", "b"),
        ("1", "2", "3"),
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32),
        np.array([0, 1, 0]),
    )
    rows = []
    for name, label, x in (("h1", 0, 700), ("h2", 0, 495), ("a1", 1, 950)):
        rows.append(row(name, label))
        rows[-1]["keypoint"][..., 0] = x
    path = pose_file(tmp_path, rows, classes, {"test": ["h1"], "train": ["h2", "a1"], "none": []}, "other.pkl")
    classifier = Recorder()
    classifier.info.rejection_threshold = 0.65
    return measure_rejection(classifier, known, [Strangers.parse(f"{path}{t}") for t in texts], EvaluationOptions())


def test_rejection_by_hand(tmp_path):
    test, train, both = asked(tmp_path, ":test", ":train:hammer")
    assert (test.source, test.sequences) == ("other.pkl:test", 1)
    assert test.auroc == pytest.approx(2 / 3)
    assert (test.threshold, test.rejected) == (0.65, 0)
    assert test.known_rejected == pytest.approx(1 / 3)
    assert (train.sequences, train.auroc, train.rejected) == (1, 1, 1)
    assert (both.source, both.sequences, both.rejected) == ("all", 2, 0.5)
    assert both.auroc == pytest.approx(5 / 6)
    assert len(asked(tmp_path, ":test", ":test")) == 3, "two files may have the same name"


def test_a_class_that_is_known_after_all_is_warned_of(tmp_path, caplog):
    (found,) = asked(tmp_path, "")
    assert found.sequences == 3
    assert "the classifier knows a, so" in caplog.text
    caplog.clear()
    asked(tmp_path, "::hammer")
    assert caplog.text == ""


def test_strangers_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match="names no class 'saw'; its classes: hammer, a"):
        asked(tmp_path, ":test:saw")
    with pytest.raises(InputError, match="no split 'val'; its splits: test, train, none"):
        asked(tmp_path, ":val")
    for empty in (":none", ":test:a"):
        with pytest.raises(InputError, match="holds no sequences"):
            asked(tmp_path, empty)
    assert asked(tmp_path) == []
