"""Bundles: what they say of themselves, written, read back, trained on from, and refused."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from small import tiny_net, with_used_batch_norm
from torch import nn

from poseact.bundle import (
    METADATA_FILE,
    BundleInfo,
    load_bundle,
    load_weights,
    no_jit_warnings,
    replace_info,
    save_bundle,
)
from poseact.classifier import Classifier
from poseact.errors import ModelError, OutputError
from poseact.heatmaps import VolumeRule

INFO = BundleInfo(
    name="tiny",
    version="0.1.0",
    labels=("wave", "jump", "sit"),
    layout="body13",
    window=1.0,
    stride=0.5,
    clip_len=5,
    net="slowonly",
    volume=VolumeRule(size=(16, 24), sigma=1.0, least_score=0.1),
    subjects=2,
    aliases={"hop": "jump"},
    temperature=1.5,
    rejection_threshold=0.3,
    training_data="drawn by hand",
    accuracy={"test": 0.5},
    licence="none",
)
LIMBS = replace(INFO, modality="limb", limbs=((0, 1), (0, 2), (1, 7)), subjects="all")
CPU = torch.device("cpu")


def net_of(info=INFO):
    return with_used_batch_norm(tiny_net(len(info.labels), info.channels))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.pt"
    save_bundle(net_of(), INFO, path)
    return path


def changed_json(**changes):
    return json.dumps({**json.loads(INFO.to_json()), **changes})


def save_script(net, path, text=None):
    with no_jit_warnings():
        extra = None if text is None else {METADATA_FILE: text}
        torch.jit.save(torch.jit.script(net.eval()), str(path), _extra_files=extra)
    return path


# What it says of itself


def test_what_a_bundle_says_of_itself_survives_the_file(bundle):
    _, info = load_bundle(bundle, CPU)
    assert info == INFO
    assert info.volume.size == (16, 24)
    assert (info.channels, info.limbs) == (13, ())


def test_limbs_survive_json_as_pairs():
    again = BundleInfo.from_json(LIMBS.to_json())
    assert again == LIMBS
    assert again.limbs == ((0, 1), (0, 2), (1, 7))
    assert again.channels == 3
    assert json.loads(LIMBS.to_json())["limbs"] == [[0, 1], [0, 2], [1, 7]]


def test_the_json_of_a_bundle_is_plain_and_lies_in_the_file(bundle):
    extra = {METADATA_FILE: ""}
    torch.jit.load(str(bundle), _extra_files=extra)
    content = json.loads(extra[METADATA_FILE])
    assert content == {"format": 1, **json.loads(json.dumps(asdict(INFO)))}
    assert content["labels"] == ["wave", "jump", "sit"]


def test_a_bundle_of_before_there_were_limbs_and_nets_is_read():
    content = json.loads(INFO.to_json())
    del content["limbs"], content["net"]
    assert BundleInfo.from_json(json.dumps(content)) == replace(INFO, net="")


def test_keys_of_later_versions_are_ignored():
    assert BundleInfo.from_json(changed_json(colour="blue")) == INFO


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layout": "hand21"}, "unknown keypoint layout 'hand21'"),
        ({"labels": ("wave",)}, "at least two different names"),
        ({"labels": ("wave", "wave")}, "at least two different names"),
        ({"modality": "face"}, "modality 'face' is not known"),
        ({"modality": "limb"}, "limbs must be given for the limb modality, and only for it"),
        ({"limbs": ((0, 1),)}, "limbs must be given for the limb modality, and only for it"),
        ({"modality": "limb", "limbs": ((0, 13),)}, "limbs must be pairs of the 13 keypoints of body13"),
        ({"modality": "limb", "limbs": ((-1, 2),)}, "limbs must be pairs of the 13 keypoints of body13"),
        ({"subjects": 0}, "subjects must be 'all' or a count, got 0"),
        ({"subjects": "many"}, "subjects must be 'all' or a count, got 'many'"),
        ({"window": 0}, "must be above 0"),
        ({"stride": -1}, "must be above 0"),
        ({"temperature": 0}, "must be above 0"),
        ({"clip_len": 0}, "must be above 0"),
        ({"window": float("nan")}, "must be above 0"),
        ({"rejection_threshold": 1.5}, r"must be in \[0, 1\]"),
        ({"aliases": {"leap": "fly"}}, "an alias must stand for one of the labels"),
    ],
)
def test_a_bundle_must_make_sense(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(INFO, **changed)


# Written


def test_half_rounds_the_weights_but_not_batch_norm(tmp_path, bundle):
    script, _ = load_bundle(bundle, CPU)
    wanted = net_of().state_dict()
    for name, value in script.state_dict().items():
        of_norm = ".bn." in name
        if value.is_floating_point():
            assert value.dtype == (torch.float32 if of_norm else torch.float16), name
        assert torch.equal(value, wanted[name] if of_norm else wanted[name].half()), name
    save_bundle(net_of(), INFO, tmp_path / "full.pt", half=False)
    script, _ = load_bundle(tmp_path / "full.pt", CPU)
    assert {value.dtype for value in script.parameters()} == {torch.float32}
    assert bundle.stat().st_size < 0.75 * (tmp_path / "full.pt").stat().st_size


def test_a_network_in_training_is_saved_for_running_and_left_as_it_was(tmp_path):
    net = net_of().train()
    save_bundle(net, INFO, tmp_path / "tiny.pt")
    assert net.training
    assert {value.dtype for value in net.parameters()} == {torch.float32}
    assert not torch.jit.load(str(tmp_path / "tiny.pt")).training


def test_a_bundle_appears_whole_and_alone(bundle):
    assert [path.name for path in bundle.parent.iterdir()] == ["tiny.pt"]


def test_a_bundle_that_cannot_be_written_is_an_output_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.pt").mkdir()
    for path in (tmp_path / "absent" / "tiny.pt", tmp_path / "taken.pt", tmp_path / "file" / "tiny.pt"):
        with pytest.raises(OutputError, match=f"{path.name} cannot be written"):
            save_bundle(net_of(), INFO, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.pt"]


def test_a_bundle_says_something_else_and_stays_the_same_network(tmp_path, bundle):
    path = tmp_path / "told.pt"
    path.write_bytes(bundle.read_bytes())
    told = replace(INFO, name="told", accuracy={"test": 0.75})
    replace_info(path, told)
    (script, info), (before, _) = load_bundle(path, CPU), load_bundle(bundle, CPU)
    assert info == told
    found = script.state_dict()
    assert all(torch.equal(found[name], value) for name, value in before.state_dict().items())
    assert {value.dtype for value in found.values()} == {torch.float16, torch.float32, torch.int64}


def test_the_weights_of_a_bundle_fit_into_its_network_again(bundle):
    weights, info = load_weights(bundle)
    assert info == INFO
    assert all(value.dtype == torch.float32 for value in weights.values())
    net = tiny_net(3, seed=9)
    net.load_state_dict(weights)
    for name, value in net_of().state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-3, atol=1e-6)


def test_no_warning_of_torch_reaches_the_user(bundle, tmp_path, recwarn):
    save_bundle(net_of(), INFO, tmp_path / "quiet.pt")
    Classifier(tmp_path / "quiet.pt", "cpu")
    load_weights(bundle)
    assert [str(warning.message) for warning in recwarn] == []


# Refused


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ["wave", "jump"], "aliases": {}}, r"gives \(1, 3\), but it has 2 labels"),
        ({"layout": "coco17"}, r"does not take the volume \(1, 17, 5, 16, 24\) that it describes"),
        ({"modality": "limb", "limbs": [[0, 1]]}, r"does not take the volume \(1, 1, 5, 16, 24\)"),
        ({"rejection_threshold": "much"}, "no usable classifier bundle"),
        ({"modality": "limb", "limbs": [0, 1]}, "no usable classifier bundle"),
    ],
)
def test_a_network_that_does_not_fit_its_description_is_a_model_error(tmp_path, changed, message):
    path = save_script(net_of(), tmp_path / "odd.pt", changed_json(**changed))
    with pytest.raises(ModelError, match=rf"odd\.pt.*{message}"):
        Classifier(path, "cpu")


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        changed_json(format=2),
        changed_json(volume={"size": [0, 0]}),
        changed_json(volume={"colour": 1}),
        changed_json(volume={"size": [16, 24], "use_scores": [1]}),
        changed_json(volume={"size": [16, 24, 8]}),
        changed_json(layout="hand21"),
        changed_json(limbs=[[0, 1, 2]], modality="limb"),
        json.dumps({key: value for key, value in json.loads(INFO.to_json()).items() if key != "window"}),
    ],
)
@pytest.mark.parametrize("load", [lambda path: load_bundle(path, CPU), load_weights], ids=["bundle", "weights"])
def test_a_bundle_with_other_metadata_is_a_model_error(tmp_path, text, load):
    path = save_script(nn.Identity(), tmp_path / "odd.pt", text)
    with pytest.raises(ModelError, match=r"odd\.pt is no usable classifier bundle: poseact\.json in it"):
        load(path)


def test_torchscript_without_metadata_is_a_model_error(tmp_path):
    path = save_script(nn.Identity(), tmp_path / "plain.pt")
    with pytest.raises(ModelError, match=r"plain\.pt is TorchScript but not a classifier bundle: it has no poseact"):
        load_bundle(path, CPU)


def test_other_files_are_model_errors(tmp_path, bundle):
    torch.save(net_of().state_dict(), tmp_path / "weights.pth")
    (tmp_path / "text.pt").write_text("wave\njump\n")
    (tmp_path / "half.pt").write_bytes(bundle.read_bytes()[: bundle.stat().st_size // 2])
    for path in tmp_path.iterdir():
        with pytest.raises(ModelError, match=f"{path.name} is not a classifier bundle .* `poseact train` writes"):
            load_bundle(path, CPU)
    with pytest.raises(ModelError, match=r"absent\.pt does not exist; `poseact models` lists"):
        load_bundle(tmp_path / "absent.pt", CPU)


def test_a_bundle_on_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        save_bundle(tiny_net(3), INFO, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_same_network_makes_the_same_file(tmp_path):
    net = tiny_net(3)
    for name in ("a.pt", "b.pt"):
        save_bundle(net, INFO, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
