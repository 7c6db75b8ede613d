"""Labels for ELAN, read back by pympi and looked at as XML."""

import itertools
import os
import time
from datetime import datetime
from xml.etree import ElementTree

import pympi
import pytest

from poseact.clips import ClipLabel
from poseact.sinks import open_sink


def row(number, start, end, label, person=None, score=0.6, source="a.mp4"):
    return ClipLabel(str(source), number, start, end, person, label, score, (), 1)


def write(path, rows):
    with open_sink(path, None) as sink:
        for each in rows:
            sink.write(each)
    return pympi.Eaf(str(path))


def test_a_tier_for_each_person(tmp_path):
    rows = [row(i, i, i + 2, "ab"[i // 2], person) for i in range(4) for person in (12, 3)]
    rows.append(row(4, 4, 5, None, 20))
    eaf = write(tmp_path / "a.eaf", rows)
    assert list(eaf.get_tier_names()) == ["person 3", "person 12", "person 20"]
    for person in (3, 12):
        assert eaf.get_annotation_data_for_tier(f"person {person}") == [(0, 2500, "a"), (2500, 5000, "b")]
        assert eaf.get_parameters_for_tier(f"person {person}")["PARTICIPANT"] == f"person {person}"
    assert eaf.get_annotation_data_for_tier("person 20") == []


def test_a_tier_for_the_clip(tmp_path):
    eaf = write(tmp_path / "a.eaf", [row(0, 0, 2, "a"), row(1, 2, 4, None), row(2, 4, 5.5, "b")])
    assert list(eaf.get_tier_names()) == ["clip"]
    assert eaf.get_annotation_data_for_tier("clip") == [(0, 2000, "a"), (4000, 5500, "b")]
    assert list(write(tmp_path / "b.eaf", []).get_tier_names()) == ["clip"]


def test_the_document_is_as_the_schema_wants_it(tmp_path, monkeypatch):
    """What EAFv2.8.xsd says of the elements that are written, and what it cannot say: the order of time."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        write(tmp_path / "a.eaf", [row(i, i, i + 2, "abc"[i % 3], p) for i in range(9) for p in (1, 2)])
    finally:
        monkeypatch.undo()
        time.tzset()
    root = ElementTree.parse(tmp_path / "a.eaf").getroot()
    kinds = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "CONSTRAINT"]
    assert sorted((e.tag for e in root), key=kinds.index) == [e.tag for e in root]
    written = datetime.fromisoformat(root.get("DATE"))
    assert written.utcoffset().total_seconds() == 5.5 * 3600
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(slots.values())
    used, names = [], []
    for tier in root.iter("TIER"):
        spans = []
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            ends = annotation.get("TIME_SLOT_REF1"), annotation.get("TIME_SLOT_REF2")
            used += ends
            spans.append(tuple(slots[end] for end in ends))
            names.append(annotation.get("ANNOTATION_ID"))
        assert all(start < end for start, end in spans)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    assert sorted(used) == sorted(slots)  # none is shared, so that one can be moved without another
    assert len(set(names)) == len(names) == 18
    kinds_of_tiers = {kind.get("LINGUISTIC_TYPE_ID") for kind in root.iter("LINGUISTIC_TYPE")}
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} <= kinds_of_tiers
    (last,) = (e.text for e in root.iter("PROPERTY") if e.get("NAME") == "lastUsedAnnotationId")
    assert int(last) >= max(int(name[1:]) for name in names)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", "video/mp4"),
        ("b.AVI", "video/x-msvideo"),
        ("c.mov", "video/quicktime"),
        ("d.mpg", "video/mpeg"),
        ("e", "video/*"),
        ("tänze & <1>, 100%20.mp4", "video/mp4"),
    ],
)
def test_the_video_is_linked_by_both_its_names(tmp_path, name, kind):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    video = tmp_path / "in" / name
    video.touch()
    eaf = write(tmp_path / "out" / "a.eaf", [row(0, 0, 1, "a", source=video)])
    (media,) = eaf.media_descriptors
    # ELAN takes the text after file:// as it is, so nothing in it may be escaped.
    assert media == {"MEDIA_URL": f"file://{video}", "RELATIVE_MEDIA_URL": f"../in/{name}", "MIME_TYPE": kind}
    beside = write(tmp_path / "in" / "a.eaf", [row(0, 0, 1, "a", source=video)])
    assert beside.media_descriptors[0]["RELATIVE_MEDIA_URL"] == f"./{name}"


def test_what_is_no_file_is_not_linked(tmp_path):
    assert write(tmp_path / "a.eaf", [row(0, 0, 1, "a", source="rtsp://camera/1")]).media_descriptors == []


def test_labels_and_names_may_hold_anything(tmp_path):
    labels = ["a<b> & \"q\" 'x' ]]>", "ctl\x00\x1b\ud800\uffff x", "two\nlines", "走る_ä"]
    video = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    video.touch()
    eaf = write(tmp_path / "a.eaf", [row(i, i, i + 1, label, source=video) for i, label in enumerate(labels)])
    shown = [text for *_, text in eaf.get_annotation_data_for_tier("clip")]
    assert shown == [labels[0], "ctl x", "two lines", "走る_ä"]
    assert eaf.media_descriptors[0]["RELATIVE_MEDIA_URL"] == "./caf\ufffd.mp4"


def test_a_file_that_is_there_is_replaced_and_nothing_else_appears(tmp_path):
    (tmp_path / "a.eaf").write_text("yesterday's")
    write(tmp_path / "a.eaf", [row(0, 0, 1, "a")])
    assert [path.name for path in tmp_path.iterdir()] == ["a.eaf"]  # pympi's own way leaves a.bak
