"""What a training reads: sequences as tensors, class names, and what is held out."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from small import WRIST, dataset_of, example, person, pose_file, poses

from poseact.errors import InputError, UsageError
from poseact.poses import Annotation
from poseact.skeleton import BODY13, COCO17
from poseact.training.data import (
    LabelledPoses,
    check_layouts,
    count_sequences,
    find_names,
    hold_out,
    read_training_data,
)
from poseact.training.dataset import build_dataset, training_poses
from poseact.training.labels import label_indices, labels_beside, read_labels, unite

# Data set


def test_sequences_of_different_lengths_and_people_lie_one_after_another():
    alone = poses(person(3))
    pair = poses(np.concatenate([person(5), person(5, x=100)]))
    dataset = build_dataset([Annotation("a", 0, alone), Annotation("b", 1, pair)], [0, 1], BODY13)
    assert len(dataset) == 2
    assert dataset.keypoints.shape == (8, 2, 13, 2)
    assert dataset.first.tolist() == [0, 3]
    assert dataset.lengths.tolist() == [3, 5]
    assert dataset.image_size.tolist() == [[200, 300]] * 2
    # The second person of the first sequence is missing: score 0.
    assert dataset.scores[:3, 1].sum() == 0
    assert (dataset.scores[3:] == 0.9).all()


def test_a_batch_takes_frames_counted_from_the_start_of_each_sequence():
    dataset = dataset_of(example(0), example(1))
    batch = dataset.batch(torch.tensor([1, 0]), torch.tensor([[0, 2], [9, 9]]))
    assert batch.keypoints.shape == (2, 1, 2, 13, 2)
    assert batch.scores.shape == (2, 1, 2, 13)
    assert batch.labels.tolist() == [1, 0]
    # x is 34 + 3 for the second sequence; its wrist is lifted by 50 in frame 2.
    assert batch.keypoints[0, 0, :, WRIST].tolist() == [[37, 62], [37, 12]]
    assert batch.keypoints[1, 0, :, WRIST].tolist() == [[34, 62], [34, 62]]


def test_an_empty_split_is_an_input_error():
    with pytest.raises(InputError, match="nothing to train on"):
        build_dataset([], [], BODY13)


def test_visibility_flags_are_no_scores():
    keypoints = person(3)
    flags = np.ones((1, 3, 13))
    flags[0, 0, WRIST] = 0  # hidden but placed
    flags[0, 0, 3] = flags[0, 0, 4] = 0  # parked by the annotator
    keypoints[0, 0, 3] = 1, 1
    keypoints[0, 0, 4] = 0, 50
    flags[0, 2] = 0  # nobody there
    _, scores = training_poses(poses(keypoints, flags), BODY13)
    assert scores[0, 0, [WRIST, 3, 4]].tolist() == [1, 0, 0]
    assert scores[0, 1].tolist() == [1] * 13
    assert scores[0, 2].tolist() == [0] * 13


def test_keypoints_parked_in_a_picture_that_was_enlarged_since_are_absent():
    keypoints = person(1)
    keypoints[0, 0, 3], keypoints[0, 0, 4] = 1.5, 8.5
    _, scores = training_poses(poses(keypoints, np.ones((1, 1, 13))), BODY13)
    assert scores[0, 0].tolist() == [1, 1, 1, 0, *[1] * 9]


def test_scores_of_an_estimator_are_kept():
    scores = np.full((1, 2, 13), 0.7, np.float32)
    scores[0, 0, WRIST] = 0
    _, kept = training_poses(poses(person(2), scores), BODY13)
    assert (kept == scores).all()


def test_training_poses_are_converted():
    keypoints = np.zeros((1, 1, 17, 2), np.float32)
    keypoints[..., 0] = np.arange(17)
    points, scores = training_poses(poses(keypoints, layout=COCO17), BODY13)
    assert points[0, 0, :, 0].tolist() == [0, *range(5, 17)]
    assert scores.shape == (1, 1, 13)


# Labels


def test_classes_of_several_files_are_united_in_order_of_appearance():
    names = [["wave", "squat"], ["jump", "squats", "wave"]]
    assert unite(names, {}) == ["wave", "squat", "jump", "squats"]
    assert unite(names, {"squats": "squat"}) == ["wave", "squat", "jump"]


def labelled(*labels):
    return [Annotation(f"seq{i}", label, poses(person(1))) for i, label in enumerate(labels)]


def test_labels_of_a_file_become_those_of_the_union():
    indices = label_indices(
        labelled(1, 0, 2), ["jump", "squats", "wave"], ["wave", "squat", "jump"], {"squats": "squat"}, Path("a.pkl")
    )
    assert indices == [1, 2, 0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (-1, r"a\.pkl: annotation seq0 has label -1, but there are 3 class names \(0 to 2\)"),
        (3, r"a\.pkl: annotation seq0 has label 3, but there are 3 class names"),
        (2, r"a\.pkl: class 'swim' is none of the classifier's labels"),
    ],
)
def test_a_label_without_a_name_is_an_input_error(label, message):
    with pytest.raises(InputError, match=message):
        label_indices(labelled(label), ["wave", "jump", "swim"], ["wave", "jump"], {}, Path("a.pkl"))


def test_class_names_are_lines_of_a_file(tmp_path):
    path = labels_beside(tmp_path / "my.pkl")
    assert path == tmp_path / "my_labels.txt"
    path.write_text("\ufeffwave\n\n  jump rope \n", encoding="utf-8")
    assert read_labels(path) == ["wave", "jump rope"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe\x00", "it is not text"),
        (b"\n \n", "holds no class names"),
        (b"wave\njump\nwave\n", "has 'wave' more than once"),
    ],
)
def test_class_names_that_cannot_be_read_are_an_input_error(tmp_path, content, message):
    path = tmp_path / "my_labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_labels(path)


# Held out


def test_holding_out_leaves_each_class_at_least_one_sequence():
    items = [(example(i), 0) for i in range(10)] + [(example(10), 1)] + [(example(11 + i), 2) for i in range(2)]
    kept, held_out = hold_out(items, 0.2, np.random.default_rng(0))
    assert [label for _, label in held_out] == [0, 0, 2]
    assert [label for _, label in kept] == [0] * 8 + [1, 2]
    assert hold_out(items, 0.0, np.random.default_rng(0)) == (items, [])


def test_planes_of_a_sequence_stay_together():
    def planes_of(name):
        return [Annotation(f"{name}#{plane}", 0, poses(person(1)), sequence=name) for plane in ("xy", "yz", "xz")]

    items = [(annotation, 0) for i in range(6) for annotation in planes_of(f"seq{i}")]
    for seed in range(5):
        kept, held_out = hold_out(items, 0.34, np.random.default_rng(seed))
        assert len(held_out) == 2 * 3
        assert not {a.sequence for a, _ in kept} & {a.sequence for a, _ in held_out}


# Several files


CLASSES = ["stand", "wave", "salute"]


@pytest.fixture
def sources(tmp_path):
    """a.pkl: eight sequences to train on and three to test of CLASSES; b.pkl: three of clap and stand."""
    names = [f"seq{i}" for i in range(11)]
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 2]
    pose_file(tmp_path / "a.pkl", names, {"train": names[:8], "test": names[8:]}, labels=labels, classes=CLASSES)
    pose_file(
        tmp_path / "b.pkl", ["p", "q", "r"], {"all": ["p", "q", "r"]}, labels=[0, 1, 1], classes=["clap", "stand"]
    )
    return [
        LabelledPoses(tmp_path / name, find_names(tmp_path / name, None), split)
        for name, split in (("a.pkl", "train"), ("b.pkl", "all"))
    ]


def labels_of(items):
    return [label for _, label in items]


def test_a_split_is_validated_on(sources):
    data = read_training_data(sources[:1], "test", {})
    assert data.labels == CLASSES
    assert labels_of(data.train) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert labels_of(data.validation) == [0, 1, 2]
    assert (data.unknown, data.left_out) == ([], 0)


def test_files_are_united_by_the_names_of_their_classes(sources):
    data = read_training_data(sources, "0", {"salute": "wave"})
    assert data.labels == ["stand", "wave", "clap"]
    assert labels_of(data.train) == [0, 1, 1, 0, 1, 1, 0, 1, 2, 0, 0]
    assert data.validation == []


def test_a_share_is_held_out_of_each_class_of_each_file_and_the_seed_says_which(sources):
    data = read_training_data(sources, "0.3", {}, seed=1)
    assert sorted(labels_of(data.validation)) == [0, 0, 1, 2]
    names = [{a.name for a, _ in read_training_data(sources, "0.3", {}, seed=s).validation} for s in (1, 1, 2, 3)]
    assert names[0] == names[1] == {a.name for a, _ in data.validation}
    assert not names[0] == names[2] == names[3]


def test_unknown_classes_are_not_learnt(sources):
    data = read_training_data(sources[:1], "test", {"salute": "greet"}, unknown=["salute"])
    assert data.labels == ["stand", "wave"]
    assert labels_of(data.train) == [0, 1, 0, 1, 0, 1]
    assert labels_of(data.validation) == [0, 1]
    assert [a.name for a in data.unknown] == ["seq2", "seq5", "seq10"]
    first = read_training_data(sources[:1], "test", {}, unknown=["stand"])
    assert first.labels == ["wave", "salute"]
    assert labels_of(first.train) == [0, 1, 0, 1, 0]


def test_two_files_may_have_the_same_names(sources, tmp_path):
    (tmp_path / "twin").mkdir()
    names = [f"seq{i}" for i in range(4)]
    twin = pose_file(tmp_path / "twin" / "a.pkl", names, {"train": names})
    data = read_training_data([sources[0], LabelledPoses(twin, ["stand", "wave"], "train")], "0", {})
    assert count_sequences(data.train) == len(data.train) == 12


def test_what_flatters_or_is_never_seen_is_warned_of(tmp_path, caplog):
    names = ["s", "t", "u", "v"]
    splits = {"train": names, "test": names[1:3], "none": []}
    path = pose_file(tmp_path / "a.pkl", names, splits, classes=["stand", "wave", "jump"])
    source = LabelledPoses(path, find_names(path, None), "train")
    read_training_data([source], "test", {})
    assert "2 of the sequences to validate on are trained on too" in caplog.text
    assert "no sequence to train on is of the class jump" in caplog.text
    caplog.clear()
    read_training_data([source], "0", {}, unknown=["jump"])
    assert "--unknown only leaves its classes out" in caplog.text
    with pytest.raises(InputError, match="the split 'none' is empty, so there is nothing to validate on"):
        read_training_data([source], "none", {})


def test_poses_without_a_keypoint_are_nothing_to_train_on(tmp_path):
    path = pose_file(tmp_path / "a.pkl", ["s", "t"], {"train": ["s", "t"]})
    content = pickle.loads(path.read_bytes())
    for row in content["annotations"]:
        row["keypoint"][:] = np.nan
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="no sequence has a single keypoint"):
        read_training_data([LabelledPoses(path, ["stand", "wave"], "train")], "0", {})


def test_layouts_of_one_file_may_not_differ():
    other = Annotation("seq1", 0, poses(np.ones((1, 2, 17, 2)), layout=COCO17))
    check_layouts([example(0), example(2)], Path("a.pkl"))
    with pytest.raises(InputError, match=r"a\.pkl mixes layouts: seq0 is body13, seq1 is coco17"):
        check_layouts([example(0), other], Path("a.pkl"))


def test_a_pose_file_without_class_names_beside_it_is_told(tmp_path):
    with pytest.raises(InputError, match=r"a\.pkl cannot be read: No such file"):
        find_names(tmp_path / "a.pkl", None)
    (tmp_path / "a.pkl").touch()
    with pytest.raises(InputError, match=r"there is no .*a_labels\.txt with the class names of .*--labels FILE"):
        find_names(tmp_path / "a.pkl", None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"validation": "val"}, InputError, r"a\.pkl has no split 'val'; its splits: train, test"),
        ({"validation": "train"}, UsageError, "--val-split train is what is trained on; choose another"),
        ({"validation": "1"}, UsageError, r"takes a split's name or a share in \[0, 1\), got 1"),
        ({"validation": "nan"}, UsageError, "takes a split's name or a share"),
        ({"aliases": {"jump": "wave"}}, UsageError, "--alias jump: no pose file has a class of that name"),
        ({"unknown": ["jump"]}, UsageError, "--unknown jump: no pose file has a class of that name"),
        ({"unknown": ["wave", "salute"]}, InputError, "there is only the class 'stand'; two are needed"),
        ({"unknown": CLASSES}, InputError, "there is no class to learn; two are needed"),
        ({"planes": ["zy"]}, UsageError, "planes are one or more of xy, yz, xz"),
    ],
)
def test_what_cannot_be_trained_on_is_told(sources, arguments, error, message):
    with pytest.raises(error, match=message):
        read_training_data(sources[:1], **{"validation": "test", "aliases": {}, **arguments})
