"""Clips with the same label, merged."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseact.clips import ClipLabel, LabelScore, choose_labels, only_labels
from poseact.errors import UsageError
from poseact.segments import SegmentRule, merge_segments

PLAIN = SegmentRule(patience=0.0)


def clip(number, label, score=0.6, start=None, length=2.0, person=None, source="a.mp4", persons=1):
    """A clip of 2 s, a second after the one before; the rest of the score is for another label."""
    start = float(number) if start is None else start
    top = () if score is None else (LabelScore(label or "maybe", score), LabelScore("rest", 1 - score))
    return ClipLabel(source, number, start, start + length, person, label, score, top, persons)


def clips(text, scores=None):
    """'aab-.': clips labelled a, a, b, unsure (30 %), and nobody."""
    special = {"-": (None, 0.3), ".": (None, None)}
    scores = scores or [0.6] * len(text)
    return [clip(i, *special.get(letter, (letter, scores[i]))) for i, letter in enumerate(text)]


def drawn(segments):
    return [(s.label, s.start, s.end) for s in segments]


@pytest.mark.parametrize(
    ("text", "rule", "expected"),
    [
        ("", PLAIN, []),
        ("a", PLAIN, [("a", 0, 2)]),
        ("aabb", PLAIN, [("a", 0, 2.5), ("b", 2.5, 5)]),
        ("a-a", PLAIN, [("a", 0, 1.5), ("a", 2.5, 4)]),
        ("--.", PLAIN, []),
        ("aba", PLAIN, [("a", 0, 1.5), ("b", 1.5, 2.5), ("a", 2.5, 4)]),
        # Interrupted for a second: by another label, by none, by nobody.
        ("aba", SegmentRule(patience=1), [("a", 0, 4)]),
        ("a-a", SegmentRule(patience=1), [("a", 0, 4)]),
        ("a.a", SegmentRule(patience=1), [("a", 0, 4)]),
        ("aba", SegmentRule(patience=0.9), [("a", 0, 1.5), ("b", 1.5, 2.5), ("a", 2.5, 4)]),
        ("abcaa", SegmentRule(patience=2), [("a", 0, 6)]),
        ("abcaa", SegmentRule(patience=1.9), [("a", 0, 1.5), ("b", 1.5, 2.5), ("c", 2.5, 3.5), ("a", 3.5, 6)]),
        # What follows an ended label may itself be interrupted.
        ("abbabb", SegmentRule(patience=1), [("a", 0, 1.5), ("b", 1.5, 7)]),
        # An unsure end does not count.
        ("aa--", SegmentRule(patience=9), [("a", 0, 2.5)]),
        ("-aa", PLAIN, [("a", 1.5, 4)]),
        # Too short ones are left out.
        ("aaab", SegmentRule(min_length=2, patience=0), [("a", 0, 3.5)]),
        ("aabaa", SegmentRule(min_length=2, patience=0), [("a", 0, 2.5), ("a", 3.5, 6)]),
        ("aabaa", SegmentRule(min_length=2, patience=1), [("a", 0, 6)]),
        ("ab", SegmentRule(min_length=1.5, patience=0), [("a", 0, 1.5), ("b", 1.5, 3)]),
    ],
)
def test_segments_by_hand(text, rule, expected):
    assert drawn(merge_segments(clips(text), rule)) == expected


def test_a_clip_that_is_sure_ends_another_label_however_short_it_is():
    rule = SegmentRule(patience=5, sure=0.8)
    assert drawn(merge_segments(clips("aba", [0.6, 0.79, 0.6]), rule)) == [("a", 0, 4)]
    assert drawn(merge_segments(clips("aba", [0.6, 0.8, 0.6]), rule)) == [
        *[("a", 0, 1.5), ("b", 1.5, 2.5), ("a", 2.5, 4)],
    ]
    assert drawn(merge_segments(clips("aaa", [0.6, 0.9, 0.6]), rule)) == [("a", 0, 4)]


def test_a_segment_tells_means_over_time():
    (segment,) = merge_segments([clip(0, "a", 0.5, persons=1), clip(1, "a", 0.8, persons=3), clip(2, "a", 0.9)], PLAIN)
    # The clips' own parts last 1.5, 1 and 1.5 s.
    mean = (1.5 * 0.5 + 0.8 + 1.5 * 0.9) / 4
    assert (segment.clip, segment.persons, segment.label) == (0, 3, "a")
    assert segment.score == pytest.approx(mean)
    assert [(t.label, pytest.approx(t.score)) for t in segment.top] == [("a", mean), ("rest", 1 - mean)]


def test_a_segment_is_called_what_it_is_most_likely_over_all_its_time():
    def said(number, first, other):
        best, rest = sorted((LabelScore("run", first), LabelScore("walk", other)), key=lambda each: -each.score)
        return replace(clip(number, best.label, best.score), top=(best, rest))

    unsure = [said(0, 0.5, 0.45), said(1, 0.4, 0.6), said(2, 0.48, 0.47), said(3, 0.3, 0.65), said(4, 0.46, 0.45)]
    (segment,) = merge_segments(unsure)
    assert (segment.label, segment.start, segment.end) == ("walk", 0, 6)
    assert segment.top[0] == LabelScore("walk", segment.score)


def test_an_interruption_counts_by_what_it_says_of_the_label():
    start = [clip(0, "a", 0.6), clip(1, "b", 0.5), clip(2, "a", 0.6)]
    unheard = next(merge_segments(start, SegmentRule()))
    assert unheard.score == pytest.approx(0.6 * 3 / 4)  # b's clip does not list a
    listed = replace(start[1], top=(LabelScore("b", 0.5), LabelScore("a", 0.4)))
    heard = next(merge_segments([start[0], listed, start[2]], SegmentRule()))
    assert heard.score == pytest.approx(0.6 * 3 / 4 + 0.4 / 4)
    nobody = next(merge_segments(clips("a.a"), SegmentRule()))
    assert nobody.score == pytest.approx(0.6)


def test_a_clip_that_lists_no_labels_still_has_its_score():
    (segment,) = merge_segments([replace(clip(0, "a", 0.7), top=())])
    assert segment.score == pytest.approx(0.7)
    assert [t.label for t in segment.top] == ["a"]


def test_clips_with_time_between_them():
    apart = [clip(i, "a", start=3.0 * i) for i in range(3)]
    assert drawn(merge_segments(apart, PLAIN)) == [("a", 0, 2), ("a", 3, 5), ("a", 6, 8)]
    assert drawn(merge_segments(apart, SegmentRule(patience=1))) == [("a", 0, 8)]


def test_each_person_has_segments_of_their_own():
    both = [c for i in range(4) for c in (clip(i, "a", person=1), clip(i, "ab"[i // 2], person=2))]
    segments = list(merge_segments(both, PLAIN))
    assert [(s.person, *d) for s, d in zip(segments, drawn(segments), strict=True)] == [
        *[(2, "a", 0, 2.5), (1, "a", 0, 5), (2, "b", 2.5, 5)],
    ]
    assert [s.clip for s in segments] == [0, 1, 2]


def test_each_source_has_segments_of_its_own():
    second = [replace(c, source="b.mp4") for c in clips("aa")]
    segments = list(merge_segments([*clips("aa"), *second, *second], PLAIN))
    assert [(s.source, s.clip, s.start, s.end) for s in segments] == [
        ("a.mp4", 0, 0, 3),
        *[("b.mp4", 0, 0, 3)] * 2,
    ]


def taken_until_the_first(segments_of, stream):
    """How many clips were read when the first segment was there."""
    read = []
    next(segments_of(read.append(c) or c for c in stream))
    return len(read)


def test_a_segment_is_told_as_soon_as_it_is_certain():
    def merged(stream):
        return merge_segments(stream, SegmentRule(patience=2, sure=0.8))

    endless = "a" + "b" * 50
    assert taken_until_the_first(merged, clips(endless)) == 5  # the third b's part ends 3 s after a's
    assert taken_until_the_first(merged, clips(endless, [0.9] * 51)) == 3  # one later than the first sure b
    alone = [clip(0, "a", person=1), *(clip(i, "b", person=2) for i in range(1, 50))]
    assert taken_until_the_first(merged, alone) == 6  # person 1 was last seen at 2 s, and it is 5


def test_people_who_are_gone_are_forgotten():
    import tracemalloc

    passing = (clip(i, "a", person=i) for i in range(6000))
    merged = merge_segments(passing, SegmentRule())
    for _ in range(1000):
        next(merged)
    tracemalloc.start()
    assert sum(1 for _ in merged) == 5000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize(
    "wrong",
    [{"min_length": -1}, {"patience": -0.1}, {"patience": float("inf")}, {"sure": 1.1}, {"min_length": float("nan")}],
)
def test_a_rule_is_checked(wrong):
    with pytest.raises(UsageError, match="got"):
        SegmentRule(**wrong)


@st.composite
def streams(draw):
    """Clips of up to three people who come and go, of one length and stride."""
    length, stride = draw(st.sampled_from([(2.0, 1.0), (1.5, 0.75), (2.0, 0.5), (1.0, 1.0), (1.0, 1.5)]))
    stream = []
    for number in range(draw(st.integers(0, 14))):
        people = draw(st.lists(st.sampled_from([1, 2, 3]), unique=True, max_size=3))
        for person in sorted(people):
            label = draw(st.sampled_from(["a", "b", None]))
            score = draw(st.sampled_from([0.3, 0.5, 0.9]))
            stream.append(clip(number, label, score, number * stride, length, person, persons=len(people)))
    return stream


RULES = st.builds(
    SegmentRule,
    min_length=st.sampled_from([0.0, 1.0, 2.5]),
    patience=st.sampled_from([0.0, 0.75, 1.5, 4.0]),
    sure=st.sampled_from([0.0, 0.6, 1.0]),
)


def of_each(found):
    return {person: [c for c in found if c.person == person] for person in {c.person for c in found}}


@given(streams(), RULES)
def test_a_persons_segments_are_in_order_and_never_overlap(stream, rule):
    segments = list(merge_segments(stream, rule))
    assert [s.clip for s in segments] == list(range(len(segments)))
    windows = of_each(stream)
    for person, own in of_each(segments).items():
        assert all(first.end <= second.start for first, second in pairwise(own))
        assert own[0].start >= windows[person][0].start
        assert own[-1].end <= windows[person][-1].end
        assert all(s.end - s.start >= rule.min_length - 1e-6 for s in own)
        assert all(0 <= s.score <= 1 + 1e-9 for s in own)


@given(streams())
def test_without_patience_each_label_lies_in_one_segment(stream):
    segments = of_each(list(merge_segments(stream, PLAIN)))
    for person, own in of_each(stream).items():
        held = [
            [s for s in segments.get(person, ()) if s.start <= (c.start + c.end) / 2 < s.end] for c in own if c.label
        ]
        assert [[s.label for s in each] for each in held] == [[c.label] for c in own if c.label]


@given(streams())
def test_without_patience_merging_twice_changes_nothing(stream):
    once = list(merge_segments(stream, PLAIN))
    twice = list(merge_segments(once, PLAIN))
    assert of_each([replace(s, clip=0, top=(), score=0) for s in twice]) == of_each(
        [replace(s, clip=0, top=(), score=0) for s in once]
    )
    assert sorted(s.score for s in twice) == pytest.approx(sorted(s.score for s in once))


@given(streams(), RULES)
def test_whoever_else_is_there_does_not_matter(stream, rule):
    together = of_each([replace(s, clip=0) for s in merge_segments(stream, rule)])
    for person, own in of_each(stream).items():
        alone = [replace(s, clip=0) for s in merge_segments(own, rule)]
        assert together.get(person, []) == alone


def pieces_of(own):
    """All clips of a person, cut at the middles of their overlaps."""
    borders = [((b.start + a.end) / 2,) * 2 if b.start < a.end else (a.end, b.start) for a, b in pairwise(own)]
    starts = [own[0].start, *(start for _, start in borders)]
    ends = [*(end for end, _ in borders), own[-1].end]
    return [replace(c, start=start, end=end) for c, start, end in zip(own, starts, ends, strict=True)]


def merged_at_once(pieces, rule):
    """The rule as it reads, with everything known: a label goes on with its next piece if that is soon enough."""
    while pieces:
        first, last = pieces[0], 0
        for i, piece in enumerate(pieces[1:], 1):
            if first.label is None or piece.start - pieces[last].end > rule.patience + 1e-6:
                break
            if piece.label == first.label:
                last = i
            elif piece.label is not None and piece.score >= rule.sure:
                break
        if first.label is not None and pieces[last].end - first.start >= rule.min_length - 1e-6:
            yield likeliest(pieces[: last + 1]), first.start, pieces[last].end
        pieces = pieces[last + 1 :]


def likeliest(pieces):
    """Of the labels that pieces have, the one with the most probability over all of their time."""
    sums = {piece.label: 0.0 for piece in pieces if piece.label is not None}
    for piece in pieces:
        for each in piece.top:
            if each.label in sums:
                sums[each.label] += (piece.end - piece.start) * each.score
    return max(sums, key=sums.get)


@given(streams(), RULES)
def test_as_they_come_or_all_at_once_is_the_same(stream, rule):
    found = of_each(list(merge_segments(stream, rule)))
    for person, own in of_each(stream).items():
        assert drawn(found.get(person, [])) == list(merged_at_once(pieces_of(own), rule))


def test_only_some_labels():
    assert [c.clip for c in only_labels(clips("abc-a."), frozenset("ac"))] == [0, 2, 4]


def test_labels_are_chosen_by_name_or_alias():
    known, aliases = ["golf_swing", "squat", "jumping_jacks"], {"golf": "golf_swing"}
    assert choose_labels(["golf", "squat"], known, aliases) == {"golf_swing", "squat"}
    with pytest.raises(UsageError, match=r"no label 'sqat'; did you mean squat\?"):
        choose_labels(["sqat"], known, aliases)
    with pytest.raises(UsageError, match=r"did you mean jumping_jacks\?"):
        choose_labels(["Jumping Jack"], known, aliases)
    with pytest.raises(UsageError, match="it knows golf_swing, squat, jumping_jacks"):
        choose_labels(["xyz"], known, aliases)


def test_sources_of_one_name_with_a_clip_each_are_not_merged():
    assert drawn(merge_segments([clip(0, "a"), clip(0, "a")], PLAIN)) == [("a", 0, 2)] * 2


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_segment_that_was_begun_is_told_before_what_goes_wrong(error):
    def until_something_happens():
        yield from clips("aab")
        raise error

    found = []
    with pytest.raises(error):
        found.extend(merge_segments(until_something_happens(), PLAIN))
    assert drawn(found) == [("a", 0, 2.5), ("b", 2.5, 4)]
