"""The labels of many videos, summed."""

import csv
import json
from pathlib import Path

import pytest

from poseact.clips import ClipLabel
from poseact.errors import OutputError
from poseact.records import FailedVideo, LabelledVideo
from poseact.summary import label_seconds, main_label, summarise, was_anybody_seen, write_failures, write_summary


def row(number, start, end, label, person=None, score=0.9, persons=1):
    return ClipLabel("a.mp4", number, start, end, person, label, score, (), persons)


def video(name, rows, seconds=10.0):
    return LabelledVideo(name, Path("in") / name, seconds, (48, 64), "coco17", tuple(rows))


OVERLAPPING = [
    row(0, 0, 2, "run"),
    row(1, 1, 3, "sit"),
    row(2, 2, 4, None, score=0.2),
    row(3, 3, 5, "sit"),
    row(4, 4, 6, None, score=None, persons=0),
]


def test_overlapping_clips_share_their_time():
    # Borders at 1.5, 2.5, 3.5 and 4.5 s.
    assert label_seconds(OVERLAPPING) == {"run": 1.5, None: 1.0, "sit": 2.0}


def test_the_seconds_of_a_person_are_no_more_than_the_video_has():
    both = [row(i, i, i + 2, "ab"[(i + person) % 2], person) for i in range(9) for person in (1, 2)]
    assert sum(label_seconds(both).values()) == pytest.approx(2 * 10)


def test_segments_keep_their_time():
    segments = [row(0, 0, 2.5, "run", 2), row(1, 0, 9, "sit", 1), row(2, 2.5, 5, "walk", 2), row(3, 7, 9, "run", 2)]
    assert label_seconds(segments) == {"run": 4.5, "sit": 9.0, "walk": 2.5}


@pytest.mark.parametrize(
    ("rows", "label", "is_anybody_there"),
    [
        (OVERLAPPING, "sit", True),
        ([row(0, 0, 1, "a", 1), row(1, 1, 2, "b", 1), row(0, 0, 2, "b", 2)], "b", True),
        ([row(0, 0, 1, "b"), row(1, 1, 2, "a")], "b", True),  # the first of two that are as long
        ([row(0, 0, 9, None, score=0.3), row(1, 9, 10, "a")], "a", True),
        ([row(0, 0, 9, None, score=0.3)], None, True),
        ([row(0, 0, 9, None, score=None, persons=0)], None, False),
        ([], None, False),
    ],
)
def test_the_main_label(rows, label, is_anybody_there):
    assert main_label(video("a", rows)) == label
    assert was_anybody_seen(video("a", rows)) is is_anybody_there


def test_a_run_in_numbers():
    people = [row(0, 0, 4, "sit", 1), row(0, 0, 3, "run", 7)]
    found = iter([video("a.mp4", OVERLAPPING, 6.0), video("b/c.mp4", people, 4.0), video("d.mp4", [], 0.5)])
    summary = summarise(found, [FailedVideo("e.mp4", Path("e.mp4"), 2, "e.mp4 is empty")])
    by_video = summary.pop("by_video")
    assert summary == {
        "videos": 3,
        "failed": 1,
        "seconds": 10.5,
        "clips": 7,
        "labels": {
            "sit": {"videos": 2, "clips": 3, "seconds": 6.0},
            "run": {"videos": 2, "clips": 2, "seconds": 4.5},
        },
        "unsure": {"videos": 1, "clips": 1, "seconds": 1.0},
        "nobody": {"clips": 1},
    }
    assert list(summary["labels"]) == ["sit", "run"]
    assert by_video == [
        {
            "video": "a.mp4",
            "path": str(Path("in/a.mp4")),
            "seconds": 6.0,
            "label": "sit",
            "share": round(2 / 4.5, 4),
            "people": 1,
            "labels": {"run": 1.5, "sit": 2.0},
        },
        {
            "video": "b/c.mp4",
            "path": str(Path("in/b/c.mp4")),
            "seconds": 4.0,
            "label": "sit",
            "share": round(4 / 7, 4),
            "people": 2,
            "labels": {"sit": 4.0, "run": 3.0},
        },
        {
            "video": "d.mp4",
            "path": str(Path("in/d.mp4")),
            "seconds": 0.5,
            "label": None,
            "share": None,
            "people": 0,
            "labels": {},
        },
    ]


def test_a_summary_reads_back_whatever_the_names(tmp_path):
    summary = summarise([video("tänze\udcff.mp4", OVERLAPPING)], [])
    write_summary(summary, tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_failures_read_back_as_a_table(tmp_path):
    failed = [
        FailedVideo("a.mp4", Path("in/a.mp4"), 3, 'it says "no", and\nends'),
        FailedVideo("\udcff", Path("x"), 1, ""),
    ]
    write_failures(failed, tmp_path / "failures.csv")
    with (tmp_path / "failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["video", "path", "attempts", "error"],
        ["a.mp4", str(Path("in/a.mp4")), "3", 'it says "no", and\nends'],
        ["\\udcff", "x", "1", ""],
    ]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"failures\.csv cannot be written: No such file"):
        write_failures([], tmp_path / "absent" / "failures.csv")
