"""What is drawn on pictures, looked at by its pixels."""

import numpy as np
import pytest

from poseact.clips import ClipLabel
from poseact.drawing import PALETTE, Drawing, colour_of_id, label_colours
from poseact.lettering import Lettering, readable_on
from poseact.skeleton import BODY13
from poseact.timeline import Timeline
from poseact.video_poses import PeopleAt

SIZE = (240, 320)
GREY = 100


def people(*boxes, ids=None, score=0.9, low=()) -> PeopleAt:
    """People whose keypoints lie on the middle of their boxes from top to bottom; low: (keypoint, score)."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    down = np.linspace(0.1, 0.9, 13, dtype=np.float32)
    x = np.broadcast_to((boxes[:, :1] + boxes[:, 2:3]) / 2, (len(boxes), 13))
    y = boxes[:, 1:2] + down * (boxes[:, 3:] - boxes[:, 1:2])
    scores = np.full((len(boxes), 13), score, np.float32)
    for keypoint, value in low:
        scores[:, keypoint] = value
    ids = np.arange(1, len(boxes) + 1) if ids is None else np.array(ids)
    return PeopleAt(ids, boxes, np.stack([x, y], axis=-1), scores)


def row(start, end, label="squat", person=None, score=0.9) -> ClipLabel:
    return ClipLabel("v.mp4", 0, start, end, person, label, score, (), 1)


def drawn(who: PeopleAt, *rows, time=0.0, size=SIZE, seconds=10.0) -> np.ndarray:
    image = np.full((*size, 3), GREY, np.uint8)
    Drawing(size, BODY13, Timeline(rows), seconds).draw(image, who, time)
    return image


def share_of(image: np.ndarray, colour) -> float:
    return float((np.abs(image.astype(int) - colour).max(axis=2) < 12).mean())


def test_box_and_skeleton_have_the_colour_of_the_id():
    image = drawn(people((100, 80, 160, 200), ids=[4]))
    colour = colour_of_id(4)
    assert np.abs(image[120:180, 100].astype(int) - colour).max() < 40
    assert share_of(image[90:190, 125:136], colour) > 0.05
    assert (image[100:180, 105:120] == GREY).all()


def test_the_label_of_a_person_is_above_the_box():
    image = drawn(people((100, 80, 160, 200)), row(0, 10, person=1))
    above = image[60:79, 100:260]
    assert share_of(above, label_colours(["squat"])["squat"]) > 0.2
    assert (drawn(people((100, 80, 160, 200)))[60:78, 130:] == GREY).all()


def test_of_somebody_at_the_top_the_label_is_inside():
    image = drawn(people((100, 0, 160, 200)), row(0, 10, person=1))
    assert share_of(image[:19, 100:260], label_colours(["squat"])["squat"]) > 0.2


@pytest.mark.parametrize("box", [(300, 20, 318, 60), (-30, 20, 20, 60), (0, 235, 30, 240), (400, 400, 500, 500)])
def test_a_label_never_leaves_the_picture(box):
    image = drawn(people(box), row(0, 10, "somersault", person=1))[:233]  # without the bar
    colour = label_colours(["somersault"])["somersault"]
    chip = Lettering(11, ["somersault"]).chip("somersault 90%", colour)
    assert share_of(image, colour) * image[..., 0].size >= 0.9 * share_of(chip, colour) * chip[..., 0].size


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (2160, 200), (33, 701)])
def test_pictures_of_any_size_can_be_drawn_on(size):
    height, width = size
    who = people((0, 0, width / 2, height / 2), (-50, -50, 1e9, np.float32(1e9)))
    image = drawn(who, row(0, 10, "a_label_that_is_very_long", person=1), row(0, 10, "another"), size=size)
    assert image.shape == (*size, 3)
    assert (image != GREY).any()


def test_labels_of_neighbours_do_not_cover_each_other():
    boxes = [(100, 100, 130, 200), (110, 101, 140, 200), (120, 102, 150, 200)]
    image = drawn(people(*boxes), *(row(0, 10, name, person) for person, name in enumerate(("run", "jump", "sit"), 1)))
    for name, colour in label_colours(["run", "jump", "sit"]).items():
        chip = Lettering(11).chip(f"{name} 90%", colour)
        seen = share_of(image[:215], colour) * image[:215, :, 0].size
        assert seen > 0.9 * share_of(chip, colour) * chip[..., 0].size


def test_a_label_that_is_in_the_way_is_just_above_the_other():
    image = drawn(people((100, 100, 130, 200), (104, 101, 140, 200)))
    height = Lettering(11).height
    assert share_of(image[100 - height : 99, 101:103], colour_of_id(1)) > 0.9
    assert share_of(image[101 - 2 * height : 99 - height, 105:107], colour_of_id(2)) > 0.9


def test_the_label_of_the_clip_is_in_the_corner():
    image = drawn(people(), row(0, 5))
    assert share_of(image[:18, :60], label_colours(["squat"])["squat"]) > 0.3


def test_of_nobody_and_of_what_is_unsure_there_is_no_label():
    assert (drawn(people(), row(0, 5, None, score=None))[:40] == GREY).all()
    unsure = drawn(people(), row(0, 5, None, score=0.2))[:18, :60]
    assert share_of(unsure, (64, 64, 64)) > 0.3


def test_the_bar_shows_labels_over_time_and_where_we_are():
    image = drawn(people(), row(0, 5), row(7.5, 10, "run"), time=6.0)
    colours = label_colours(["run", "squat"])
    bar = image[-4]
    assert (bar[10:150] == colours["squat"]).all()
    assert (bar[250:310] == colours["run"]).all()
    assert (bar[170:185] == (24, 24, 24)).all()
    assert (bar[192] == 255).all()


def test_the_clip_that_is_shown_is_framed_in_the_bar():
    image = drawn(people(), row(0, 5), row(5, 10), time=2.0)
    assert (image[-2, 80:150] == 255).all()
    assert not (image[-8:, 170:310] == 255).all(axis=-1).any()


def test_each_person_has_a_lane_in_the_bar():
    image = drawn(people(), row(0, 10, "run", 1), row(0, 10, "sit", 2), time=9.9)
    colours = label_colours(["run", "sit"])
    assert {name for name in colours if share_of(image[-14:, 50:250], colours[name]) > 0.1} == {"run", "sit"}


def test_a_keypoint_whose_score_hovers_does_not_flicker():
    drawing = Drawing(SIZE, BODY13, Timeline([]), 10.0)

    def limb_is_seen(score: float, time: float) -> bool:
        image = np.full((*SIZE, 3), GREY, np.uint8)
        drawing.draw(image, people((100, 40, 160, 220), score=0.0, low=[(8, 0.9), (10, score)]), time)
        return bool((image[175:181, 125:136] != GREY).any())

    assert not limb_is_seen(0.3, 0.0)
    assert limb_is_seen(0.4, 0.1)
    assert [limb_is_seen(score, 0.2 + i / 10) for i, score in enumerate((0.3, 0.36, 0.25, 0.34))] == [True] * 4
    assert not limb_is_seen(0.1, 0.8)


def test_a_label_does_not_jump_with_its_box():
    drawing = Drawing(SIZE, BODY13, Timeline([row(0, 10, person=1)]), 10.0)
    tops = []
    for frame in range(40):
        image = np.full((*SIZE, 3), GREY, np.uint8)
        drawing.draw(image, people((100, 100 + 8 * (frame % 2), 160, 200)), frame / 60)
        tops.append(int(np.flatnonzero((image[:, 112] != GREY).any(axis=1))[0]))
    assert max(np.abs(np.diff(tops[1:]))) <= 2


@pytest.mark.parametrize("colour", [*PALETTE, *label_colours([chr(97 + i) for i in range(16)]).values()])
def test_letters_stand_out_from_their_background(colour):
    def luminance(of):
        linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in of]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(colour), luminance(readable_on(colour))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_labels_of_a_video_have_different_colours_that_stay():
    names = [f"label{i}" for i in range(16)]
    assert len(set(label_colours(names).values())) == 16
    assert label_colours(["squat"]) == {"squat": label_colours(["squat", "squat"])["squat"]}
    assert len(label_colours([f"label{i}" for i in range(40)])) == 40


def test_letters_that_are_not_ascii_are_drawn():
    lettering = Lettering(24, ["Käse", "бег"])
    assert (lettering.chip("ä", (0, 0, 0)) != lettering.chip("a", (0, 0, 0))).any()
    missing = lettering.chip("\uffff", (0, 0, 0))
    for letter in "äбß":
        chip = lettering.chip(letter, (0, 0, 0))
        assert chip.shape != missing.shape or (chip != missing).any()


def test_letters_that_the_usual_font_lacks_are_looked_for_in_others(caplog):
    lettering = Lettering(24, ["run", "\u20dd"])  # an enclosing circle, which STIX has, as matplotlib brings it
    assert "DejaVuSans-Bold" not in lettering.font.path
    assert not caplog.records


def test_letters_that_no_font_has_are_told_once(caplog):
    text = "\U0010fffd"  # for private use
    chip = Lettering(12, [text]).chip(text, (0, 0, 0))
    assert chip.size
    assert [record.message for record in caplog.records if "no font here" in record.message]


def test_what_is_too_long_is_cut_but_for_its_end():
    lettering = Lettering(12)
    short = lettering.shortened("somersault", " 90%", 90)
    assert short.endswith("… 90%")
    assert short.startswith("som")
    assert lettering.width(short) <= 90
    assert lettering.shortened("somersault", " 90%", 1) == "90%"
    assert lettering.shortened("run", " 90%", 500) == "run 90%"
