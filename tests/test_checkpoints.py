"""Checkpoints of PYSKL and MMAction2: recognised, refused, and exported with PYSKL's own answers."""

import argparse
import datetime
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from poseact.bundle import load_bundle, load_weights
from poseact.checkpoints import ExportJob, export_checkpoint, identify, is_bundle, read_checkpoint
from poseact.classifier import Classifier
from poseact.errors import InputError, ModelError, OutputError, UsageError
from poseact.heatmaps import PYSKL_RULE, heatmap_volume
from poseact.modality import guess_modality
from poseact.nets import NETS
from poseact.nets.c3d import c3d
from poseact.nets.slowonly import slowonly
from poseact.nets.x3d import x3d
from poseact.skeleton import BODY13, COCO17, conversion

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

from pyskl_parity import CHECKPOINTS, compare

LABELS = ("wave", "sit", "run")
BUILDERS = {
    "slowonly": lambda channels: slowonly(channels, 3, width=8, blocks=(1, 1, 1)),
    "c3d": lambda channels: c3d(channels, 3, width=8, stages=3),
    "x3d": lambda channels: x3d(channels, 3, width=24, blocks=(1, 1, 1)),
}
# Someone who crouches and stretches an arm out, unlike any pose that the code knows; a person's height is 1.
CROUCHING = (
    *((0.05, 0.3), (0.07, 0.28), (0.04, 0.28), (0.1, 0.29), (0.01, 0.3), (0.16, 0.4), (-0.03, 0.42)),
    *((0.33, 0.38), (-0.1, 0.55), (0.48, 0.33), (0.02, 0.66), (0.1, 0.68), (-0.04, 0.69)),
    *((0.28, 0.72), (-0.24, 0.75), (0.2, 0.94), (-0.15, 0.96)),
)


def crouching(layout, limbs, people=1, score=0.9):
    """(1, K or L, 48, 64, 64): someone, or several beside each other, who sway."""
    generator = torch.Generator().manual_seed(5)
    pose = 250 * torch.tensor(CROUCHING)[list(conversion(COCO17, layout))]
    sway = 8 * torch.randn((1, people, 48, len(layout), 2), generator=generator)
    beside = torch.stack([200.0 * torch.arange(people), torch.zeros(people)], dim=1)[None, :, None, None]
    keypoints = 60 + pose + sway + beside
    scores = torch.full(keypoints.shape[:-1], score)
    return heatmap_volume(keypoints, scores, torch.full((1, 2), 900.0), PYSKL_RULE, layout.limbs if limbs else None)


@torch.no_grad()
def calibrated(net, volume):
    """The network with the batch norm that it would have if it had seen nothing but this volume."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()(volume)
    return net.eval()


def trained(kind="slowonly", limbs=False, layout=COCO17):
    torch.manual_seed(1)
    channels = len(layout.limbs) if limbs else len(layout)
    return calibrated(BUILDERS[kind](channels), crouching(layout, limbs))


@pytest.fixture(scope="module")
def state():
    return trained().state_dict()


@pytest.fixture
def job(tmp_path, state):
    """An export of a small SlowOnly of joints that would succeed."""
    checkpoint, labels = tmp_path / "epoch_24.pth", tmp_path / "labels.txt"
    torch.save({"meta": {"epoch": 24}, "state_dict": state}, checkpoint)
    labels.write_text("\n".join(LABELS))
    return ExportJob(checkpoint, labels, tmp_path / "out.pt")


def refused(job, error, *words):
    """The export ends with that error, and what was at the output is still there."""
    job.output.write_text("precious")
    with pytest.raises(error) as found:
        export_checkpoint(job)
    for word in words:
        assert word in str(found.value)
    assert job.output.read_text() == "precious"
    assert not list(job.output.parent.glob("*.part"))


# What a checkpoint is


@pytest.mark.parametrize("name", NETS)
def test_each_network_is_known_by_its_weights(name):
    with torch.device("meta"):
        found = identify(NETS[name].build(17, 60).state_dict())
    assert (found.name, found.clip_len, found.size) == (name, NETS[name].clip_len, NETS[name].size)


@pytest.mark.parametrize(
    "net",
    [
        lambda: slowonly(17, 60, width=24, blocks=(2, 1, 3)),
        lambda: slowonly(17, 60, width=8, blocks=(1, 2, 1, 3)),
        lambda: c3d(13, 7, width=16),
        lambda: c3d(13, 7, width=64, stages=3),
        lambda: x3d(17, 60, blocks=(3, 12, 1)),
        lambda: x3d(17, 60, width=16),
    ],
)
def test_width_and_depth_are_read_off_the_weights(net):
    with torch.device("meta"):
        state = net().state_dict()
        found = identify(state)
        rebuilt = found.build(*_ends(state)).state_dict()
    assert found.name not in NETS
    assert {key: value.shape for key, value in rebuilt.items()} == {key: value.shape for key, value in state.items()}


def _ends(state):
    stem = next(value for key, value in state.items() if key.startswith("backbone.conv1") and value.dim() == 5)
    return stem.shape[1], len(state["cls_head.fc_cls.weight"])


def wrapped(state, how):
    if how == "bare":
        return dict(state)
    if how == "distributed":
        return {"state_dict": {f"module.{key}": value for key, value in state.items()}, "optimizer": {"lr": 0.1}}
    if how == "mmengine":
        extra = {"data_preprocessor.mean": torch.zeros(3)}
        return {"meta": {"cfg": "model = dict()"}, "state_dict": {**extra, **state}, "param_schedulers": []}
    if how == "half":
        return {"state_dict": {k: v.half() if v.is_floating_point() else v for k, v in state.items()}}
    assert how == "old"
    return {"state_dict": {key: value for key, value in state.items() if "num_batches" not in key}}


@pytest.mark.parametrize("how", ["bare", "distributed", "mmengine", "half", "old"])
def test_wrappers_and_trainers_leave_their_marks_and_do_no_harm(job, state, how):
    torch.save(wrapped(state, how), job.checkpoint)
    export_checkpoint(job)
    weights, _ = load_weights(job.output)
    expected = {k: v for k, v in state.items() if v.is_floating_point()}
    assert expected.keys() <= weights.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=2e-3 if how == "half" else 0, atol=1e-4 * (how == "half"))


def test_the_bundle_says_how_pyskl_looks_at_poses(job):
    told = []
    info = export_checkpoint(replace(job, licence="CC0", window=4.0, subjects="all"), log=told.append)
    assert told == ["slowonly (width 8, 1-1-1), joint, coco17, 3 classes (read off the weights)"]
    assert (info.name, info.labels, info.layout, info.licence) == ("out", LABELS, "coco17", "CC0")
    assert (info.window, info.stride, info.clip_len, info.subjects) == (4.0, 2.0, 48, "all")
    assert (info.modality, info.limbs, info.volume) == ("joint", (), PYSKL_RULE)
    assert is_bundle(job.output)
    assert not is_bundle(job.checkpoint)
    assert load_bundle(job.output, torch.device("cpu"))[1] == info


def test_by_default_two_people_are_seen_for_three_seconds(job):
    info = export_checkpoint(job)
    assert (info.window, info.subjects) == (3.0, 2)


# Joints or limbs


@pytest.mark.parametrize("layout", [COCO17, BODY13], ids=lambda layout: layout.name)
@pytest.mark.parametrize("limbs", [False, True], ids=["joints", "limbs"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_batch_norm_tells_joints_from_limbs(kind, limbs, layout):
    assert guess_modality(trained(kind, limbs, layout), layout) == ("limb" if limbs else "joint")


def test_where_limbs_are_fewer_than_keypoints_the_channels_tell():
    layout = replace(BODY13, limbs=BODY13.limbs[:5])
    assert guess_modality(trained(limbs=True, layout=layout), layout) == "limb"
    assert guess_modality(trained(layout=layout), layout) == "joint"


@pytest.mark.parametrize(("people", "score"), [(1, 0.4), (2, 0.9), (3, 0.7)])
@pytest.mark.parametrize("limbs", [False, True], ids=["joints", "limbs"])
def test_that_holds_for_two_or_three_people_and_low_scores(limbs, people, score):
    torch.manual_seed(2)
    net = calibrated(BUILDERS["slowonly"](17), crouching(COCO17, limbs, people, score))
    assert guess_modality(net, COCO17) == ("limb" if limbs else "joint")


def test_limbs_are_exported_with_their_order(job):
    torch.save(trained(limbs=True).state_dict(), job.checkpoint)
    info = export_checkpoint(job)
    assert (info.modality, info.limbs) == ("limb", COCO17.limbs)


def test_what_is_said_is_believed(job):
    told = []
    info = export_checkpoint(replace(job, modality="limb"), log=told.append)
    assert info.modality == "limb"
    assert told == ["slowonly (width 8, 1-1-1), coco17, 3 classes (read off the weights)"]


def test_a_batch_norm_that_saw_nothing_tells_nothing(job):
    torch.save(BUILDERS["slowonly"](17).state_dict(), job.checkpoint)
    refused(job, ModelError, "joints or on limbs", "--modality")


def test_thirteen_channels_are_body13(job):
    torch.save(trained(layout=BODY13).state_dict(), job.checkpoint)
    assert export_checkpoint(job).layout == "body13"
    refused(replace(job, layout="coco17"), ModelError, "13 channels", "coco17 (17 keypoints")


def test_channels_of_no_layout_are_refused(job):
    torch.save(BUILDERS["c3d"](3).state_dict(), job.checkpoint)
    refused(job, ModelError, "3 channels", "coco17", "body13")


def test_a_c3d_of_four_stages_comes_with_a_warning(job):
    net = calibrated(c3d(17, 3, width=8), crouching(COCO17, False))
    torch.save(net.state_dict(), job.checkpoint)
    told = []
    export_checkpoint(job, log=told.append)
    assert "pools before the last one" in told[1]


# Bad input


def test_a_file_that_is_not_there(job):
    job.checkpoint.unlink()
    refused(job, ModelError, "epoch_24.pth does not exist")


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint at all", b"\x80\x02}q\x00", b"PK\x03\x04" + bytes(200)], ids=range(4)
)
def test_a_file_that_is_no_checkpoint(job, content):
    job.checkpoint.write_bytes(content)
    refused(job, ModelError, "epoch_24.pth is no checkpoint")


def test_half_a_checkpoint(job):
    whole = job.checkpoint.read_bytes()
    job.checkpoint.write_bytes(whole[: len(whole) // 2])
    refused(job, ModelError, "is no checkpoint")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}, {"state_dict": 7}, torch.ones(3)])
def test_a_file_without_a_state_dict(job, content):
    torch.save(content, job.checkpoint)
    refused(job, ModelError, "holds no state dict")


@pytest.mark.parametrize(
    ("asks", "name"),
    [(argparse.Namespace(lr=1), "argparse.Namespace"), (datetime.date(2020, 1, 1), "datetime.date")],
)
def test_what_a_checkpoint_asks_for_beyond_weights_is_refused_by_name(job, state, asks, name):
    torch.save({"state_dict": state, "meta": asks}, job.checkpoint)
    refused(job, ModelError, f"asks for {name}", "refused")


def test_torchscript_is_no_checkpoint(job):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(job.checkpoint))
    refused(job, ModelError, "is TorchScript")


def test_the_weights_of_another_architecture_are_named(job):
    torch.save({"backbone.gcn.0.A": torch.ones(3), "backbone.gcn.0.W": torch.ones(3)}, job.checkpoint)
    refused(job, ModelError, "no SlowOnly, C3D or X3D", "backbone.gcn.0.A")


def test_the_weights_that_differ_are_named(job, state):
    lacking = {key: value for key, value in state.items() if not key.startswith("cls_head")}
    torch.save({**lacking, "backbone.layer1.0.se_module.fc1.weight": torch.ones(2)}, job.checkpoint)
    refused(job, ModelError, "it lacks cls_head.fc_cls.weight, cls_head.fc_cls.bias", "besides", "se_module.fc1")


def test_a_weight_of_another_shape_is_named(job, state):
    name = "backbone.layer2.0.conv1.conv.weight"
    torch.save({**state, name: state[name][:, :, :1]}, job.checkpoint)
    refused(job, ModelError, f"{name} (16, 32, 1, 1, 1) for (16, 32, 3, 1, 1)")


def test_a_network_that_was_named_must_fit(job):
    refused(replace(job, net="c3d-s"), ModelError, "no c3d-s checkpoint", "it lacks backbone.conv1a.conv.weight")
    with pytest.raises(UsageError, match="x3d-s"):
        replace(job, net="resnet")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(job, state, value):
    name = "backbone.conv1.bn.running_mean"
    torch.save({**state, name: torch.full_like(state[name], value)}, job.checkpoint)
    refused(job, ModelError, "NaN or infinite", name)


@pytest.mark.parametrize(
    "broken",
    [
        lambda weight: torch.tensor(1.0),
        lambda weight: weight[:0],
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to(torch.complex64),
        lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    ],
    ids=["scalar", "empty", "sparse", "complex", "quantised"],
)
@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_kind_are_refused(job, state, broken):
    name = "backbone.conv1.conv.weight"
    torch.save({**state, name: broken(state[name])}, job.checkpoint)
    refused(job, ModelError, name)


@pytest.mark.parametrize(
    ("text", "words"),
    [("a\nb", ("2 class names", "tells 3 apart")), ("a\nb\na", ("'a' more than once",)), ("", ("no class names",))],
)
def test_labels_that_do_not_fit(job, text, words):
    job.labels.write_text(text)
    refused(job, InputError, *words)


def test_places_that_cannot_be_written(job, tmp_path):
    with pytest.raises(OutputError, match="does not exist; make it first"):
        replace(job, output=tmp_path / "no" / "out.pt")
    with pytest.raises(OutputError, match="is a folder"):
        replace(job, output=tmp_path)
    for source in (job.checkpoint, job.labels):
        with pytest.raises(UsageError, match="would overwrite"):
            replace(job, output=source)


@pytest.mark.parametrize(
    "option", [{"window": 0}, {"window": float("nan")}, {"subjects": 0}, {"layout": "mpii"}, {"modality": "bone"}]
)
def test_options_that_make_no_sense(job, option):
    with pytest.raises(UsageError):
        replace(job, **option)


# PYSKL's own


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_exported_checkpoint_answers_as_pyskl_did(shared, tmp_path, name):
    """The shortest of the three sequences; tests/benchmarks/pyskl_parity.py runs them all."""
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(map(str, range(60))))
    info = export_checkpoint(ExportJob(shared / "reference" / f"{name}.pth", labels, tmp_path / "out.pt"))
    assert info.modality == name.rpartition("_")[2]
    assert info.net == {"slow": "slowonly", "c3d_": "c3d-s", "x3d_": "x3d-s"}[name[:4]]
    classifier = Classifier(tmp_path / "out.pt", "cpu", "float32")
    difference, same_order = compare(classifier, np.load(shared / "reference" / f"{name}.npz"), "short1p")
    assert difference < 1e-4  # 2e-3 is demanded
    assert same_order


def test_reading_gives_float32(job, state):
    torch.save(wrapped(state, "half"), job.checkpoint)
    assert {v.dtype for v in read_checkpoint(job.checkpoint).values()} == {torch.float32, torch.int64}
