"""Augmentation: each thing by hand, on poses of a few numbers."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from small import dataset_of, example, one_thread, person, poses  # noqa: F401  (the fixture is used by being here)

from poseact.poses import Annotation
from poseact.skeleton import BODY13
from poseact.training.augment import Augmentation, Augmenter, normalise
from poseact.training.dataset import build_dataset


def augmenter(options=Augmentation(), seed=0):
    return Augmenter(options, BODY13, torch.Generator().manual_seed(seed), least_score=0.2)


def test_the_same_seed_draws_the_same_batch_and_another_seed_another():
    dataset, sequences = dataset_of(example(0), example(1)), torch.tensor([0, 1])
    first, again, other = (augmenter(seed=seed).batch(dataset, sequences, 8) for seed in (1, 1, 2))
    assert torch.equal(first.keypoints, again.keypoints)
    assert torch.equal(first.scores, again.scores)
    assert not torch.equal(first.keypoints, other.keypoints)
    assert not torch.equal(first.scores, other.scores)


def test_a_batch_has_the_shape_of_its_clips_and_their_labels():
    batch = augmenter().batch(dataset_of(example(0), example(1)), torch.tensor([1, 1, 0]), 8)
    assert batch.keypoints.shape == (3, 1, 8, 13, 2)
    assert batch.labels.tolist() == [1, 1, 0]
    assert torch.isfinite(batch.keypoints).all()
    assert 0 <= batch.scores.min() <= batch.scores.max() <= 0.9


def test_mirroring_exchanges_left_and_right():
    keypoints = torch.zeros(1, 1, 1, 13, 2)
    keypoints[..., 0] = torch.arange(13)
    keypoints[..., 1] = 7
    scores = torch.arange(13.0).view(1, 1, 1, 13) / 13
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
    flipped, flipped_scores = augmenter(Augmentation(flip=1)).mirror(keypoints, scores)
    assert flipped[0, 0, 0, :, 0].tolist() == [-k for k in order]
    assert (flipped[..., 1] == 7).all()
    assert torch.equal(flipped_scores, scores[..., order])
    same, same_scores = augmenter(Augmentation(flip=0)).mirror(keypoints, scores)
    assert torch.equal(same, keypoints)
    assert torch.equal(same_scores, scores)


@pytest.mark.parametrize("hold", [0.0, 1.0])
def test_sampled_frames_lie_in_their_sequence_and_in_order(hold):
    lengths = torch.tensor([1, 3, 50, 200]).repeat(25)
    frames = augmenter(Augmentation(hold=hold)).sample_frames(lengths, 48)
    assert frames.shape == (100, 48)
    assert (frames >= 0).all()
    assert (frames < lengths[:, None]).all()
    assert (frames.diff(dim=1) >= 0).all()


def test_held_frames_repeat():
    lengths = torch.full((100,), 48)
    options = Augmentation(whole=1.0)
    held = augmenter(replace(options, hold=1.0)).sample_frames(lengths, 48)
    free = augmenter(replace(options, hold=0.0)).sample_frames(lengths, 48)
    assert (free == torch.arange(48)).all()
    assert set(held.diff(dim=1).unique().tolist()) <= {0, 1, 2, 3, 4}
    assert (held - free).abs().max() <= 3, "the nearest of those that are there"
    there = [len(row.unique()) for row in held]
    assert 48 // 3.5 <= min(there) < 17, "of the slowest, two frames of seven"
    assert max(there) > 40


def test_a_part_is_never_shorter_than_the_least_frames():
    options = Augmentation(whole=0.0, hold=0.0, least_frames=40, shortest_part=0.1)
    frames = augmenter(options).sample_frames(torch.full((200,), 100), 48)
    spans = frames[:, -1] - frames[:, 0]
    assert spans.min() >= 38  # of 40 frames, the first and last sampled ones lie inside
    assert spans.max() < 100
    assert spans.unique().numel() > 10


def test_strength_zero_only_flips():
    dataset = build_dataset([Annotation("a", 0, poses(person(8, waves=True), np.ones((1, 8, 13))))], [0], BODY13)
    clips = torch.zeros(32, dtype=torch.long)
    batch = augmenter(Augmentation().scaled(0)).batch(dataset, clips, 8)
    original = dataset.batch(torch.tensor([0]), torch.arange(8)[None]).keypoints[0]
    center = original[..., 0].mean()
    mirrored = original[:, :, list(BODY13.mirrored_order)].clone()
    mirrored[..., 0] = 2 * center - mirrored[..., 0]
    kept = [torch.allclose(clip, original, atol=1e-3) for clip in batch.keypoints]
    flipped = [torch.allclose(clip, mirrored, atol=1e-3) for clip in batch.keypoints]
    assert (batch.scores == 1).all()
    assert all(a != b for a, b in zip(kept, flipped, strict=True))
    assert any(kept)
    assert any(flipped)


def test_full_strength_is_what_is_shipped():
    assert asdict(Augmentation().scaled(1)) == pytest.approx(asdict(Augmentation()))


@pytest.mark.parametrize(
    "options",
    [
        {"drop_points": 1.0},
        {"drop_frames": 1.0},
        {"drop_limb": 1.0},
    ],
)
def test_each_loss_loses_what_its_name_says(options):
    lost = augmenter(replace(Augmentation().scaled(0), **options)).lose_keypoints(torch.ones(20, 1, 12, 13)) == 0
    assert lost.any()
    assert not lost.all()
    limbs = [i for i, name in enumerate(BODY13.keypoints) if name.endswith(("elbow", "wrist", "knee", "ankle"))]
    if "drop_frames" in options:
        assert torch.equal(lost.any(dim=3), lost.all(dim=3))
    if "drop_limb" in options:
        assert lost.sum() == lost[..., limbs].sum()
        assert (lost.sum(dim=3) <= 2).all()


def test_a_lost_keypoint_stays_lost():
    scores = torch.ones(4, 1, 8, 13)
    scores[:, :, 3] = 0
    assert (augmenter().lose_keypoints(scores)[:, :, 3] == 0).all()


def test_a_batch_hides_parts():
    options = replace(Augmentation().scaled(0), drop_part=1.0)
    dataset = dataset_of(example(0), example(1))
    whole = augmenter(replace(options, drop_part=0.0)).batch(dataset, torch.tensor([0, 1]), 8)
    cut = augmenter(options).batch(dataset, torch.tensor([0, 1]), 8)
    assert (whole.scores > 0).all()
    assert (cut.scores == 0).any(dim=(1, 2, 3)).all()


def test_strength_scales_what_is_hidden():
    assert Augmentation().scaled(0).borrowed == Augmentation().scaled(0).drop_part == 0
    assert Augmentation().scaled(0.4).borrowed == pytest.approx(0.4 * Augmentation().borrowed)


def hidden_by(options, scores, seed=0):
    return (augmenter(replace(Augmentation().scaled(0), **options), seed).hide(scores) == 0) & (scores > 0)


def test_parts_are_hidden_throughout():
    hidden = hidden_by({"drop_part": 1.0}, torch.ones(60, 1, 4, 13))
    assert torch.equal(hidden.any(dim=2), hidden.all(dim=2))
    found = {tuple(clip[0, 0].nonzero().flatten().tolist()) for clip in hidden}
    feet, legs, below = (11, 12), (9, 10, 11, 12), (7, 8, 9, 10, 11, 12)
    assert found == {feet, legs, below, (1, 3, 5, 7, 9, 11), (2, 4, 6, 8, 10, 12)}


def test_what_one_sequence_lacks_is_absent_in_the_next():
    scores = torch.ones(3, 1, 4, 13)
    scores[0, :, 1:3, 7:] = 0
    hidden = hidden_by({"borrowed": 1.0}, scores)
    assert hidden[1, 0].nonzero()[:, 0].unique().tolist() == [1, 2]
    assert hidden[1, 0, 1].nonzero().flatten().tolist() == [7, 8, 9, 10, 11, 12]
    assert not hidden[[0, 2]].any()


def test_what_an_estimator_is_not_sure_of_is_lacking_too():
    scores = torch.ones(2, 1, 4, 13)
    scores[0, :, :, 7:] = 0.03
    assert hidden_by({"borrowed": 1.0}, scores)[1, 0, 0].nonzero().flatten().tolist() == [7, 8, 9, 10, 11, 12]
    scores[1, :, :, 1:3] = 0.19
    kept = augmenter(replace(Augmentation().scaled(0), borrowed=1.0)).hide(scores)
    assert (kept[1] == 1).sum(dim=2).unique().tolist() == [5], "as many as must be"
    scores[1, :, :, 3] = 0.19
    assert torch.equal(augmenter(replace(Augmentation().scaled(0), borrowed=1.0)).hide(scores), scores)


def test_who_is_not_always_there_is_hidden_in_part_as_often():
    scores = torch.ones(60, 1, 8, 13)
    scores[:, :, :6] = 0
    assert hidden_by({"drop_part": 1.0}, scores)[:, :, 6:].any(dim=(1, 2, 3)).all()


def test_where_nobody_is_there_nothing_is_told_of_a_body():
    scores = torch.ones(2, 2, 4, 13)
    scores[0, 1] = 0
    scores[0, 0, 2] = 0
    assert not hidden_by({"borrowed": 1.0}, scores).any()


def test_too_little_to_tell_an_action_is_never_left():
    scores = torch.ones(40, 1, 4, 13)
    scores[:, :, :, 7:] = 0  # of a guitarist whose one side is hidden too, three keypoints would be left
    hidden = hidden_by({"drop_part": 1.0}, scores)
    assert not hidden.any()
    scores[::2, :, :, 7:] = 1
    scores[::2, :, :, 1:7] = 0  # of legs on arms nothing would be
    assert not hidden_by({"borrowed": 1.0}, scores).any()


def test_a_crop_is_a_part_of_its_box():
    boxes = torch.tensor([[-10.0, 20, 90, 120]]).repeat(100, 1)
    crops = augmenter(Augmentation(crop=0.5)).crop(boxes)
    assert (crops[:, :2] >= boxes[:, :2] - 1e-3).all()
    assert (crops[:, 2:] <= boxes[:, 2:] + 1e-3).all()
    area = (crops[:, 2:] - crops[:, :2]).prod(dim=1) / 1e4
    assert 0.4 < area.min() < 0.6
    torch.testing.assert_close(augmenter(Augmentation(crop=1.0)).crop(boxes), boxes)


def test_body_units_by_hand():
    # Two keypoints 40 × 80 apart; the third is absent and does not count.
    keypoints = torch.tensor([[10.0, 20], [50, 100], [900, 900]])[None, None, None]
    normalised, center, size = normalise(keypoints, torch.tensor([1.0, 1, 0])[None, None, None])
    assert center.flatten().tolist() == [30, 60]
    assert size.item() == 80
    assert normalised[0, 0, 0, :2].tolist() == [[-0.25, -0.5], [0.25, 0.5]]
    torch.testing.assert_close(normalised * size + center, keypoints)


NOTHING = replace(Augmentation().scaled(0), flip=0.0, whole=1.0)


def test_names_of_sides_are_exchanged_without_mirroring():
    keypoints = torch.zeros(1, 1, 1, 13, 2)
    keypoints[..., 0] = torch.arange(13)
    scores = torch.arange(13.0).view(1, 1, 1, 13) / 13
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
    mistaken, mistaken_scores = augmenter(replace(NOTHING, sides=1.0)).mirror(keypoints, scores)
    assert mistaken[0, 0, 0, :, 0].tolist() == order
    assert torch.equal(mistaken_scores, scores[..., order])
    # A mirrored picture in which left is taken for right: the names are again those of the body.
    both, both_scores = augmenter(replace(NOTHING, sides=1.0, flip=1.0)).mirror(keypoints, scores)
    assert both[0, 0, 0, :, 0].tolist() == [-k for k in range(13)]
    assert torch.equal(both_scores, scores)


def test_sides_are_mistaken_in_half_of_the_sequences_when_trained_as_shipped():
    assert Augmentation().sides == Augmentation().scaled(1).sides == Augmentation().scaled(2).sides == 0.5
    assert Augmentation().scaled(0).sides == 0


def test_arms_and_legs_are_confused_for_some_frames_with_their_scores():
    keypoints = torch.arange(13.0)[:, None].expand(200, 1, 12, 13, 2)
    scores = torch.arange(1, 14.0).expand(200, 1, 12, 13) / 13
    found, found_scores = augmenter(replace(NOTHING, confused=1.0)).confuse(keypoints, scores)
    order = list(BODY13.mirrored_order)
    arms = [i for i, name in enumerate(BODY13.keypoints) if name.endswith(("shoulder", "elbow", "wrist"))]
    legs = [i for i, name in enumerate(BODY13.keypoints) if name.endswith(("hip", "knee", "ankle"))]
    assert torch.equal(found[..., 0, :], keypoints[..., 0, :])
    exchanged = []
    for part in (arms, legs):
        other = found[..., part, 0] == keypoints[..., order, 0][..., part]
        assert torch.equal(other.any(dim=3), other.all(dim=3))  # a whole part at a time
        assert torch.equal(found_scores[..., part] == scores[..., order][..., part], other)
        exchanged.append(other.all(dim=3))
    assert all(0.1 < part.float().mean() < 0.6 for part in exchanged)
    assert not torch.equal(*exchanged)
    same, same_scores = augmenter(NOTHING).confuse(keypoints, scores)
    assert torch.equal(same, keypoints)
    assert torch.equal(same_scores, scores)


def test_a_keypoint_wanders_slowly_and_comes_not_back_in_each_frame():
    still = torch.zeros(50, 1, 40, 13, 2)
    found = augmenter(replace(NOTHING, wander=1.0)).disturb(still)
    steps = found.diff(dim=2)
    assert found.std() > 0.2
    assert steps.std() < 0.3 * found.std()
    assert torch.equal(augmenter(NOTHING).disturb(still), still)


# Negatives


def test_who_is_held_still_does_nothing_and_has_no_label():
    dataset, sequences = dataset_of(example(0), example(1)), torch.tensor([1, 1, 0])
    moving = augmenter(NOTHING).batch(dataset, sequences, 8)
    assert moving.labels.tolist() == [1, 1, 0]
    assert moving.keypoints[0].std(dim=1).max() > 1
    batch = augmenter(replace(NOTHING, still=1.0)).batch(dataset, sequences, 8)
    assert batch.labels.tolist() == [-1, -1, -1]
    torch.testing.assert_close(batch.keypoints, batch.keypoints[:, :, :1].expand_as(batch.keypoints))
    disturbed = augmenter(replace(NOTHING, still=1.0, jitter=0.1)).batch(dataset, sequences, 8)
    assert disturbed.keypoints.std(dim=2).max() > 0.1  # an estimator's noise does not stand still


def test_only_some_are_held_still():
    dataset, sequences = dataset_of(example(0), example(1)), torch.ones(200, dtype=torch.long)
    batch = augmenter(replace(NOTHING, still=0.25)).batch(dataset, sequences, 8)
    still = batch.labels == -1
    assert 30 < still.sum() < 70
    moves = batch.keypoints.std(dim=2).amax(dim=(1, 2, 3)) > 1
    assert torch.equal(moves, ~still)


def test_a_spliced_body_walks_on_the_legs_of_another():
    torch.manual_seed(0)
    keypoints, scores, labels = torch.randn(3, 2, 8, 13, 2), torch.rand(3, 2, 8, 13), torch.tensor([0, 1, 1])
    found, found_scores, spliced = augmenter(replace(NOTHING, spliced=1.0)).splice(keypoints, scores, labels)
    assert spliced.tolist() == [True, True, False]  # the third's neighbour does the same, so nothing is gained
    pelvis = keypoints[:, :, :, 7:9].mean(dim=3, keepdim=True)
    torch.testing.assert_close(found[:, :, :, 7:9].mean(dim=3, keepdim=True), pelvis)
    for one, other in ((0, 2), (1, 0)):
        assert torch.equal(found[one, :, :, :7], keypoints[one, :, :, :7])
        assert torch.equal(found_scores[one, :, :, :7], scores[one, :, :, :7])
        legs, wanted = found[one, :, :, 7:] - pelvis[one], keypoints[other, :, :, 7:] - pelvis[other]
        torch.testing.assert_close(legs, wanted)
        assert torch.equal(found_scores[one, :, :, 7:], scores[other, :, :, 7:])
    assert torch.equal(found[2], keypoints[2])
    assert torch.equal(found_scores[2], scores[2])


def test_legs_that_have_no_hips_to_hang_on_are_lost():
    torch.manual_seed(0)
    keypoints, scores = torch.randn(2, 1, 4, 13, 2), torch.full((2, 1, 4, 13), 0.5)
    scores[0, 0, 1, 7] = 0  # one's own hip
    scores[1, 0, 3, 8] = 0  # the other's
    found = augmenter(replace(NOTHING, spliced=1.0)).splice(keypoints, scores, torch.tensor([0, 1]))[1]
    assert (found[..., :7] == 0.5).all()
    assert (found[:, 0, :, 7:] > 0).all(dim=2).tolist() == [[True, False, True, False]] * 2
    assert not found[:, 0, [1, 3], 7:].any()


def test_a_spliced_sequence_has_no_label():
    dataset = dataset_of(example(0), example(1))
    batch = augmenter(replace(NOTHING, spliced=1.0)).batch(dataset, torch.tensor([0, 1, 1]), 8)
    assert batch.labels.tolist() == [-1, -1, 1]
