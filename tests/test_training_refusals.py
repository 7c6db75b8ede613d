"""What `poseact train` refuses or survives: jobs, data and weights that do not make sense."""

# ruff: noqa: F811  (fixtures come from another file of tests)

from pathlib import Path

import pytest
from small import one_thread, pose_file  # noqa: F401  (fixtures are used by being here)
from test_training_job import base, job, poses, tiny_nets, trained  # noqa: F401

from poseact.bundle import load_weights, save_bundle
from poseact.errors import InputError, ModelError, OutputError, UsageError
from poseact.training.job import make_net, train_bundle


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"train_splits": ["xsub"]}, InputError, r"my\.pkl has no split 'xsub'; its splits: train, test, more"),
        ({"validation": "val"}, InputError, r"my\.pkl has no split 'val'; its splits: train, test, more"),
        ({"labels": [Path("absent.txt")]}, InputError, r"class names absent\.txt cannot be read"),
        ({"aliases": {"stand": "wave"}}, InputError, "there is only the class 'wave'"),
        ({"learning_rate": float("nan")}, UsageError, "the learning rate must be above 0"),
        ({"layout": "coco17"}, InputError, "choose another --layout"),
        ({"init": Path("absent.pt")}, ModelError, r"absent\.pt does not exist"),
        ({"calibrate_like": Path("absent.pt")}, ModelError, r"absent\.pt does not exist"),
    ],
)
def test_a_job_that_cannot_read_its_data_says_why_before_it_trains(job, tmp_path, changed, error, message):
    with pytest.raises(error, match=message):
        next(train_bundle(job(**changed)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"net": "resnet"}, UsageError, "no network 'resnet'; choose one of slowonly, slowonly-wide"),
        ({"layout": "hand21"}, UsageError, "no layout 'hand21'; choose one of coco17, body13"),
        ({"modality": "face"}, UsageError, "no modality 'face'; choose joint or limb"),
        ({"labels": [Path("a"), Path("b")]}, UsageError, "1 pose files need as many --labels files, got 2"),
        ({"train_splits": ["a", "b"]}, UsageError, "give one --train-split, or one for each of the 1 pose files"),
        ({"output": Path("/absent/mine.pt")}, OutputError, "the folder of /absent/mine.pt does not exist"),
        ({"output": Path("/")}, OutputError, "cannot be written: it is a folder"),
        ({"output": Path("/dev/null")}, OutputError, "cannot be written: it is a folder or a device"),
        ({"output": Path("mine.csv")}, UsageError, "mine.csv is what its log, card or picture is called"),
        ({"output": Path("mine.md")}, UsageError, "let it end with .pt"),
        ({"window": 0.0}, UsageError, "the window must be longer than 0 s"),
        ({"window": float("nan")}, UsageError, "the window must be longer than 0 s"),
        ({"subjects": 0}, UsageError, "subjects must be 'all' or a count, got 0"),
        ({"seed": -1}, UsageError, "the seed must be in"),
        ({"negatives": 1.0}, UsageError, r"the share of negatives must be in \[0, 1\)"),
        ({"freeze": True}, UsageError, "--freeze trains only the head, which needs --init BUNDLE"),
    ],
)
def test_a_job_is_checked_before_anything_is_read(job, changed, error, message):
    with pytest.raises(error, match=message):
        job(**changed)


def test_class_names_are_not_written_over(job, tmp_path):
    for labels, source in ((tmp_path / "mine.md", "a.pkl"), (None, tmp_path / "mine.pkl")):
        output = tmp_path / ("mine.pt" if labels else "mine_labels.txt")
        with pytest.raises(UsageError, match="would overwrite what it is made from"):
            job(labels=[labels], poses=[Path(source)], output=output)


def test_a_bundle_of_no_numbers_is_nothing_to_begin_from(job, base, tmp_path):
    net = make_net(base[0], ["stand", "wave"], print)
    next(net.parameters()).data.fill_(float("nan"))
    save_bundle(net, load_weights(base[0].output)[1], tmp_path / "broken.pt")
    with pytest.raises(ModelError, match=r"broken\.pt holds NaN"):
        next(train_bundle(job(init=tmp_path / "broken.pt")))


def test_a_loss_that_is_no_number_ends_the_training(job, monkeypatch, tmp_path):
    monkeypatch.setattr("poseact.training.loop.soft_cross_entropy", lambda logits, *_: logits.sum() * float("nan"))
    with pytest.raises(UsageError, match=r"in epoch 1 the loss is no number any more; lower --learning-rate \(0\.05\)"):
        next(train_bundle(job()))
    assert list(tmp_path.iterdir()) == []


def test_an_alias_of_what_is_refused_is_not_in_the_bundle(job, tmp_path):
    names = [f"seq{i}" for i in range(6)]
    poses = pose_file(tmp_path / "a.pkl", names, {"train": names}, labels=[0, 1, 2] * 2, classes=["a", "b", "c"])
    trained(job(poses=[poses], validation="0.5", aliases={"c": "d"}, unknown=["c"]))
    info = load_weights(tmp_path / "mine.pt")[1]
    assert (info.labels, info.aliases) == (("a", "b"), {})
    assert "| not learnt but refused | c |" in (tmp_path / "mine.md").read_text().splitlines()


def test_two_files_may_have_sequences_of_the_same_name(job, poses, tmp_path):
    """Of the second file the classes are others, so what is said of one sequence is wrong for its namesake."""
    names = [f"seq{i}" for i in range(10)]
    other = pose_file(tmp_path / "b.pkl", names, {"train": names[:8], "test": names[8:]}, classes=["sit", "run"])
    told, _ = trained(job(poses=[poses, other], validation="test"))
    assert told[0].startswith("16 sequences to train on, 4 to validate on")
    card = (tmp_path / "mine.md").read_text()
    assert "(4 sequences, the split test;" in card
    assert {line.split(" | ")[1] for line in card.splitlines() if line.endswith("% |")} == {"1"}


def test_one_frame_each_is_told_before_the_training(job, tmp_path):
    poses = pose_file(tmp_path / "a.pkl", ["s", "t", "u", "v"], {"train": ["s", "t", "u", "v"]}, n_frames=1)
    with pytest.raises(InputError, match="one frame each; give --window SECONDS"):
        next(train_bundle(job(poses=[poses], validation="0")))
    assert not (tmp_path / "mine.pt.checkpoint").exists()


@pytest.mark.parametrize("which", ["poses", "init", "calibrate_like"])
def test_what_a_job_reads_is_not_written_over(job, base, tmp_path, which):
    path = tmp_path / "mine.pt"
    path.write_bytes(base[0].output.read_bytes())
    with pytest.raises(UsageError, match=r"mine\.pt would overwrite what it is made from; choose another name"):
        job(**{which: [path] if which == "poses" else path})
