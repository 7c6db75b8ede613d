"""Classifiers: the volume that one looks at, its views of a sequence, and the average of several."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import tiny_net
from test_bundle import INFO

import poseact.classifier
from poseact.bundle import save_bundle
from poseact.classifier import Classifier, Ensemble, load_classifier
from poseact.errors import UsageError
from poseact.poses import PoseSequence
from poseact.skeleton import BODY13, COCO17

LIMB_INFO = replace(INFO, modality="limb", limbs=BODY13.limbs)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(name, info, seed): a classifier in float32 with the weights of that seed."""

    def make(name, info=INFO, seed=0):
        path = tmp_path_factory.mktemp("bundle") / f"{name}.pt"
        save_bundle(tiny_net(len(info.labels), info.channels, seed), info, path)
        return Classifier(path, "cpu", "float32")

    return make


@pytest.fixture(scope="module")
def classifier(make):
    return make("tiny")


@pytest.fixture(scope="module")
def limbs(make):
    return make("limbs", LIMB_INFO, seed=2)


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


@pytest.fixture
def volume_of(classifier, monkeypatch):
    """volume_of(poses, start, end): the volume that the network is shown."""
    seen = []
    monkeypatch.setattr(classifier, "_net", lambda x, real=classifier._net: seen.append(x) or real(x))

    def volume_of(*clip):
        classifier.probabilities([clip])
        return seen.pop()

    return volume_of


# Clips


def test_probabilities_of_clips(classifier):
    clips = [(walker(AT_10), 0, 1), (walker(AT_10, people=2, lift=80), 0, 1)]
    probabilities = classifier.probabilities(clips)
    assert probabilities.shape == (2, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-3


def test_a_clip_gets_the_same_probabilities_alone_among_others_and_again(classifier):
    clips = [(walker(AT_10), 0, 1), (walker(AT_10, lift=80), 0, 1)]
    together, again = classifier.probabilities(clips), classifier.probabilities(clips)
    assert (together == again).all()
    assert (together[1] == classifier.probabilities(clips[1:])[0]).all()


@pytest.mark.parametrize(
    ("people", "together"), [([1, 2, 1], [8, 1]), ([1] * 8, [8]), ([1] * 9, [8, 1]), ([1] * 10 + [3], [8, 8, 1])]
)
def test_on_a_gpu_clips_of_as_many_people_go_together(make, monkeypatch, people, together):
    """In numbers for which there is a graph."""
    clips = [(walker(AT_10, people=each, lift=9 * row), 0, 1) for row, each in enumerate(people)]
    classifier = make("alone", INFO)
    alone, seen = classifier.probabilities(clips), []
    on_gpu = SimpleNamespace(device=torch.device("cuda"))
    for rule in ("_together", "_filled_up"):
        monkeypatch.setattr(classifier, rule, partial(getattr(Classifier, rule), on_gpu))
    graphs = classifier._graphs
    monkeypatch.setattr(classifier, "_graphs", lambda *inputs: seen.append(len(inputs[0])) or graphs(*inputs))
    assert classifier.probabilities(clips) == pytest.approx(alone, abs=1e-5)
    assert seen == together


def test_a_bundle_computes_what_the_network_does(classifier, volume_of):
    clip = (walker(AT_10, lift=80), 0, 1)
    with torch.inference_mode():
        logits = tiny_net(3).eval()(volume_of(*clip))
    expected = (logits / INFO.temperature).softmax(dim=1)[0]
    assert classifier.probabilities([clip])[0] == pytest.approx(expected.numpy(), abs=5e-3)  # weights are halves


def test_temperature_divides_the_logits(make, classifier):
    sharper = make("sharp", replace(INFO, temperature=INFO.temperature / 2))
    clips = [(walker(AT_10), 0, 1)]
    soft, sharp = classifier.probabilities(clips)[0], sharper.probabilities(clips)[0]
    # Half the temperature squares the odds.
    assert sharp == pytest.approx(soft**2 / (soft**2).sum(), abs=1e-5)


def test_axes_of_the_volume(volume_of):
    volume = volume_of(walker(AT_10, people=2), 0, 1)
    assert volume.shape == (1, 13, 5, 16, 24)
    assert 0.5 < volume.max() <= 0.9


def test_frames_are_sampled_by_time_and_not_by_index(volume_of):
    # The clip's five samples lie at 0.1, 0.3, ... 0.9 s, where there is a frame at each of these rates.
    slow = volume_of(walker(AT_10, lift=80), 0, 1)
    fast = volume_of(walker(np.arange(40) / 40, lift=80), 0, 1)
    torch.testing.assert_close(slow, fast, atol=1e-4, rtol=0)
    uneven = volume_of(walker([0.1, 0.28, 0.29, 0.3, 0.31, 0.5, 0.7, 0.71, 0.9], lift=80), 0, 1)
    torch.testing.assert_close(slow, uneven, atol=1e-4, rtol=0)
    assert (slow - volume_of(walker(AT_10, lift=40), 0, 1)).abs().max() > 0.1


def test_a_clip_begins_and_ends_where_it_is_told(volume_of):
    long = walker(np.arange(30) / 10, lift=80)
    part = walker(np.arange(10, 20) / 10, lift=80)
    torch.testing.assert_close(volume_of(long, 1, 2), volume_of(part, 1, 2))


def test_other_layouts_are_converted(volume_of):
    coco = walker(AT_10, layout=COCO17)
    body = walker(AT_10)
    body.keypoints[...] = coco.keypoints[:, :, [0, *range(5, 17)]]
    torch.testing.assert_close(volume_of(coco, 0, 1), volume_of(body, 0, 1))


# Precision


def test_a_precision_that_the_device_lacks_is_a_usage_error(classifier):
    with pytest.raises(UsageError, match="float16 is slow and inexact on a CPU; choose bfloat16 or float32"):
        Classifier(classifier.path, "cpu", "float16")


def test_bfloat16_is_close_and_its_probabilities_are_float32(classifier):
    clips = [(walker(AT_10, lift=80), 0, 1)]
    found = Classifier(classifier.path, "cpu", "bfloat16").probabilities(clips)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - classifier.probabilities(clips)).max() < 0.05


# Views of a sequence


# In a picture as large as the volume, a body lower than 10 pixels is shown where it is, without a crop. Gaussians of
# sigma 1 end in whole pixels, on both sides alike.
PICTURE = torch.tensor([[16.0, 24.0]])


def body_in_picture(n_frames, seed=0):
    """(1, 1, T, 13, 2) keypoints in whole pixels, 8 high, left of the middle, other ones in each frame; scores."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 10, (1, 1, n_frames, 13), generator=generator)
    y = torch.randint(4, 12, (1, 1, n_frames, 13), generator=generator)
    scores = 0.5 + 0.5 * torch.rand((1, 1, n_frames, 13), generator=generator)
    return torch.stack([x, y], dim=-1).float(), scores


def mirrored_by_hand(keypoints, scores):
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
    other = keypoints[:, :, :, order].clone()
    other[..., 0] = 23 - other[..., 0]
    return other, scores[..., order]


@pytest.mark.parametrize("which", ["classifier", "limbs"])
def test_the_mirror_image_is_the_body_mirrored_by_hand(which, request):
    classifier = request.getfixturevalue(which)
    keypoints, scores = body_in_picture(5)
    one = classifier.classify(keypoints, scores, PICTURE)
    both = classifier.classify(keypoints, scores, PICTURE, mirror=True)
    other = classifier.classify(*mirrored_by_hand(keypoints, scores), PICTURE)
    torch.testing.assert_close(both, (one + other) / 2, rtol=0, atol=1e-4)
    assert (one - other).abs().max() > 1e-2


def test_limbs_in_another_order_than_the_layout_s_are_mirrored_by_their_own(make):
    order = [3, 12, 0, 5, 1, 7, 10, 2, 4, 6, 11, 8, 9]
    shuffled = make("shuffled", replace(LIMB_INFO, limbs=tuple(BODY13.limbs[i][::-1] for i in order)), seed=2)
    keypoints, scores = body_in_picture(5)
    one = shuffled.classify(keypoints, scores, PICTURE)
    other = shuffled.classify(*mirrored_by_hand(keypoints, scores), PICTURE)
    both = shuffled.classify(keypoints, scores, PICTURE, mirror=True)
    torch.testing.assert_close(both, (one + other) / 2, rtol=0, atol=1e-4)


def test_limbs_of_one_side_cannot_be_mirrored(make):
    lame = make("lame", replace(LIMB_INFO, limbs=(*BODY13.limbs[:-1], (0, 7))))
    keypoints, scores = body_in_picture(5)
    assert lame.classify(keypoints, scores, PICTURE).shape == (1, 3)
    with pytest.raises(UsageError, match=r"lame\.pt cannot be shown mirror images: .* head to left_hip but not"):
        lame.classify(keypoints, scores, PICTURE, mirror=True)


@pytest.mark.parametrize("which", ["classifier", "limbs"])
def test_the_views_of_each_sequence_are_averaged(which, request):
    classifier = request.getfixturevalue(which)
    clips = [[body_in_picture(5, seed=10 * sequence + clip) for clip in range(3)] for sequence in range(2)]
    keypoints = torch.cat([torch.cat([clip[0] for clip in each], dim=2) for each in clips])
    scores = torch.cat([torch.cat([clip[1] for clip in each], dim=2) for each in clips])
    found = classifier.classify(keypoints, scores, PICTURE.expand(2, 2), mirror=True)
    assert found.shape == (2, 3)
    for each, row in zip(clips, found, strict=True):
        views = [view for clip in each for view in (clip, mirrored_by_hand(*clip))]
        separate = [classifier.classify(*view, PICTURE)[0] for view in views]
        torch.testing.assert_close(row, torch.stack(separate).mean(dim=0), rtol=0, atol=1e-4)


def test_all_clips_of_a_sequence_share_one_crop(classifier, monkeypatch):
    seen = []
    real = poseact.classifier.heatmap_volume
    monkeypatch.setattr(
        poseact.classifier, "heatmap_volume", lambda *args, **more: seen.append(real(*args, **more)) or seen[-1]
    )
    low = torch.rand(1, 1, 5, 13, 2) * 50 + 20
    keypoints, scores = torch.cat([low, low + 300], dim=2), torch.full((1, 1, 10, 13), 0.9)
    classifier.classify(keypoints, scores, torch.tensor([[480.0, 640.0]]))
    (volume,) = seen
    first, second = volume[0, :, :5].sum(dim=(0, 1)), volume[0, :, 5:].sum(dim=(0, 1))
    assert first[8:, 12:].sum() == 0 < first[:8, :12].sum()
    assert second[:8, :12].sum() == 0 < second[8:, 12:].sum()


# Several


@pytest.fixture(scope="module")
def other(make):
    """Other weights, and the labels in another order."""
    return make("other", replace(INFO, labels=("sit", "wave", "jump"), temperature=1.0), seed=1)


def geometric_mean(probabilities, weights):
    product = torch.stack([p ** (w / sum(weights)) for p, w in zip(probabilities, weights, strict=True)]).prod(dim=0)
    return product / product.sum(dim=1, keepdim=True)


CLIPS = [(walker(AT_10), 0, 1), (walker(AT_10, lift=80), 0, 1)]


@pytest.mark.parametrize(
    ("weights", "shares"), [(None, (0.5, 0.5)), ([3, 1], (0.75, 0.25)), ([0.1, 0.3], (0.25, 0.75))]
)
def test_an_ensemble_is_the_weighted_geometric_mean_by_the_labels_names(classifier, other, weights, shares):
    ensemble = Ensemble([classifier, other], weights)
    one, two = classifier.probabilities(CLIPS), other.probabilities(CLIPS)[:, [1, 2, 0]]
    wanted = one ** shares[0] * two ** shares[1]
    wanted /= wanted.sum(axis=1, keepdims=True)
    found = ensemble.probabilities(CLIPS)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, abs=1e-6)
    assert np.abs(one - two).max() > 0.05
    assert (ensemble.info, ensemble.layout, ensemble.device) == (INFO, BODY13, torch.device("cpu"))


def test_an_ensemble_of_joints_and_limbs_classifies_views(classifier, limbs, other):
    keypoints, scores = body_in_picture(10)
    three = [classifier, limbs, other]
    found = Ensemble(three, [1, 3, 4]).classify(keypoints, scores, PICTURE, mirror=True)
    one, two, last = (each.classify(keypoints, scores, PICTURE, mirror=True) for each in three)
    torch.testing.assert_close(found, geometric_mean([one, two, last[:, [1, 2, 0]]], [1, 3, 4]))
    assert (one - two).abs().max() > 1e-2


def test_classifiers_that_are_shown_the_same_volume_have_it_drawn_once(classifier, limbs, other, make, monkeypatch):
    keypoints, scores = body_in_picture(10)
    coarse = make("coarse", replace(INFO, volume=replace(INFO.volume, sigma=2.0)))
    four = [classifier, limbs, other, coarse]
    wanted = [each.classify(keypoints, scores, PICTURE) for each in four]
    drawn = []
    real = poseact.classifier.heatmap_volume
    monkeypatch.setattr(
        poseact.classifier, "heatmap_volume", lambda *args, **more: drawn.append(args[3:]) or real(*args, **more)
    )
    found = Ensemble(four, [4, 2, 1, 1]).classify(keypoints, scores, PICTURE)
    assert drawn == [(INFO.volume, None), (INFO.volume, BODY13.limbs), (coarse.info.volume, None)]
    one, two, three, last = wanted
    torch.testing.assert_close(found, geometric_mean([one, two, three[:, [1, 2, 0]], last], [4, 2, 1, 1]))


def test_two_that_exclude_each_others_label_are_undecided(make):
    keypoints, scores = body_in_picture(5)
    orders = [("wave", "jump", "sit"), ("jump", "sit", "wave")]
    sure = [make("sure", replace(INFO, labels=labels, temperature=1e-5)) for labels in orders]
    one, two = (each.classify(keypoints, scores, PICTURE)[0] for each in sure)
    assert sorted(one.tolist()) == [0, 0, 1]
    assert not one.equal(two[[2, 0, 1]])
    found = Ensemble(sure).classify(keypoints, scores, PICTURE)[0]
    assert sorted(found.tolist()) == pytest.approx([0, 0.5, 0.5], abs=1e-6)


def test_classifiers_of_different_precision_draw_volumes_of_their_own(classifier):
    keypoints, scores = body_in_picture(5)
    half = Classifier(classifier.path, "cpu", "bfloat16")
    one, two = (each.classify(keypoints, scores, PICTURE) for each in (classifier, half))
    found = Ensemble([classifier, half]).classify(keypoints, scores, PICTURE)
    torch.testing.assert_close(found, geometric_mean([one, two], [1, 1]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ("wave", "jump", "run"), "aliases": {}}, "only one of them knows run, sit"),
        ({"labels": ("wave", "jump", "sit", "run"), "aliases": {}}, "only one of them knows run"),
        ({"layout": "coco17"}, "their layout differs"),
        ({"clip_len": 7}, "their clip_len differs"),
        ({"subjects": "all"}, "their subjects differs"),
    ],
)
def test_classifiers_that_do_not_fit_together_are_a_usage_error(make, classifier, changed, message):
    odd = make("odd", replace(INFO, **changed))
    with pytest.raises(UsageError, match=rf"odd\.pt and .*tiny\.pt cannot be averaged: {message}$"):
        Ensemble([classifier, odd])


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [1, 0], [1, -1], [1, float("nan")], [float("inf"), 1]])
def test_weights_that_are_none_are_a_usage_error(classifier, other, weights):
    with pytest.raises(UsageError, match="2 classifiers need as many weights above 0, got"):
        Ensemble([classifier, other], weights)


def test_one_path_is_a_classifier_and_several_are_an_ensemble(classifier, other):
    assert isinstance(load_classifier([classifier.path], "cpu"), Classifier)
    both = load_classifier([classifier.path, other.path], "cpu", "float32", [1, 3])
    assert both.probabilities(CLIPS) == pytest.approx(Ensemble([classifier, other], [1, 3]).probabilities(CLIPS))
    with pytest.raises(UsageError, match="1 classifiers need as many weights"):
        load_classifier([classifier.path], "cpu", weights=[1, 2])
