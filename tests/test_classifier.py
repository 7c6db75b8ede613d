"""Bundles: written, read back, refused; and the volume that a classifier looks at."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from poseact.classifier import METADATA_FILE, BundleInfo, Classifier, save_bundle
from poseact.errors import ModelError, OutputError
from poseact.heatmaps import VolumeRule
from poseact.nets.slowonly import SlowOnly
from poseact.poses import PoseSequence
from poseact.skeleton import BODY13, COCO17

INFO = BundleInfo(
    name="tiny",
    version="0.1.0",
    labels=("wave", "jump", "sit"),
    layout="body13",
    window=1.0,
    stride=0.5,
    clip_len=5,
    volume=VolumeRule(size=(16, 24), sigma=0.8, least_score=0.1),
    subjects=2,
    aliases={"hop": "jump"},
    temperature=1.5,
    rejection_threshold=0.3,
    training_data="drawn by hand",
    accuracy={"test": 0.5},
    licence="none",
)


def tiny_net(seed=0):
    torch.manual_seed(seed)
    net = SlowOnly(13, 3, width=4, blocks=(1, 1, 1))
    torch.nn.init.normal_(net.cls_head.fc_cls.weight)  # a new head is nearly zero and says the same of all
    return net


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.pt"
    save_bundle(tiny_net(), INFO, path)
    return path


@pytest.fixture(scope="module")
def classifier(bundle):
    return Classifier(bundle, "cpu")


def walker(times, people=1, layout=BODY13, lift=0.0):
    """People who stand in a column of keypoints 10 pixels apart and go right by 40 pixels a second; their
    keypoint 5 is lifted by `lift` pixels a second."""
    times = np.asarray(times, dtype=np.float64)
    t, k = len(times), len(layout)
    keypoints = np.zeros((people, t, k, 2), np.float32)
    keypoints[..., 0] = 100 + 40 * times[:, None] + 60 * np.arange(people)[:, None, None]
    keypoints[..., 1] = 50 + 10 * np.arange(k)
    keypoints[:, :, 5, 1] -= (lift * times).astype(np.float32)
    return PoseSequence(
        keypoints=keypoints,
        scores=np.full((people, t, k), 0.9, np.float32),
        times=times,
        image_size=(480, 640),
        layout=layout,
        track_ids=np.arange(people),
        boxes=np.zeros((people, t, 4), np.float32),
    )


AT_10 = np.arange(10) / 10


def changed_json(**changes):
    return json.dumps({**json.loads(INFO.to_json()), **changes})


def test_what_a_bundle_says_of_itself_survives_the_file(classifier):
    assert classifier.info == INFO
    assert classifier.info.volume.size == (16, 24)
    assert classifier.layout is BODY13


def test_metadata_lies_in_the_file_as_json(bundle):
    extra = {METADATA_FILE: ""}
    torch.jit.load(str(bundle), _extra_files=extra)
    content = json.loads(extra[METADATA_FILE])
    assert content["format"] == 1
    assert content["labels"] == ["wave", "jump", "sit"]


@pytest.mark.parametrize(
    "changed",
    [{"labels": ["wave", "jump"], "aliases": {}}, {"layout": "coco17"}, {"rejection_threshold": "much"}],
)
def test_a_network_that_does_not_fit_its_description_is_a_model_error(tmp_path, bundle, changed):
    path = tmp_path / "odd.pt"
    net = torch.jit.load(str(bundle))
    torch.jit.save(net, str(path), _extra_files={METADATA_FILE: changed_json(**changed)})
    with pytest.raises(ModelError, match=r"odd\.pt"):
        Classifier(path, "cpu")


def test_keys_of_later_versions_are_ignored():
    assert BundleInfo.from_json(changed_json(colour="blue")) == INFO


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layout": "hand21"}, "unknown keypoint layout 'hand21'"),
        ({"labels": ("wave",)}, "at least two different names"),
        ({"labels": ("wave", "wave")}, "at least two different names"),
        ({"modality": "limb"}, "modality 'limb' is not known"),
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


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        changed_json(format=2),
        changed_json(volume={"size": [0, 0]}),
        changed_json(volume={"colour": 1}),
        changed_json(layout="hand21"),
        json.dumps({key: value for key, value in json.loads(INFO.to_json()).items() if key != "window"}),
    ],
)
def test_a_bundle_with_other_metadata_is_a_model_error(tmp_path, text):
    path = tmp_path / "odd.pt"
    torch.jit.save(torch.jit.script(tiny_net()), str(path), _extra_files={METADATA_FILE: text})
    with pytest.raises(ModelError, match=r"odd\.pt is no usable classifier bundle: poseact\.json in it"):
        Classifier(path, "cpu")


def test_torchscript_without_metadata_is_a_model_error(tmp_path):
    path = tmp_path / "plain.pt"
    torch.jit.save(torch.jit.script(tiny_net()), str(path))
    with pytest.raises(ModelError, match=r"plain\.pt is TorchScript but not a classifier bundle: it has no poseact"):
        Classifier(path, "cpu")


def test_other_files_are_model_errors(tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(tiny_net().state_dict(), weights)
    text = tmp_path / "text.pt"
    text.write_text("wave\njump\n")
    for path in (weights, text):
        with pytest.raises(ModelError, match=f"{path.name} is not a classifier bundle .* `poseact train` writes"):
            Classifier(path, "cpu")
    with pytest.raises(ModelError, match=r"absent\.pt does not exist; `poseact models` lists"):
        Classifier(tmp_path / "absent.pt", "cpu")


def test_a_truncated_bundle_is_a_model_error(tmp_path, bundle):
    path = tmp_path / "half.pt"
    path.write_bytes(bundle.read_bytes()[: bundle.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"half\.pt is not a classifier bundle"):
        Classifier(path, "cpu")


def test_a_bundle_appears_whole_and_alone(bundle):
    assert [path.name for path in bundle.parent.iterdir()] == ["tiny.pt"]


def test_a_bundle_that_cannot_be_written_is_an_output_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.pt").mkdir()
    for path in (tmp_path / "absent" / "tiny.pt", tmp_path / "taken.pt", tmp_path / "file" / "tiny.pt"):
        with pytest.raises(OutputError, match=f"{path.name} cannot be written"):
            save_bundle(tiny_net(), INFO, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.pt"]


def test_a_network_in_training_is_saved_for_running_and_left_as_it_was(tmp_path):
    net = tiny_net().train()
    save_bundle(net, INFO, tmp_path / "tiny.pt")
    assert net.training
    assert not torch.jit.load(str(tmp_path / "tiny.pt")).training


def test_probabilities_of_clips(classifier):
    clips = [(walker(AT_10), 0, 1), (walker(AT_10, people=2, lift=80), 0, 1)]
    probabilities = classifier.probabilities(clips)
    assert probabilities.shape == (2, 3)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-3


def test_a_clip_gets_the_same_probabilities_alone_among_others_and_again(classifier):
    clips = [(walker(AT_10), 0, 1), (walker(AT_10, lift=80), 0, 1)]
    together, again = classifier.probabilities(clips), classifier.probabilities(clips)
    assert (together == again).all()
    assert (together[1] == classifier.probabilities(clips[1:])[0]).all()


def test_a_bundle_computes_what_the_network_does(classifier):
    clip = (walker(AT_10, lift=80), 0, 1)
    with torch.inference_mode():
        logits = tiny_net().eval()(classifier.volume(*clip))
    expected = (logits / INFO.temperature).softmax(dim=1)[0]
    assert classifier.probabilities([clip])[0] == pytest.approx(expected.numpy(), abs=5e-3)  # weights are halves


def test_temperature_divides_the_logits(tmp_path, classifier):
    path = tmp_path / "sharp.pt"
    save_bundle(tiny_net(), replace(INFO, temperature=INFO.temperature / 2), path)
    clips = [(walker(AT_10), 0, 1)]
    soft, sharp = classifier.probabilities(clips)[0], Classifier(path, "cpu").probabilities(clips)[0]
    # Half the temperature squares the odds.
    assert sharp == pytest.approx(soft**2 / (soft**2).sum(), abs=1e-5)


def test_axes_of_the_volume(classifier):
    volume = classifier.volume(walker(AT_10, people=2), 0, 1)
    assert volume.shape == (1, 13, 5, 16, 24)
    assert 0.5 < volume.max() <= 0.9


def test_frames_are_sampled_by_time_and_not_by_index(classifier):
    # The clip's five samples lie at 0.1, 0.3, ... 0.9 s, where there is a frame at each of these rates.
    slow = classifier.volume(walker(AT_10, lift=80), 0, 1)
    fast = classifier.volume(walker(np.arange(40) / 40, lift=80), 0, 1)
    torch.testing.assert_close(slow, fast, atol=1e-4, rtol=0)
    uneven = classifier.volume(walker([0.1, 0.28, 0.29, 0.3, 0.31, 0.5, 0.7, 0.71, 0.9], lift=80), 0, 1)
    torch.testing.assert_close(slow, uneven, atol=1e-4, rtol=0)
    assert (slow - classifier.volume(walker(AT_10, lift=40), 0, 1)).abs().max() > 0.1


def test_a_clip_begins_and_ends_where_it_is_told(classifier):
    long = walker(np.arange(30) / 10, lift=80)
    part = walker(np.arange(10, 20) / 10, lift=80)
    torch.testing.assert_close(classifier.volume(long, 1, 2), classifier.volume(part, 1, 2))


def test_other_layouts_are_converted(classifier):
    coco = walker(AT_10, layout=COCO17)
    body = walker(AT_10)
    body.keypoints[...] = coco.keypoints[:, :, [0, *range(5, 17)]]
    torch.testing.assert_close(classifier.volume(coco, 0, 1), classifier.volume(body, 0, 1))


def test_the_dictionary_of_a_bundle_is_plain(classifier):
    assert json.loads(classifier.info.to_json()) == {"format": 1, **json.loads(json.dumps(asdict(INFO)))}
