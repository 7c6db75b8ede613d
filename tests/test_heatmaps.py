"""Crop boxes and gaussians by hand, and the volumes that PYSKL draws."""

import math
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from poseact import heatmaps
from poseact.heatmaps import PYSKL_RULE, VolumeRule, crop_boxes, draw_volume, heatmap_volume, to_volume_pixels
from poseact.sampling import pyskl_test_indices
from poseact.skeleton import COCO17

SMALL = VolumeRule(size=(9, 11))


def one_frame(*people, scores=None):
    """Keypoints (1, M, 1, K, 2) and scores (1, M, 1, K) of one frame; scores 1 unless given."""
    keypoints = torch.tensor(people, dtype=torch.float32)[None, :, None]
    given_scores = torch.ones(keypoints.shape[:-1]) if scores is None else torch.tensor(scores)[None, :, None]
    return keypoints, given_scores


def drawn(x, y, score=1.0, rule=SMALL):
    return draw_volume(*one_frame([[x, y]], scores=[[score]]), rule)[0, 0, 0]


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
    merged = draw_volume(*one_frame(here, there, scores=[[1.0], [0.5]]), SMALL)[0, 0, 0]
    torch.testing.assert_close(merged, torch.maximum(drawn(4, 4), drawn(5, 4, score=0.5)))
    assert merged[4, 5].item() == pytest.approx(0.5)  # not 0.5 + gaussian(1) = 0.749


def test_a_volume_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one person"):
        draw_volume(torch.zeros(1, 0, 1, 13, 2), torch.zeros(1, 0, 1, 13), SMALL)


def test_axes_of_a_volume():
    volume = draw_volume(torch.zeros(2, 3, 4, 5, 2), torch.ones(2, 3, 4, 5), SMALL)
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
    return heatmap_volume(keypoints, scores, torch.tensor([[500.0, 500.0]]), RULE16)


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


COORDINATES = st.floats(-6, 22, width=32)
LIMBS = ((0, 1), (1, 2), (0, 3))
KINDS = pytest.mark.parametrize("limbs", [None, LIMBS], ids=["joints", "limbs"])


@st.composite
def crowds(draw, n_clips=st.integers(1, 3), n_people=st.integers(1, 3)):
    """Points (N, M, 2, 4, 2) in and round a volume of 16 × 16 and scores (N, M, 2, 4), some of them 0."""
    shape = (draw(n_clips), draw(n_people), 2, 4)
    n = math.prod(shape)
    points = draw(st.lists(COORDINATES, min_size=2 * n, max_size=2 * n))
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]), min_size=n, max_size=n))
    return torch.tensor(points).view(*shape, 2), torch.tensor(scores).view(shape)


@KINDS
@settings(max_examples=30, deadline=None)
@given(crowds())
def test_a_volume_lies_with_the_channels_last_and_may_have_more_of_them(limbs, crowd):
    volume = draw_volume(*crowd, RULE16, limbs)
    drawn = volume.shape[1]
    more = draw_volume(*crowd, RULE16, limbs, channels=8)
    for found in (volume, more):
        assert found.permute(0, 2, 3, 4, 1).is_contiguous()
    assert more.shape[1] == 8
    assert torch.equal(more[:, :drawn], volume)
    assert not more[:, drawn:].any()


def test_a_frame_that_is_too_large_to_count_its_pixels_is_refused():
    points, scores = torch.zeros(1, 1, 1, 4, 2), torch.ones(1, 1, 1, 4)
    with pytest.raises(ValueError, match=r"4 heatmaps of .* pixels are too large"):
        draw_volume(points, scores, VolumeRule(size=(2048, 2049)))


def limb_by_hand(start, end, score, rule):
    """Equation 2 pixel by pixel, cut off three sigmas outside the box of the two ends; a limb of a pixel or more."""
    picture = torch.zeros(rule.size)
    margin = np.float32(3 * rule.sigma)  # as precise as what is tested: an edge may lie on a whole pixel
    for y in range(rule.size[0]):
        for x in range(rule.size[1]):
            inside = all(
                int(np.float32(min(a, b)) - margin) <= pixel <= int(np.float32(max(a, b)) + margin)
                for a, b, pixel in zip(start, end, (x, y), strict=True)
            )
            along = [b - a for a, b in zip(start, end, strict=True)]
            share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along[0] ** 2 + along[1] ** 2)
            share = min(1, max(0, share))
            distance = math.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
            picture[y, x] = score * gaussian(distance, rule.sigma) if inside else 0
    return picture


@settings(max_examples=100, deadline=None)
@given(st.tuples(COORDINATES, COORDINATES), st.tuples(COORDINATES, COORDINATES), st.sampled_from([0.6, 1.0]))
def test_a_limb_is_drawn_by_the_distance_from_it(start, end, sigma):
    assume(math.dist(start, end) >= 1.01)
    rule = VolumeRule(size=(16, 14), sigma=sigma)
    picture = draw_volume(*one_frame([start, end], scores=[[0.5, 0.75]]), rule, [(0, 1)])[0, 0, 0]
    # What lies beyond 4.5 sigmas may be left out.
    torch.testing.assert_close(picture, limb_by_hand(start, end, 0.5, rule), rtol=0, atol=2.5e-5)


def test_a_limb_with_an_absent_end_is_not_drawn():
    for scores in ([[1.0, 0.0]], [[0.19, 1.0]]):
        assert draw_volume(*one_frame([[2, 2], [8, 6]], scores=scores), SMALL, [(0, 1)]).sum() == 0


def test_a_limb_is_as_high_as_the_lower_score_or_as_1():
    one_limb = one_frame([[2, 4], [8, 4]], scores=[[0.9, 0.5]])
    assert draw_volume(*one_limb, SMALL, [(0, 1)])[0, 0, 0, 4, 5] == 0.5
    assert draw_volume(*one_limb, VolumeRule(size=(9, 11), use_scores=False), [(0, 1)])[0, 0, 0, 4, 5] == 1


@settings(max_examples=50, deadline=None)
@given(crowds())
def test_a_limb_from_a_keypoint_to_itself_is_its_joint(crowd):
    torch.testing.assert_close(draw_volume(*crowd, RULE16, [(k, k) for k in range(4)]), draw_volume(*crowd, RULE16))


def test_a_limb_shorter_than_a_pixel_is_its_first_end():
    points, scores = one_frame([[5, 4], [5.5, 4.5]], scores=[[0.5, 1.0]])
    picture = draw_volume(points, scores, SMALL, [(0, 1), (1, 0)])[0, :, 0]
    torch.testing.assert_close(picture, draw_volume(points, scores, SMALL)[0, :, 0])


@settings(max_examples=50, deadline=None)
@given(crowds())
def test_which_end_of_a_limb_comes_first_does_not_matter(crowd):
    points, _ = crowd
    assume(all(((points[..., a, :] - points[..., b, :]).norm(dim=-1) > 1.01).all() for a, b in LIMBS))
    swapped = [(b, a) for a, b in LIMBS]
    torch.testing.assert_close(draw_volume(*crowd, RULE16, swapped), draw_volume(*crowd, RULE16, LIMBS))


@KINDS
@settings(max_examples=30, deadline=None)
@given(crowds(n_clips=st.integers(2, 3)))
def test_a_batch_is_each_clip_alone(limbs, crowd):
    alone = [draw_volume(points[None], scores[None], RULE16, limbs) for points, scores in zip(*crowd, strict=True)]
    assert torch.equal(draw_volume(*crowd, RULE16, limbs), torch.cat(alone))


@KINDS
@settings(max_examples=30, deadline=None)
@given(crowds(n_people=st.integers(2, 3)))
def test_people_merge_in_any_order(limbs, crowd):
    together = draw_volume(*crowd, RULE16, limbs)
    assert torch.equal(draw_volume(*(each.flip(1) for each in crowd), RULE16, limbs), together)
    alone = [draw_volume(*(each[:, [m]] for each in crowd), RULE16, limbs) for m in range(crowd[0].shape[1])]
    assert torch.equal(torch.stack(alone).amax(dim=0), together)


@KINDS
@settings(max_examples=30, deadline=None)
@given(crowds())
def test_half_precision_rounds_what_is_drawn_and_nothing_else(limbs, crowd):
    volume = draw_volume(*crowd, RULE16, limbs)
    for dtype in (torch.float16, torch.bfloat16):
        half = draw_volume(*crowd, RULE16, limbs, dtype)
        assert half.dtype == dtype
        assert torch.equal(half, volume.to(dtype))


@KINDS
@settings(max_examples=30, deadline=None)
@given(crowds())
def test_a_mirrored_picture_has_mirrored_keypoints(limbs, crowd):
    points, scores = crowd
    # Boxes are cut at whole pixels towards zero, so only what is drawn on both sides is compared.
    mirrored = points * torch.tensor([-1, 1]) + torch.tensor([15, 0])
    apart = (draw_volume(mirrored, scores, RULE16, limbs).flip(-1) - draw_volume(points, scores, RULE16, limbs)).abs()
    assert apart.max() <= gaussian(3 * 0.6)


@settings(max_examples=30, deadline=None)
@given(crowds())
def test_limbs_are_drawn_the_same_where_counts_are_not_waited_for(crowd):
    with mock.patch.object(heatmaps, "_walk", heatmaps._walk_without_counts):
        without = draw_volume(*crowd, RULE16, LIMBS)
    assert torch.equal(without, draw_volume(*crowd, RULE16, LIMBS))


@KINDS
def test_what_is_drawn_far_outside_is_nothing(limbs):
    for far in (-1e6, 1e6, 1e30):
        points, scores = one_frame([[far, far], [far, 5], [5, far], [far, far]])
        assert draw_volume(points[..., :1, :].expand(1, 1, 1, 4, 2), scores, RULE16, limbs).sum() == 0


@KINDS
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_gpu_draws_the_same(limbs, dtype):
    generator = torch.Generator().manual_seed(0)
    points = 28 * torch.rand(3, 2, 5, 4, 2, generator=generator) - 6
    scores = torch.rand(3, 2, 5, 4, generator=generator)
    on_gpu = draw_volume(points.cuda(), scores.cuda(), RULE16, limbs, dtype).cpu()
    torch.testing.assert_close(on_gpu, draw_volume(points, scores, RULE16, limbs, dtype), rtol=0, atol=1e-3)


@pytest.mark.parametrize("case", ["long2p", "short1p", "mid1p"])
@pytest.mark.parametrize(("kind", "limbs"), [("joint", None), ("limb", COCO17.limbs)])
def test_volumes_are_those_of_pyskl(shared, case, kind, limbs):
    reference = np.load(shared / "reference" / f"slowonly_{kind}.npz")
    indices = pyskl_test_indices(int(reference[f"{case}_total_frames"]), 48).ravel()
    # All ten clips share one crop, so they are drawn as one long clip; the first one is compared.
    keypoints = torch.from_numpy(reference[f"{case}_keypoint"][:, indices])[None]
    scores = torch.from_numpy(reference[f"{case}_keypoint_score"][:, indices])[None]
    image_size = torch.from_numpy(reference[f"{case}_img_shape"]).float()[None]
    ours = heatmap_volume(keypoints, scores, image_size, PYSKL_RULE, limbs)[0, :, :48].numpy()
    assert ours.max() > 0.5
    # The reference is in half precision, which is off by up to 2.44e-4 itself.
    assert np.abs(ours - reference[f"{case}_volume0"].astype(np.float32)).max() < 2.5e-4
