"""Where people must be between two frames, and what to look at to see them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseact.detect import Detections
from poseact.letterbox import fit
from poseact.regions import Region, found_in, regions_of, same_people
from poseact.yolo import YoloResult

HD = fit((1080, 1920), 640, 32, square=False)


def people(*boxes, scores=None):
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores or [0.9] * len(boxes), np.float32))


def seen(*boxes, scores=None):
    found = people(*boxes, scores=scores)
    return YoloResult(found.boxes, found.scores, np.zeros((len(found), 17, 3), np.float32))


def test_who_moves_a_little_is_the_same():
    before, after = people((0, 0, 50, 100), (200, 0, 250, 100)), people((210, 0, 260, 100), (5, 0, 55, 100))
    assert same_people(before, after).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("score", "is_known"), [(0.5, False), (0.2, True)])
def test_somebody_who_is_surely_in_only_one_of_the_frames_makes_them_not_the_same(score, is_known):
    one, two = people((0, 0, 50, 100)), people((0, 0, 50, 100), (300, 0, 350, 100), scores=[0.9, score])
    assert (same_people(one, two) is not None) == is_known
    assert (same_people(two, one) is not None) == is_known


def test_who_walks_is_the_same_though_the_boxes_hardly_overlap():
    assert same_people(people((0, 0, 50, 100)), people((45, 0, 95, 100))).tolist() == [[0, 0]]


def test_who_moves_far_is_not_surely_the_same():
    assert same_people(people((0, 0, 50, 100)), people((60, 0, 110, 100))) is None


def test_one_who_is_found_twice_is_the_surer_of_the_two():
    before = people((0, 0, 50, 100), (8, 0, 50, 100), scores=[0.8, 0.1])
    after = people((9, 0, 52, 100), scores=[0.9])
    assert same_people(before, after).tolist() == [[0, 0]]
    assert same_people(after, before).tolist() == [[0, 0]]


def test_who_is_less_sure_in_one_of_the_frames_is_still_the_same():
    sure, unsure = people((0, 0, 50, 100)), people((5, 0, 55, 100), scores=[0.2])
    assert same_people(sure, unsure).tolist() == [[0, 0]]
    assert same_people(unsure, sure).tolist() == [[0, 0]]


def test_two_who_walk_in_file_are_not_exchanged():
    before, after = people((0, 0, 50, 100), (25, 0, 75, 100)), people((25, 0, 75, 100), (50, 0, 100, 100))
    assert same_people(before, after) is None


def test_nobody_is_the_same_as_nobody():
    assert same_people(people(), people()).shape == (0, 2)
    assert regions_of(people().boxes, HD, 32) == []


boxes = st.lists(
    st.tuples(st.floats(0, 1800), st.floats(0, 1000), st.floats(10, 900), st.floats(10, 900)), min_size=1, max_size=5
)


@given(boxes)
def test_regions_lie_in_the_cells_of_the_whole_and_show_everybody_once(rows):
    found = np.array([(x, y, min(x + w, 1920), min(y + h, 1080)) for x, y, w, h in rows], np.float32)
    regions = regions_of(found, HD, 32)
    assert sorted(map(tuple, np.concatenate([region.boxes for region in regions]))) == sorted(map(tuple, found))
    covered = np.zeros(HD.size, int)
    for region in regions:
        top, left = (whole - window for whole, window in zip(HD.corner, region.window.corner, strict=True))
        height, width = region.window.size
        assert not any(length % 32 for length in (top, left, height, width))
        assert min(top, left) >= 0
        assert top + height <= HD.size[0]
        assert left + width <= HD.size[1]
        covered[top : top + height, left : left + width] += 1
        placed = region.window.bring(region.boxes.reshape(-1, 2))
        assert (placed > -0.01).all()
        assert (placed < np.array([width, height]) + 0.01).all()
    assert covered.max() == 1


@pytest.mark.parametrize("stride", [32, 64])
def test_sides_of_regions_are_multiples_of_the_stride(stride):
    whole = fit((1080, 1920), 640, stride, square=False)
    for width in range(20, 900, 40):
        (region,) = regions_of(people((900, 400, 900 + width, 500)).boxes, whole, stride)
        assert not any(length % stride for length in region.window.size)


def test_people_side_by_side_are_one_region_and_others_their_own():
    regions = regions_of(people((100, 400, 200, 700), (180, 400, 280, 700), (1500, 400, 1600, 700)).boxes, HD, 32)
    assert sorted(len(region.boxes) for region in regions) == [1, 2]


def region_round(*rows):
    (region,) = regions_of(people(*rows).boxes, HD, 32)
    return region


def test_who_must_be_there_is_found_among_others():
    region = region_round((900, 400, 1000, 700))
    found = found_in(region, seen((700, 300, 800, 600), (905, 405, 1005, 705), scores=[0.9, 0.6]))
    assert found.boxes.tolist() == [[905, 405, 1005, 705]]
    assert found.scores == pytest.approx([0.6])
    assert found.keypoints.shape == (1, 17, 3)


def test_who_is_not_where_they_must_be_is_not_found():
    region = region_round((900, 400, 1000, 700))
    assert found_in(region, seen((1000, 400, 1100, 700))) is None
    assert found_in(region, seen()) is None


def test_one_box_cannot_be_two_people():
    region = region_round((900, 400, 1000, 700), (910, 400, 1010, 700))
    assert found_in(region, seen((905, 400, 1005, 700))) is None
    assert len(found_in(region, seen((905, 400, 1005, 700), (915, 400, 1015, 700))).boxes) == 2


def test_who_may_go_on_beyond_the_region_is_not_found_unless_the_picture_ends_there():
    region = region_round((900, 400, 1000, 700))
    top = -region.window.corner[0] * 3  # three pixels of the picture are one of the input
    assert found_in(region, seen((900, top, 1000, 700))) is None
    lowest = Region(region_round((900, 900, 1000, 1080)).window, np.array([[900, 900, 1000, 1080]], np.float32))
    assert found_in(lowest, seen((900, 900, 1000, 1080))) is not None
