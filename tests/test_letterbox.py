"""Pictures in the grey frame that Ultralytics' weights were trained with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.letterbox import fit
from poseact.yolo import import_ultralytics


def test_an_oblong_picture_gets_no_more_grey_than_the_stride_asks_for():
    box = fit((1080, 1920), 640, 32, square=False)
    assert (box.fitted, box.corner, box.size) == ((360, 640), (12, 0), (384, 640))
    assert fit((1080, 1920), 640, 32, square=True).size == (640, 640)
    assert fit((1920, 1080), 640, 64, square=False).size == (640, 384)


@settings(max_examples=80, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), square=st.booleans(), stride=st.sampled_from([32, 64]))
def test_the_input_is_that_of_ultralytics(height, width, square, stride):
    import_ultralytics()
    from ultralytics.data.augment import LetterBox

    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    wanted = LetterBox(128, auto=not square, stride=stride)(image=picture)
    assert (fit((height, width), 128, stride, square).put(picture) == wanted).all()


@pytest.mark.parametrize("picture", [(1080, 1920), (97, 41), (3, 500)])
def test_points_go_back_into_the_picture_as_with_ultralytics(picture):
    import_ultralytics()
    import torch
    from ultralytics.utils.ops import scale_coords

    box = fit(picture, 256, 32, square=False)
    points = np.random.default_rng(0).uniform(-20, 280, (9, 2)).astype(np.float32)
    wanted = scale_coords(box.size, torch.from_numpy(points.copy()), picture).numpy()
    assert box.take_back(points) == pytest.approx(wanted, abs=1e-3)
    assert box.take_back(points).dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(st.integers(40, 300), st.integers(40, 300), st.data())
def test_a_window_shows_a_part_as_it_stands_in_the_whole(height, width, data):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    whole = fit((height, width), 192, 32, square=False)
    left, top = (data.draw(st.integers(0, side - 1)) for side in whole.size[::-1])
    right, bottom = data.draw(st.integers(left + 1, whole.size[1])), data.draw(st.integers(top + 1, whole.size[0]))
    window = whole.window(np.array([left, top, right, bottom]))
    assert (window.put(picture) == whole.put(picture)[top:bottom, left:right]).all()
    point = np.array([[width / 3, height / 2]], np.float32)
    assert window.bring(point) == pytest.approx(whole.bring(point) - [left, top], abs=1e-3)
    assert window.take_back(window.bring(point)) == pytest.approx(point, abs=1e-3)
