"""Labels as subtitles, read back by other programs."""

import itertools

import av
import pytest
import webvtt

from poseact.clips import ClipLabel, LabelScore
from poseact.segments import SegmentRule, merge_segments
from poseact.sinks import open_sink
from poseact.sinks.spans import plain, spans_of
from poseact.sinks.subtitles import cues_of


def row(number, start, end, label, person=None, score=0.6, source="a.mp4"):
    top = () if label is None else (LabelScore(label, score), LabelScore("other", 1 - score))
    return ClipLabel(source, number, start, end, person, label, score, top, 1)


def write(path, rows):
    with open_sink(path, None) as sink:
        for each in rows:
            sink.write(each)
    return path


def seen_by_ffmpeg(path):
    """(start, end, text) of each subtitle that FFmpeg decodes."""
    shown = []
    with av.open(str(path)) as container:
        for packet in (packet for packet in container.demux() if packet.size):
            start = float(packet.pts * packet.time_base)
            # What follows the eighth comma of a line of SubStation is its text.
            texts = [subtitle.ass.decode().split(",", 8)[8] for subtitle in packet.decode()]
            shown += [(start, round(start + float(packet.duration * packet.time_base), 3), text) for text in texts]
    return shown


def seen_by_webvtt(path):
    captions = webvtt.read(str(path)) if path.suffix == ".vtt" else webvtt.from_srt(str(path))
    return [(caption.start, caption.end, caption.text) for caption in captions]


BOTH = pytest.mark.parametrize("ending", ["srt", "vtt"])


@BOTH
def test_overlapping_clips_become_cues_one_after_the_other(tmp_path, ending):
    rows = [row(i, i, i + 2, label) for i, label in enumerate(["run", "run", None, None, "sit", "sit"])]
    path = write(tmp_path / f"a.{ending}", rows)
    assert seen_by_ffmpeg(path) == [(0, 2.5, "run"), (4.5, 7, "sit")]
    assert seen_by_webvtt(path) == [
        ("00:00:00.000", "00:00:02.500", "run"),
        ("00:00:04.500", "00:00:07.000", "sit"),
    ]


@BOTH
def test_several_people_share_a_cue_with_a_line_each(tmp_path, ending):
    rows = [row(0, 0, 4, "sit", 12), row(1, 2, 6, "walk", 2), row(2, 4, 6, "run", 12)]
    path = write(tmp_path / f"a.{ending}", rows)
    assert seen_by_ffmpeg(path) == [
        (0, 2, "person 12: sit"),
        (2, 4, r"person 2: walk\Nperson 12: sit"),
        (4, 6, r"person 2: walk\Nperson 12: run"),
    ]


def test_the_files_as_they_are(tmp_path):
    rows = [row(0, 3599.9996, 3661.25, "sit", 1), row(1, 3599.9996, 3661.25, "run", 2)]
    assert write(tmp_path / "a.srt", rows).read_bytes() == (
        b"1\n01:00:00,000 --> 01:01:01,250\nperson 1: sit\nperson 2: run\n\n"
    )
    assert write(tmp_path / "a.vtt", rows).read_bytes() == (
        b"WEBVTT\n\n1\n01:00:00.000 --> 01:01:01.250\nperson 1: sit\nperson 2: run\n\n"
    )


STRANGE = [
    "a<b>bold</b> & \"q\" 'x'",
    "a --> b 00:00:01,000 --> 00:00:02,000",
    r"{\an8}{\p1}up\now\N",
    "&lt;",
    "走る_ä",
]


@BOTH
def test_a_label_is_text_and_no_markup(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", [row(i, i, i + 1, label) for i, label in enumerate(STRANGE)])
    # Before FFmpeg hands text on as SubStation's, it escapes what would be markup there.
    shown = [text.replace("\u2060", "").replace("\\{{}", "{").replace("\\{", "{") for *_, text in seen_by_ffmpeg(path)]
    assert shown == STRANGE
    if ending == "vtt":
        assert "a &lt;b&gt;" not in path.read_text(encoding="utf-8")
        assert "a&lt;b&gt;bold&lt;/b&gt; &amp; " in path.read_text(encoding="utf-8")
        assert path.read_text(encoding="utf-8").count("-->") == len(STRANGE)


@BOTH
def test_a_label_stays_in_its_line(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", [row(0, 0, 1, "two\n\n3\x00\x1b lines\u2028"), row(1, 1, 2, "b")])
    assert [text for *_, text in seen_by_ffmpeg(path)] == ["two 3 lines", "b"]
    assert plain("a\ud800b\uffff") == "a b"


@BOTH
def test_nothing_to_show_is_a_file_too(tmp_path, ending):
    rows = [row(0, 0, 2, None), ClipLabel("a.mp4", 1, 1.0, 3.0, None, None, None, (), 0)]
    for some in ([], rows):
        path = write(tmp_path / f"a.{ending}", some)
        assert path.read_text().strip() == {"srt": "", "vtt": "WEBVTT"}[ending]


def test_cues_never_overlap_and_tell_all_of_the_time():
    labels = itertools.cycle("abcab-cc")
    rows = [
        row(i, i * 0.75, i * 0.75 + 1.5, None if label == "-" else label, person)
        for i in range(40)
        for person, label in zip((1, 2, 3), labels, strict=False)
    ]
    spans = spans_of(rows)
    cues = list(cues_of(spans))
    assert all(start < end for start, end, _ in cues)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(cues))
    assert all(a[1] < b[0] or a[2] != b[2] for a, b in itertools.pairwise(cues))
    told = sum((end - start) * len(lines) for start, end, lines in cues)
    assert told == sum(round(1000 * span.end) - round(1000 * span.start) for span in spans)


def test_what_is_shorter_than_a_millisecond_is_not_shown():
    assert list(cues_of([row(0, 0, 0.0001, "a"), row(1, 1, 2, "b")])) == [(1000, 2000, ("b",))]


def test_segments_stay_what_they_are():
    # Of a short one between long ones it is known already that it is none to be passed over.
    segments = [row(0, 0, 10, "sit", 1), row(1, 10, 11, "jump", 1, score=0.5), row(2, 11, 20, "sit", 1)]
    assert [(span.start, span.end, span.label) for span in spans_of(segments)] == [
        (0, 10, "sit"),
        (10, 11, "jump"),
        (11, 20, "sit"),
    ]
    # As they come: each when it is certain, so not in the order of their start.
    clips = [row(i, i, i + 2, "ab"[i // 6 % 2] if person == 2 else "c", person) for i in range(30) for person in (1, 2)]
    merged = list(merge_segments(clips, SegmentRule()))
    assert [each.start for each in merged] != sorted(each.start for each in merged)
    again = spans_of(merged)
    assert sorted((s.person, s.start, s.end, s.label) for s in again) == sorted(
        (s.person, s.start, s.end, s.label) for s in merged
    )
