"""Which row of a video's labels holds when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from poseact.clips import ClipLabel
from poseact.segments import SegmentRule, merge_segments
from poseact.timeline import Timeline


def row(start, end, label="a", person=None, clip=0) -> ClipLabel:
    return ClipLabel("v.mp4", clip, start, end, person, label, None if label is None else 0.5, (), 1)


def spans(timeline: Timeline, person=None) -> list[tuple[float, float, str | None]]:
    return [(each.start, each.end, each.label) for each in timeline.spans[person]]


def test_the_border_between_overlapping_clips_lies_in_the_middle():
    timeline = Timeline([row(0, 2), row(1, 3, "b"), row(2, 4, None)])
    assert spans(timeline) == [(0, 1.5, "a"), (1.5, 2.5, "b"), (2.5, 4, None)]
    assert timeline.end == 4
    assert timeline.names == ["a", "b"]


def test_one_row_for_each_person_holds_at_a_time():
    timeline = Timeline([row(0, 2, "a", 1), row(1, 3, "b", 1), row(1, 3, "c", 2)])
    assert {person: each.label for person, each in timeline.at(1.4).items()} == {1: "a", 2: "c"}
    assert {person: each.label for person, each in timeline.at(1.5).items()} == {1: "b", 2: "c"}
    assert timeline.at(3.0) == {}


def test_in_a_gap_no_row_holds():
    timeline = Timeline([row(0, 1), row(2, 3)])
    assert timeline.at(1.0) == {}
    assert list(timeline.at(2.0)) == [None]


def test_without_labels_nothing_holds():
    timeline = Timeline([])
    assert timeline.at(0.0) == {}
    assert timeline.lanes(3) == []
    assert timeline.end == 0


def test_people_who_are_never_there_together_share_a_lane():
    timeline = Timeline([row(0, 2, person=1), row(0, 5, person=2), row(3, 5, person=3)])
    assert [[each.person for each in lane] for lane in timeline.lanes(2)] == [[1, 3], [2]]


def test_who_is_there_for_the_shortest_time_has_no_lane_if_there_are_too_many():
    timeline = Timeline([row(0, 2, person=1), row(0, 1, person=2), row(0, 3, person=3)])
    assert [[each.person for each in lane] for lane in timeline.lanes(2)] == [[1], [3]]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from("abc")), min_size=1, max_size=20))
def test_spans_never_overlap_and_cover_what_the_rows_do(rows):
    labels = [row(start / 4, (start + length) / 4, label) for start, length, label in rows]
    timeline = Timeline(labels)
    found = timeline.spans[None]
    assert all(one.end <= other.start for one, other in pairwise(found))
    for quarter in range(60):
        time = quarter / 4 + 0.125
        covered = [each for each in labels if each.start <= time < each.end]
        assert bool(timeline.at(time)) <= bool(covered)


@given(st.integers(1, 8), st.integers(1, 8), st.lists(st.sampled_from("ab"), min_size=1, max_size=12))
def test_borders_are_those_of_segments(stride, length, names):
    labels = [row(i * stride, i * stride + length, name, clip=i) for i, name in enumerate(names)]
    merged = [(each.start, each.end) for each in merge_segments(labels, SegmentRule(patience=0, sure=0))]
    edges = {edge for span in Timeline(labels).spans[None] for edge in (span.start, span.end)}
    assert {edge for span in merged for edge in span} <= edges
