"""`poseact train` as a user meets it: what its options mean, what it tells, and what it says of bad input."""

from pathlib import Path

import pytest
from small import one_thread, pose_file  # noqa: F401  (the fixture is used by being here)
from test_cli import one_sentence, run
from test_training_job import NAMES, SPLITS, tiny_nets  # noqa: F401

import poseact.training.job
from poseact.bundle import load_weights
from poseact.training.loop import EpochReport


@pytest.fixture
def poses(tmp_path):
    return pose_file(tmp_path / "my.pkl", NAMES, SPLITS)


@pytest.fixture
def asked(monkeypatch):
    """The jobs that would have been trained, each with one epoch to report."""
    jobs = []

    def train_bundle(job, log=None, on_extraction=None):
        jobs.append(job)
        yield EpochReport(1, 0.5, 0.01, None, 1.0)

    monkeypatch.setattr(poseact.training.job, "train_bundle", train_bundle)
    return jobs


def job_of(asked, poses, *options):
    code, out, err = run("train", poses, "-o", poses.with_name("mine.pt"), *options)
    assert (code, out) == (0, ""), err
    return asked.pop()


def test_the_defaults_are_those_of_the_job(asked, poses):
    plain = poseact.training.job.TrainingJob([poses], poses.with_name("mine.pt"), name="mine")
    found = job_of(asked, poses)
    for name in plain.__dataclass_fields__:
        wanted = getattr(plain, name)
        assert getattr(found, name) == (list(wanted) if isinstance(wanted, tuple) else wanted), name


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        (["--labels", "auto"], "labels", [None]),
        (["--labels", "names.txt"], "labels", [Path("names.txt")]),
        (["--train-split", "more"], "train_splits", ["more"]),
        (["--val-split", "0.25"], "validation", "0.25"),
        (["--alias", "greet=wave", "--alias", "hi = wave"], "aliases", {"greet": "wave", "hi": "wave"}),
        (["--unknown", "wave"], "unknown", ["wave"]),
        (["--planes", "xy,xz"], "planes", ["xy", "xz"]),
        (["--net", "x3d-s"], "net", "x3d-s"),
        (["--modality", "limb"], "modality", "limb"),
        (["--layout", "coco17"], "layout", "coco17"),
        (["--window", "1.5"], "window", 1.5),
        (["--subjects", "all"], "subjects", "all"),
        (["--subjects", "2"], "subjects", 2),
        (["--init", "b.pt", "--freeze"], "freeze", True),
        (["--init", "b.pt"], "init", Path("b.pt")),
        (["--epochs", "3"], "epochs", 3),
        (["--batch-size", "4"], "batch_size", 4),
        (["--learning-rate", "0.1"], "learning_rate", 0.1),
        (["--balance", "1"], "balance", 1.0),
        (["--augment", "0"], "augment", 0.0),
        (["--negatives", "0.2"], "negatives", 0.2),
        (["--calibrate-like", "b.pt"], "calibrate_like", Path("b.pt")),
        (["--seed", "7"], "seed", 7),
        (["--device", "cpu"], "device", "cpu"),
        (["--no-amp"], "amp", False),
        (["--compile"], "compile", True),
        (["--name", "hello"], "name", "hello"),
        (["--licence", "CC0"], "licence", "CC0"),
        (["--restart"], "restart", True),
    ],
)
def test_each_option_reaches_the_job(asked, poses, options, field, value):
    assert getattr(job_of(asked, poses, *options), field) == value


def test_a_training_ends_with_a_bundle_and_a_quiet_one_says_nothing(poses):
    bundle = poses.with_name("mine.pt")
    arguments = ["train", poses, "-o", bundle, "--epochs", "1", "--device", "cpu", "--val-split", "test"]
    code, out, err = run(*arguments, "--labels", "auto", "--modality", "limb", "--subjects", "all")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "8 sequences to train on, 2 to validate on, 2 labels, slowonly on limbs, cpu"
    assert lines[1].startswith("epoch 1 of 1: loss ")
    assert ", validation top-1 " in lines[1]
    assert lines[2].startswith(f"wrote {bundle}")
    info = load_weights(bundle)[1]
    assert (info.name, info.modality, info.subjects) == ("mine", "limb", "all")
    assert run(*arguments, "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--subjects", "0"], "--subjects takes a count or 'all' or 'main', not '0'"),
        (["--subjects", "many"], "--subjects takes a count or 'all' or 'main', not 'many'"),
        (["--alias", "greet"], "--alias takes NAME=LABEL, not 'greet'"),
        (["--alias", "=wave"], "--alias takes NAME=LABEL"),
        (["--net", "resnet"], "no network 'resnet'; choose one of slowonly"),
        (["--layout", "hand21"], "no layout 'hand21'"),
        (["--planes", "zy"], "planes are one or more of xy, yz, xz"),
        (["--freeze"], "needs --init BUNDLE"),
        (["--window", "0"], "the window must be longer than 0 s"),
        (["--learning-rate", "0"], "the learning rate must be above 0"),
        (["--seed", "-1"], "the seed must be in"),
        (["--val-split", "train"], "--val-split train is what is trained on"),
        (["--val-split", "2"], "a share in [0, 1), got 2"),
        (["--train-split", "a", "--train-split", "b"], "give one --train-split"),
        (["--labels", "a", "--labels", "b"], "1 pose files need as many --labels files, got 2"),
        (["--unknown", "dance"], "--unknown dance: no pose file has a class of that name"),
        (["--device", "gpu"], "is no device"),
    ],
)
def test_a_bad_value_ends_with_2_and_one_sentence(poses, options, says):
    code, out, err = run("train", poses, "-o", poses.with_name("mine.pt"), *options)
    assert (code, out) == (2, ""), err
    one_sentence(err, says)
    assert sorted(path.name for path in poses.parent.iterdir()) == ["my.pkl", "my_labels.txt"]


@pytest.mark.parametrize(
    "options",
    [["--modality", "face"], ["--epochs", "0"], ["--batch-size", "1"], ["--negatives", "0.95"], ["--balance", "2"]],
)
def test_wrong_usage_ends_with_2(poses, options):
    assert run("train", poses, "-o", poses.with_name("mine.pt"), *options)[0] == 2


def test_an_output_must_be_named(poses):
    assert run("train", poses)[0] == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), (b"no pickle", "is not a pickle of poses"), (b"", "is not a pickle")],
)
def test_poses_that_are_none_end_with_3(poses, content, says):
    bad = poses.with_name("my.pkl")
    bad.unlink()
    if content is not None:
        bad.write_bytes(content)
    code, out, err = run("train", bad, "-o", poses.with_name("mine.pt"), "--device", "cpu")
    assert (code, out) == (3, "")
    one_sentence(err, says, "my.pkl")
