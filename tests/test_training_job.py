"""The job of `poseact train`: from pose files to a bundle with its card and its log, anew or from another bundle."""

import csv
import pickle
from dataclasses import replace
from functools import partial

import matplotlib.image
import numpy as np
import pytest
import torch
from small import STANDING, WRIST, example, one_thread, pose_file  # noqa: F401  (the fixture is used by being here)
from test_pipeline import ALWAYS, NOSE, Actors

import poseact.extract
import poseact.training.job
from poseact.bundle import load_weights
from poseact.classifier import Classifier
from poseact.errors import UsageError
from poseact.extract import PoseStages
from poseact.nets import NETS
from poseact.skeleton import BODY13
from poseact.training.job import TrainingJob, make_net, train_bundle

NAMES = [f"seq{i}" for i in range(12)]
SPLITS = {"train": NAMES[:8], "test": NAMES[8:10], "more": NAMES[10:]}


@pytest.fixture(scope="module", autouse=True)
def tiny_nets():
    """SlowOnly and X3D-s so small that an epoch takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, stages in (("slowonly", (1, 1, 1)), ("x3d-s", (1, 1, 1))):
            net = NETS[name]
            build = partial(getattr(net.build, "func", net.build), width=8, blocks=stages)
            patch.setitem(NETS, name, replace(net, build=build, clip_len=8, size=(16, 16)))
        yield


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    """Eight sequences to train on, two to test, two more."""
    return pose_file(tmp_path_factory.mktemp("poses") / "my.pkl", NAMES, SPLITS)


@pytest.fixture
def job(poses, tmp_path):
    def make(**changed):
        values = {"poses": [poses], "output": tmp_path / "mine.pt", "epochs": 1, "device": "cpu", "validation": "test"}
        return TrainingJob(**{**values, **changed})

    return make


def trained(job):
    """(what was told, the reports)."""
    told = []
    return told, list(train_bundle(job, told.append))


@pytest.fixture(scope="module")
def base(poses, tmp_path_factory):
    """A bundle of joints, trained for one epoch, with its card and log beside it: (job, what was told, reports)."""
    output = tmp_path_factory.mktemp("base") / "base.pt"
    job = TrainingJob([poses], output, epochs=1, device="cpu", validation="test", name="waving", licence="CC0")
    return job, *trained(job)


# What is written


def test_a_job_writes_a_bundle_that_classifies(base):
    job, told, reports = base
    classifier = Classifier(job.output, "cpu", "float32")
    info = classifier.info
    assert [report.epoch for report in reports] == [1]
    assert (info.name, info.licence, info.layout, info.subjects) == ("waving", "CC0", "body13", 1)
    assert (info.net, info.modality, info.limbs) == ("slowonly", "joint", ())
    assert (info.clip_len, info.volume.size) == (8, (16, 16))
    assert info.labels == ("stand", "wave")
    assert (info.window, info.stride) == (1.0, 0.5)  # 30 frames at 30 frames/s
    assert info.training_data == "my:train"
    assert info.accuracy == {"validation top-1": reports[0].top1}
    assert told[0] == "8 sequences to train on, 2 to validate on, 2 labels, slowonly on joints, cpu"
    assert told[-1] == f"wrote {job.output}; validation top-1 {reports[0].top1:.1%}"
    probabilities = classifier.probabilities([(example(1, 30).poses, 0, 1)])
    assert probabilities.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1)


def test_the_seed_changes_the_weights_but_not_what_is_held_out(job, monkeypatch):
    seen = []
    real = poseact.training.job.read_training_data
    monkeypatch.setattr(
        poseact.training.job, "read_training_data", lambda *args, **more: seen.append(real(*args, **more)) or seen[-1]
    )
    heads = []
    for seed in range(4):
        changed = job(validation="0.3", seed=seed, restart=True)
        trained(changed)
        heads.append(load_weights(changed.output)[0]["cls_head.fc_cls.weight"])
    assert len({tuple(a.name for a, _ in data.validation) for data in seen}) == 1
    assert not any(torch.equal(heads[0], other) for other in heads[1:])


def test_card_picture_and_log_lie_beside_it_and_nothing_else(base):
    job, _, reports = base
    found = sorted(path.name for path in job.output.parent.iterdir())
    assert found == ["base-confusion.png", "base.csv", "base.md", "base.pt"]
    card = job.output.with_suffix(".md").read_text()
    assert card.startswith("# waving\n")
    for line in (
        "| network | slowonly on joint heatmap volumes of body13 |",
        "| labels | stand, wave |",
        "| trained on | 8 sequences of my:train |",
        "| licence | CC0 |",
        "| class | sequences | right |",
        "![What is taken for what](base-confusion.png)",
    ):
        assert line in card.splitlines()
    assert f"Top-1 {reports[0].top1:.1%}" in card
    assert min(matplotlib.image.imread(job.output.with_name("base-confusion.png")).shape[:2]) > 100


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_log_has_a_row_for_each_epoch(base):
    job, _, (report,) = base
    (row,) = rows_of(job.output.with_suffix(".csv"))
    assert list(row) == ["epoch", "loss", "learning_rate", "validation_top1", "seconds"]
    assert row["epoch"] == "1"
    assert float(row["loss"]) == pytest.approx(report.loss, abs=1e-5)
    assert float(row["validation_top1"]) == pytest.approx(report.top1, abs=1e-4)


def test_without_validation_the_card_says_so(job):
    told, reports = trained(job(validation="0"))
    assert told[-1].endswith("mine.pt")
    assert reports[0].top1 is None
    folder = job().output.parent
    assert sorted(path.name for path in folder.iterdir()) == ["mine.csv", "mine.md", "mine.pt"]
    assert "its accuracy is not known" in (folder / "mine.md").read_text()
    info = load_weights(folder / "mine.pt")[1]
    assert (info.accuracy, info.temperature, info.rejection_threshold) == ({}, 1, 0)


# What is read


def test_files_are_trained_on_together_under_united_labels(job, poses, tmp_path):
    other = pose_file(
        tmp_path / "other.pkl", ["a", "b", "c"], {"all": ["a", "b", "c"]}, labels=[0, 1, 1], classes=["salute", "clap"]
    )
    told, _ = trained(
        job(
            poses=[poses, other],
            train_splits=["train", "all"],
            validation="0",
            aliases={"salute": "wave"},
            window=2.5,
            subjects="all",
        )
    )
    info = load_weights(tmp_path / "mine.pt")[1]
    assert told[0].startswith("11 sequences to train on, 0 to validate on, 3 labels")
    assert info.labels == ("stand", "wave", "clap")
    assert info.aliases == {"salute": "wave"}
    assert info.training_data == "my:train, other:all"
    assert (info.window, info.subjects) == (2.5, "all")


def test_a_share_is_held_out(job):
    told = []
    next(train_bundle(job(validation="0.25"), told.append))
    assert told[0].startswith("6 sequences to train on, 2 to validate on")


def test_sequences_without_keypoints_are_left_out(job, poses, tmp_path):
    rows = pickle.loads(poses.read_bytes())
    rows["annotations"][0]["keypoint"][:] = np.nan
    (tmp_path / "holes.pkl").write_bytes(pickle.dumps(rows))
    told = []
    next(train_bundle(job(poses=[tmp_path / "holes.pkl"], labels=[poses.with_name("my_labels.txt")]), told.append))
    assert told[0].startswith("7 sequences to train on")
    assert told[1] == "1 sequences without a single keypoint are left out"


def test_unknown_classes_are_not_learnt_and_set_the_threshold(job, tmp_path, monkeypatch):
    labels = [0, 1, 2] * 4
    path = pose_file(tmp_path / "three.pkl", NAMES, SPLITS, labels=labels, classes=["stand", "wave", "dance"])
    asked = []

    def calibrate(probabilities, truth, unknown):
        asked.append((probabilities.shape, truth.tolist(), unknown.shape))
        return 2.0, 0.612349

    monkeypatch.setattr(poseact.training.job, "calibrate", calibrate)
    told, _ = trained(job(poses=[path], unknown=["dance"], validation="more"))
    assert told[0].startswith("6 sequences to train on, 1 to validate on, 2 labels")
    assert asked == [((1, 2), [1], (3, 2))]
    info = load_weights(tmp_path / "mine.pt")[1]
    assert info.labels == ("stand", "wave")
    assert (info.temperature, info.rejection_threshold) == (2.0, 0.6123)


def test_a_threshold_is_not_rounded_up(job, tmp_path, monkeypatch):
    monkeypatch.setattr(poseact.training.job, "calibrate", lambda *_: (0.0501, 0.99996))
    trained(job())
    assert load_weights(tmp_path / "mine.pt")[1].rejection_threshold == 0.9999


def test_half_of_the_negatives_are_still_and_half_are_spliced(job):
    augmentation = job(negatives=0.3).options(8).augmentation
    assert (augmentation.still, augmentation.spliced) == (0.15, 0.15)


def test_calibration_may_be_that_of_a_bundle_trained_alike(job, base, tmp_path):
    found = load_weights(base[0].output)[1]
    trained(job(calibrate_like=base[0].output, validation="0"))
    info = load_weights(tmp_path / "mine.pt")[1]
    assert (info.temperature, info.rejection_threshold) == (found.temperature, found.rejection_threshold)
    assert info.temperature != 1


def test_3d_poses_are_trained_on_in_planes(job, tmp_path):
    rows = []
    for i in range(6):
        flat = np.tile(STANDING / 60, (1, 12, 1, 1))
        keypoint = np.concatenate([flat, np.full((1, 12, 13, 1), 3.0)], axis=3)
        keypoint[0, :, WRIST, 1 + i % 2] -= np.where(np.arange(12) % 4 < 2, 0, 0.8)
        rows.append({"frame_dir": f"s{i}", "label": i % 2, "total_frames": 12, "fps": 15.0, "keypoint": keypoint})
    (tmp_path / "deep.pkl").write_bytes(
        pickle.dumps({"split": {"train": [row["frame_dir"] for row in rows]}, "annotations": rows})
    )
    (tmp_path / "deep_labels.txt").write_text("lift\nreach\n")
    told, _ = trained(job(poses=[tmp_path / "deep.pkl"], validation="0.34"))
    assert told[0].startswith("4 sequences to train on, 2 to validate on")
    assert load_weights(tmp_path / "mine.pt")[1].window == 0.8
    told = []
    next(train_bundle(job(poses=[tmp_path / "deep.pkl"], validation="0", planes=["xy"]), told.append))
    assert told[0].startswith("6 sequences to train on")


def test_a_folder_of_videos_is_extracted_once_and_trained_on(job, draw_video, tmp_path, monkeypatch):
    for name in ("jump/b", "jump/c", "run/d", "run/e"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        draw_video(tmp_path / "videos" / f"{name}.mp4", 12, size=(160, 120))
    actors = Actors((20, 80, NOSE, *ALWAYS))
    stages = PoseStages(actors.detect, actors, device="cpu")
    monkeypatch.setattr(poseact.extract, "PoseStages", lambda **_: stages)
    extracted = []
    wanted = job(poses=[tmp_path / "videos"], validation="0.5")
    reports = list(train_bundle(wanted, None, lambda *told: extracted.append(told)))
    assert len(reports) == 1
    assert [done for done, total, _ in extracted] == [0, 1, 2, 3, 4]
    info = load_weights(wanted.output)[1]
    assert (info.labels, info.training_data) == (("jump", "run"), "videos:train")
    assert (tmp_path / "videos-poses.pkl").is_file()
    looked_at = len(actors.looked_at)
    next(train_bundle(wanted))
    assert len(actors.looked_at) == looked_at == 4 * 12


def test_limbs_are_learnt(job, tmp_path):
    told, _ = trained(job(modality="limb", net="x3d-s"))
    assert told[0].endswith("x3d-s on limbs, cpu")
    classifier = Classifier(tmp_path / "mine.pt", "cpu", "float32")
    assert (classifier.info.modality, classifier.info.limbs) == ("limb", BODY13.limbs)
    assert classifier.info.net == "x3d-s"
    assert classifier.probabilities([(example(1, 30).poses, 0, 1)]).shape == (1, 2)
    assert "x3d-s on limb heatmap volumes" in (tmp_path / "mine.md").read_text()


# Resuming


def test_a_job_goes_on_from_its_checkpoint_unless_it_restarts(job, tmp_path):
    wanted = job(epochs=2, negatives=0.5)
    trained(replace(wanted, output=tmp_path / "straight.pt"))
    next(train_bundle(wanted))
    assert wanted.checkpoint.name == "mine.pt.checkpoint"
    assert wanted.checkpoint.exists()
    assert not wanted.output.exists()
    told, reports = trained(wanted)
    assert [report.epoch for report in reports] == [2]
    assert told[1] == f"going on after epoch 1 of 2, from {wanted.checkpoint}"
    assert [row["epoch"] for row in rows_of(tmp_path / "mine.csv")] == ["1", "2"]
    assert not wanted.checkpoint.exists()
    resumed, straight = load_weights(wanted.output)[0], load_weights(tmp_path / "straight.pt")[0]
    assert all(torch.equal(resumed[name], value) for name, value in straight.items())
    next(train_bundle(wanted))
    assert next(train_bundle(replace(wanted, restart=True))).epoch == 1
    assert [row["epoch"] for row in rows_of(tmp_path / "mine.csv")] == ["1"]


# From another bundle


def test_fine_tuning_begins_with_all_weights_of_the_same_labels(job, base):
    told = []
    net = make_net(job(init=base[0].output), ["stand", "wave"], told.append)
    wanted = load_weights(base[0].output)[0]
    assert all(torch.equal(value, wanted[name]) for name, value in net.state_dict().items())
    assert told == []


@pytest.mark.parametrize("labels", [["wave", "stand"], ["stand", "wave", "run"], ["stand", "run"]])
def test_fine_tuning_for_other_labels_has_a_new_head(job, base, labels):
    told = []
    found = make_net(job(init=base[0].output), labels, told.append).state_dict()
    wanted = load_weights(base[0].output)[0]
    for name, value in found.items():
        if name.startswith("cls_head."):
            assert len(value) == len(labels)
            assert value.shape != wanted[name].shape or not torch.equal(value, wanted[name]) or not value.any()
        else:
            assert torch.equal(value, wanted[name]), name
    assert not torch.isin(found["cls_head.fc_cls.weight"], wanted["cls_head.fc_cls.weight"]).all()
    assert told == [f"the head of {base[0].output} knows other labels, so it is trained anew"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"net": "x3d-s"}, "is a slowonly, but the training's net is x3d-s; add --net slowonly"),
        ({"modality": "limb"}, "is a joint, but the training's modality is limb; add --modality joint"),
        ({"layout": "coco17"}, r"is another network: backbone\.conv1\.conv\.weight differ; check --layout"),
    ],
)
def test_another_network_to_begin_from_is_a_usage_error(job, base, changed, message):
    with pytest.raises(UsageError, match=rf"--init .*base\.pt {message}"):
        make_net(job(init=base[0].output, **changed), ["stand", "wave"], print)


def test_a_foreign_bundle_to_begin_from_is_a_usage_error(job, make_bundle):
    with pytest.raises(UsageError, match=r"namer\.pt is another network: backbone\.conv1\.conv\.weight, .* differ"):
        make_net(job(init=make_bundle()), ["stand", "wave"], print)


def test_frozen_only_the_head_is_trained(job, base, tmp_path):
    trained(job(init=base[0].output, freeze=True, learning_rate=0.5))
    before, after = load_weights(base[0].output)[0], load_weights(tmp_path / "mine.pt")[0]
    assert before.keys() == after.keys()
    for name, value in after.items():
        assert torch.equal(value, before[name]) != name.startswith("cls_head."), name
    card = (tmp_path / "mine.md").read_text()
    assert f"my:train, begun from {base[0].output}, only the head trained |" in card


def test_thawed_all_is_trained(job, base, tmp_path):
    trained(job(init=base[0].output, learning_rate=0.5))
    before, after = load_weights(base[0].output)[0], load_weights(tmp_path / "mine.pt")[0]
    assert not torch.equal(after["backbone.conv1.conv.weight"], before["backbone.conv1.conv.weight"])
    assert not torch.equal(after["backbone.conv1.bn.running_mean"], before["backbone.conv1.bn.running_mean"])
