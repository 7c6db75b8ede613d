"""Crop boxes and gaussians by hand, and the volumes that PYSKL draws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.heatmaps import PYSKL_RULE, VolumeRule, crop_boxes, draw_joints, joint_volume, to_volume_pixels
from poseact.sampling import pyskl_test_indices

SMALL = VolumeRule(size=(9, 11))


def one_frame(*people, scores=None):
    """Keypoints (1, M, 1, K, 2) and scores (1, M, 1, K) of one frame; scores 1 unless given."""
    keypoints = torch.tensor(people, dtype=torch.float32)[None, :, None]
    given_scores = torch.ones(keypoints.shape[:-1]) if scores is None else torch.tensor(scores)[None, :, None]
    return keypoints, given_scores


def drawn(x, y, score=1.0, rule=SMALL):
    return draw_joints(*one_frame([[x, y]], scores=[[score]]), rule)[0, 0, 0]


def gaussian(distance, sigma=0.6):
    return math.exp(-(distance**2) / (2 * sigma**2))


def box_of(*people, scores=None, image_size=(240, 320), rule=VolumeRule()):
    return crop_boxes(*one_frame(*people, scores=scores), torch.tensor([image_size], dtype=torch.float32), rule)[
        0
    ].tolist()


def test_a_gaussian_stands_where_the_joint_is():
    picture = drawn(5, 4)
    assert picture.shape == (9, 11)
    assert picture[4, 5] == 1
    assert picture[4, 6].item() == pytest.approx(gaussian(1))
    assert picture[5, 5].item() == pytest.approx(gaussian(1))
    assert picture[3, 4].item() == pytest.approx(gaussian(1) ** 2)


def test_a_joint_between_pixels_is_drawn_between_them():
    assert drawn(5.25, 4)[4, 4:8].tolist() == pytest.approx([gaussian(d) for d in (1.25, 0.25, 0.75, 1.75)])


def test_a_gaussian_ends_at_the_whole_pixels_of_three_sigma():
    # 5 - 1.8 = 3.2, 5 + 1.8 = 6.8: pixels 3 to 6; 4 - 1.8 = 2.2, 4 + 1.8 = 5.8: pixels 2 to 5.
    rows, columns = torch.nonzero(drawn(5, 4), as_tuple=True)
    assert (columns.min(), columns.max()) == (3, 6)
    assert (rows.min(), rows.max()) == (2, 5)
    assert drawn(5, 4)[4, 3].item() == pytest.approx(gaussian(2))


def test_a_joint_outside_draws_only_what_reaches_in():
    picture = drawn(-1, 4)  # int(-2.8) to int(0.8): pixel 0 alone
    assert picture[4].tolist() == pytest.approx([gaussian(1)] + [0] * 10)
    assert drawn(-5, 4).sum() == 0
    assert drawn(5, 30).sum() == 0


def test_a_score_scales_the_gaussian_if_the_rule_uses_scores():
    torch.testing.assert_close(drawn(5, 4, score=0.5), 0.5 * drawn(5, 4))
    torch.testing.assert_close(drawn(5, 4, 0.5, VolumeRule(size=(9, 11), use_scores=False)), drawn(5, 4))


def test_a_joint_below_the_least_score_is_not_drawn():
    assert drawn(5, 4, score=0.19).sum() == 0
    assert drawn(5, 4, score=0.0).sum() == 0
    assert drawn(5, 4, score=0.2).max().item() == pytest.approx(0.2)


def test_people_merge_by_the_larger_value():
    here, there = [[4.0, 4.0]], [[5.0, 4.0]]
    merged = draw_joints(*one_frame(here, there, scores=[[1.0], [0.5]]), SMALL)[0, 0, 0]
    torch.testing.assert_close(merged, torch.maximum(drawn(4, 4), drawn(5, 4, score=0.5)))
    assert merged[4, 5].item() == pytest.approx(0.5)  # not 0.5 + gaussian(1) = 0.749


def test_a_volume_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one person"):
        draw_joints(torch.zeros(1, 0, 1, 13, 2), torch.zeros(1, 0, 1, 13), SMALL)


def test_axes_of_a_volume():
    volume = draw_joints(torch.zeros(2, 3, 4, 5, 2), torch.ones(2, 3, 4, 5), SMALL)
    assert volume.shape == (2, 5, 4, 9, 11)


def test_a_crop_is_a_square_round_the_tight_box_with_a_margin():
    # 40 wide, 80 high: half of the longer side is 40, and a quarter more is 50, round (30, 60).
    assert box_of([[10, 20], [50, 100]]) == [-20, 10, 80, 110]


def test_a_crop_holds_all_people_and_frames():
    keypoints = torch.tensor([[[[10.0, 20]], [[20, 30]]], [[[40, 60]], [[50, 100]]]])[None]  # 2 people, 2 frames
    boxes = crop_boxes(keypoints, torch.ones(1, 2, 2, 1), torch.tensor([[240.0, 320]]), VolumeRule())
    assert boxes.tolist() == [[-20, 10, 80, 110]]


def test_a_crop_is_blind_to_keypoints_of_low_score():
    far_off = [300, 200]
    tight = box_of([[10, 20], [50, 100]])
    assert box_of([[10, 20], [50, 100], far_off], scores=[[1.0, 1.0, 0.0]]) == tight
    assert box_of([[10, 20], [50, 100], far_off], scores=[[1.0, 1.0, 0.19]]) == tight
    assert box_of([[10, 20], [50, 100], far_off], scores=[[1.0, 1.0, 0.2]]) != tight


def test_a_keypoint_in_the_corner_counts_unless_the_rule_says_that_zero_is_missing():
    by_zero = VolumeRule(absent="zero-coordinate")
    people = [[0, 0], [40, 80]]
    assert box_of(people) == [-30, -10, 70, 90]  # 40 × 80 round (20, 40)
    # (0, 0) is missing; what remains has no extent, so the whole picture is shown.
    assert box_of(people, rule=by_zero) == [0, 0, 320, 240]
    assert box_of([*people, [20, 40]], rule=by_zero) == box_of([[40, 80], [20, 40]])


def test_a_zero_rule_takes_each_coordinate_for_itself():
    # x 0 is missing, its y 10 is not: x from 20 to 60, y from 10 to 90.
    by_zero = VolumeRule(absent="zero-coordinate")
    assert box_of([[0, 10], [20, 90], [60, 50]], rule=by_zero) == [-10, 0, 90, 100]


def test_a_zero_rule_is_blind_to_scores():
    by_zero = VolumeRule(absent="zero-coordinate")
    assert box_of([[10, 20], [50, 100]], scores=[[0.0, 0.0]], rule=by_zero) == [-20, 10, 80, 110]


def test_truncated_corners_are_whole_pixels_towards_zero():
    # 30 × 75: half of 75 and a quarter more is 46.875, round (20, 40.5): -26.875, -6.375, 66.875, 87.375.
    people = [[5, 3], [35, 78]]
    assert box_of(people) == [-26.875, -6.375, 66.875, 87.375]
    assert box_of(people, rule=VolumeRule(corners="truncated")) == [-26, -6, 66, 87]


@pytest.mark.parametrize("people", [[[10, 20], [19, 100]], [[10, 20], [90, 29]], [[10, 20], [10, 20]]])
def test_a_box_too_small_for_a_body_gives_the_whole_picture(people):
    assert box_of(people) == [0, 0, 320, 240]


def test_nobody_gives_the_whole_picture():
    assert box_of([[10, 20], [50, 100]], scores=[[0.0, 0.0]]) == [0, 0, 320, 240]


def test_points_are_mapped_from_the_box_to_the_volume():
    boxes = torch.tensor([[-20.0, 10, 80, 110]])
    points, _ = one_frame([[-20, 10], [80, 110], [30, 60]])
    assert to_volume_pixels(points, boxes, (50, 200))[0, 0, 0].tolist() == [[0, 0], [200, 50], [100, 25]]


@pytest.mark.parametrize(
    "wrong",
    [{"size": (0, 9)}, {"sigma": 0}, {"padding": -0.1}, {"least_score": 0}, {"absent": "nan"}, {"corners": "round"}],
)
def test_a_rule_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="not a usable rule"):
        VolumeRule(**wrong)


POINTS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=2)
RULE16 = VolumeRule(size=(16, 16))


def volume_of(keypoints, scores=None):
    scores = torch.ones(keypoints.shape[:-1]) if scores is None else scores
    return joint_volume(keypoints, scores, torch.tensor([[500.0, 500.0]]), RULE16)


def two_frames(points):
    """One person, two frames, four keypoints; the first two span a body of 64 × 96 pixels."""
    frames = [[(40, 40), (104, 136), *points], [(44, 50), (90, 100), *points[::-1]]]
    return torch.tensor(frames, dtype=torch.float32)[None, None]


@settings(max_examples=50, deadline=None)
@given(POINTS, st.sampled_from([0.5, 2, 4]), st.integers(-100, 300), st.integers(-100, 300))
def test_a_volume_does_not_tell_where_and_how_large_people_are(points, scale, x, y):
    # Powers of two and whole pixels are exact in floats, so the volumes must be the same to the last bit.
    keypoints = two_frames(points)
    assert torch.equal(volume_of(keypoints * scale + torch.tensor([x, y])), volume_of(keypoints))


@settings(max_examples=50, deadline=None)
@given(POINTS, st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8))
def test_adding_a_person_twice_changes_nothing(points, scores):
    keypoints, scores = two_frames(points), torch.tensor(scores).view(1, 1, 2, 4)
    twice = volume_of(keypoints.repeat(1, 2, 1, 1, 1), scores.repeat(1, 2, 1, 1))
    assert torch.equal(twice, volume_of(keypoints, scores))


@pytest.mark.parametrize("case", ["long2p", "short1p", "mid1p"])
def test_volumes_are_those_of_pyskl(shared, case):
    reference = np.load(shared / "reference" / "slowonly_joint.npz")
    indices = pyskl_test_indices(int(reference[f"{case}_total_frames"]), 48).ravel()
    # All ten clips share one crop, so they are drawn as one long clip; the first one is compared.
    keypoints = torch.from_numpy(reference[f"{case}_keypoint"][:, indices])[None]
    scores = torch.from_numpy(reference[f"{case}_keypoint_score"][:, indices])[None]
    image_size = torch.from_numpy(reference[f"{case}_img_shape"]).float()[None]
    boxes = crop_boxes(keypoints, scores, image_size, PYSKL_RULE)
    points = to_volume_pixels(keypoints, boxes, PYSKL_RULE.size)
    points = torch.where(keypoints == 0, 0, points)
    ours = draw_joints(points[:, :, :48], scores[:, :, :48], PYSKL_RULE)[0].numpy()
    assert ours.max() > 0.5
    assert np.abs(ours - reference[f"{case}_volume0"].astype(np.float32)).max() < 2e-3
