"""Keypoint layouts and how they convert."""

import pytest

from poseact.skeleton import BODY13, COCO17, LAYOUTS, Layout, conversion, layout_of

ALL = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def test_the_known_layouts_have_the_keypoints_that_their_names_promise():
    assert {name: len(layout) for name, layout in LAYOUTS.items()} == {"coco17": 17, "body13": 13}


def test_a_layout_is_found_by_its_number_of_keypoints():
    assert layout_of(17) is COCO17
    assert layout_of(13) is BODY13
    with pytest.raises(ValueError, match=r"no layout has 15 keypoints; known: coco17 \(17\), body13 \(13\)"):
        layout_of(15)


def test_pairs_join_each_left_keypoint_with_its_right_one():
    assert BODY13.left_right_pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12))
    assert COCO17.left_right_pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))


def test_a_pair_need_not_be_adjacent():
    layout = Layout("hands", ("right_hand", "head", "left_hand"), ())
    assert layout.left_right_pairs == ((2, 0),)
    assert layout.mirrored_order == (2, 1, 0)


@ALL
def test_mirroring_twice_changes_nothing(layout):
    order = layout.mirrored_order
    assert tuple(order[i] for i in order) == tuple(range(len(layout)))


@ALL
def test_mirroring_exchanges_left_and_right_and_keeps_the_rest(layout):
    exchanged = {"left": "right", "right": "left"}
    for name, index in zip(layout.keypoints, layout.mirrored_order, strict=True):
        side, _, part = name.partition("_")
        assert layout.keypoints[index] == (f"{exchanged[side]}_{part}" if part else name)


def test_mirrored_limbs_are_those_of_pyskl():
    # The pairs of left_limb and right_limb in PYSKL's configuration of the limb checkpoint.
    left, right = (0, 2, 3, 6, 7, 8, 12, 14), (1, 4, 5, 9, 10, 11, 13, 15)
    expected = list(range(17))
    for a, b in zip(left, right, strict=True):
        expected[a], expected[b] = b, a
    assert COCO17.mirrored_limbs == tuple(expected)


@ALL
def test_mirroring_a_limb_mirrors_its_ends(layout):
    for limb, place in zip(layout.limbs, layout.mirrored_limbs, strict=True):
        assert {layout.mirrored_order[end] for end in limb} == set(layout.limbs[place])


def test_a_limb_across_the_body_is_its_own_mirror_image_whichever_end_comes_first():
    names = ("left_hip", "right_hip", "head")
    assert Layout("hips", names, ((1, 0), (2, 0), (1, 2))).mirrored_limbs == (0, 2, 1)


def test_a_limb_without_a_mirror_image_is_named():
    layout = Layout("lame", ("head", "left_hip", "right_hip"), ((0, 1),))
    with pytest.raises(ValueError, match="the limbs of lame hold head to left_hip but not its mirror image"):
        _ = layout.mirrored_limbs


@ALL
def test_limbs_join_two_different_keypoints_once(layout):
    limbs = [frozenset(limb) for limb in layout.limbs]
    assert all(len(limb) == 2 and max(limb) < len(layout) for limb in limbs)
    assert len(set(limbs)) == len(limbs)


def test_coco_becomes_body_by_taking_the_nose_for_the_head():
    assert conversion(COCO17, BODY13).tolist() == [0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]


@ALL
def test_a_layout_converts_to_itself_unchanged(layout):
    assert conversion(layout, layout).tolist() == list(range(len(layout)))


def test_a_keypoint_that_is_missing_is_named():
    with pytest.raises(ValueError, match="layout body13 has no keypoint 'nose' for coco17"):
        conversion(BODY13, COCO17)
    headless = Layout("headless", BODY13.keypoints[1:], ())
    with pytest.raises(ValueError, match="layout headless has no keypoint 'head' for body13"):
        conversion(headless, BODY13)
