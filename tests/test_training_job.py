"""The job of `poseact train`: from pose files to a bundle, and what is refused before it begins."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_training import example, one_thread, person  # noqa: F401  (the fixture is used by being here)

import poseact.training.job
from poseact.classifier import Classifier
from poseact.errors import InputError, OutputError, UsageError
from poseact.nets.slowonly import SlowOnly
from poseact.training.job import TrainingJob, train_bundle


def pose_file(path, names, splits, n_frames=30, labels=None):
    """Sequences of 30 frames, one second at PYSKL's rate; labels: class index of each, else they alternate."""
    rows = []
    for i, name in enumerate(names):
        label = labels[i] if labels else i % 2
        rows.append(
            {
                "frame_dir": name,
                "label": label,
                "img_shape": (200, 300),
                "total_frames": n_frames,
                "keypoint": person(n_frames, waves=bool(label), x=3.0 * i).astype(np.float16),
                "keypoint_score": np.full((1, n_frames, 13), 0.9, np.float16),
            }
        )
    path.write_bytes(pickle.dumps({"split": splits, "annotations": rows}))
    return path


@pytest.fixture
def tiny_job(monkeypatch, tmp_path):
    """Make jobs on eight sequences to train and two to test, with a tiny network and small clips."""
    monkeypatch.setattr(
        poseact.training.job, "SlowOnly", lambda k, n_labels: SlowOnly(k, n_labels, width=8, blocks=(1, 1, 1))
    )
    names = [f"seq{i}" for i in range(10)]
    path = pose_file(tmp_path / "my.pkl", names, {"train": names[:8], "test": names[8:]})
    (tmp_path / "my_labels.txt").write_text("stand\nwave\n")

    def job(**changed):
        values = {"poses": [path], "output": tmp_path / "mine.pt", "epochs": 1, "device": "cpu", "validation": "test"}
        return TrainingJob(**{**values, **changed})

    return job


def test_a_job_writes_a_bundle_that_classifies(tiny_job):
    job = tiny_job(name="waving", licence="CC0")
    told = []
    reports = list(train_bundle(job, told.append))
    classifier = Classifier(job.output, "cpu")
    info = classifier.info
    assert [report.epoch for report in reports] == [1]
    assert (info.name, info.licence, info.layout, info.subjects) == ("waving", "CC0", "body13", 1)
    assert info.labels == ("stand", "wave")
    assert (info.window, info.stride) == (1.0, 0.5)  # 30 frames at 30 frames/s
    assert info.training_data == "my:train"
    assert info.accuracy == {"validation top-1": reports[0].top1}
    assert told[0] == "8 sequences to train on, 2 to validate on, 2 labels, cpu"
    assert told[-1] == f"wrote {job.output}"
    probabilities = classifier.probabilities([(example(1, 30).poses, 0, 1)])
    assert probabilities.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1)
    assert not job.checkpoint.exists()


def test_files_are_trained_on_together_under_united_labels(tiny_job, tmp_path):
    other = pose_file(tmp_path / "other.pkl", ["a", "b", "c"], {"all": ["a", "b", "c"]}, labels=[0, 1, 1])
    (tmp_path / "other_labels.txt").write_text("salute\nclap\n")
    job = tiny_job(
        poses=[tmp_path / "my.pkl", other],
        train_splits=["train", "all"],
        validation="0",
        aliases={"salute": "wave"},
        window=2.5,
    )
    told = []
    list(train_bundle(job, told.append))
    info = Classifier(job.output, "cpu").info
    assert told[0].startswith("11 sequences to train on, 0 to validate on, 3 labels")
    assert info.labels == ("stand", "wave", "clap")
    assert info.aliases == {"salute": "wave"}
    assert info.training_data == "my:train, other:all"
    assert (info.window, info.accuracy) == (2.5, {})


def test_a_share_is_held_out_of_each_class(tiny_job):
    told = []
    next(train_bundle(tiny_job(validation="0.25"), told.append))
    assert told[0].startswith("6 sequences to train on, 2 to validate on")


def test_holding_out_leaves_each_class_at_least_one_sequence():
    items = [(example(0), 0)] * 10 + [(example(1), 1)] + [(example(2), 2)] * 2
    kept, held_out = poseact.training.job._hold_out(items, 0.2, np.random.default_rng(0))
    assert [label for _, label in held_out] == [0, 0, 2]
    assert [label for _, label in kept] == [0] * 8 + [1, 2]


def test_sequences_without_keypoints_are_left_out(tiny_job, tmp_path):
    rows = pickle.loads((tmp_path / "my.pkl").read_bytes())
    rows["annotations"][0]["keypoint"][:] = np.nan
    (tmp_path / "my.pkl").write_bytes(pickle.dumps(rows))
    told = []
    next(train_bundle(tiny_job(), told.append))
    assert told[0] == "1 sequences without a single keypoint are left out"
    assert told[1].startswith("7 sequences to train on")


def test_a_job_goes_on_from_its_checkpoint_unless_it_restarts(tiny_job):
    job = tiny_job(epochs=2)
    next(train_bundle(job))
    assert job.checkpoint.name == "mine.pt.checkpoint"
    assert job.checkpoint.exists()
    told = []
    assert [report.epoch for report in train_bundle(job, told.append)] == [2]
    assert told[1] == f"going on after epoch 1 of 2, from {job.checkpoint}"
    next(train_bundle(job))
    assert next(train_bundle(replace(job, restart=True))).epoch == 1


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"train_splits": ["xsub"]}, InputError, r"my\.pkl has no split 'xsub'; its splits: train, test"),
        ({"validation": "val"}, InputError, r"my\.pkl has no split 'val'; its splits: train, test"),
        ({"validation": "train"}, UsageError, "--val-split train is what is trained on; choose another"),
        ({"validation": "1.5"}, UsageError, r"takes a split's name or a share in \[0, 1\), got 1.5"),
        ({"validation": "nan"}, UsageError, "takes a split's name or a share"),
        ({"labels": [Path("absent.txt")]}, InputError, r"class names absent\.txt cannot be read"),
        ({"aliases": {"foo": "wave"}}, UsageError, "--alias foo: no pose file has a class of that name"),
        ({"aliases": {"stand": "wave"}}, InputError, "there is only the class 'wave'"),
        ({"learning_rate": float("nan")}, UsageError, "the learning rate must be above 0"),
        ({"layout": "coco17"}, InputError, "choose another --layout"),
    ],
)
def test_a_job_that_cannot_read_its_data_says_why(tiny_job, changed, error, message):
    with pytest.raises(error, match=message):
        next(train_bundle(tiny_job(**changed)))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"layout": "hand21"}, UsageError, "no layout 'hand21'; choose one of coco17, body13"),
        ({"labels": [Path("a"), Path("b")]}, UsageError, "1 pose files need as many --labels files, got 2"),
        ({"train_splits": ["a", "b"]}, UsageError, "give one --train-split, or one for each of the 1 pose files"),
        ({"output": Path("/absent/mine.pt")}, OutputError, "the folder of /absent/mine.pt does not exist"),
        ({"output": Path("/")}, OutputError, "cannot be written: it is a folder"),
        ({"window": 0.0}, UsageError, "the window must be longer than 0 s"),
        ({"window": float("nan")}, UsageError, "the window must be longer than 0 s"),
        ({"seed": -1}, UsageError, "the seed must be in"),
    ],
)
def test_a_job_is_checked_before_anything_is_read(tiny_job, changed, error, message):
    with pytest.raises(error, match=message):
        tiny_job(**changed)
