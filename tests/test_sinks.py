"""Three labels by hand into each format, and files that appear only when they are whole."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from poseact.clips import ClipLabel, LabelScore
from poseact.errors import OutputError, UsageError
from poseact.sinks import SINKS, check_sources, open_sink
from poseact.sinks.csv import CsvSink
from poseact.sinks.elan import ElanSink
from poseact.sinks.jsonl import JsonlSink
from poseact.sinks.parquet import ParquetSink
from poseact.sinks.subtitles import SrtSink, VttSink
from poseact.sinks.table import TableSink, clock

KEYS = ["source", "clip", "start", "end", "person", "label", "score", "top", "persons"]

SURE = ClipLabel(
    source="videos/tänze, 1.mp4",
    clip=0,
    start=0.0,
    end=2.00049,
    person=None,
    label="jump",
    score=0.87654,
    top=(LabelScore("jump", 0.87654), LabelScore("walk, slowly", 0.1), LabelScore("sit", 0.001)),
    persons=2,
)
UNSURE = ClipLabel("a.mp4", 1, 1.0004, 3.1236, 7, None, 0.25, (LabelScore("sit", 0.25), LabelScore("run", 0.2)), 1)
NOBODY = ClipLabel("a.mp4", 2, 61.27, 75.28, None, None, None, (), 0)
THREE = [SURE, UNSURE, NOBODY]

FORMATS = pytest.mark.parametrize("ending", ["jsonl", "csv", "txt"])
WHOLE_FORMATS = pytest.mark.parametrize("ending", ["srt", "vtt", "eaf", "parquet"])


def write(path, clips=THREE, **options):
    with open_sink(path, None, **options) as sink:
        for clip in clips:
            sink.write(clip)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("start", "end", "score", "message"),
    [
        (2.0, 2.0, 0.5, "must end after it starts"),
        (3.0, 2.0, 0.5, "must end after it starts"),
        (0.0, 1.0, None, "the label 'jump' has no score"),
    ],
)
def test_a_label_checks_itself(start, end, score, message):
    with pytest.raises(ValueError, match=message):
        ClipLabel("a", 0, start, end, None, "jump", score, (), 1)


def test_json_lines_read_back(tmp_path):
    lines = write(tmp_path / "labels.jsonl").splitlines()
    first, second, third = (json.loads(line) for line in lines)
    assert list(first) == list(second) == list(third) == KEYS
    assert first == {
        "source": "videos/tänze, 1.mp4",
        "clip": 0,
        "start": 0.0,
        "end": 2.0,
        "person": None,
        "label": "jump",
        "score": 0.8765,
        "top": [
            {"label": "jump", "score": 0.8765},
            {"label": "walk, slowly", "score": 0.1},
            {"label": "sit", "score": 0.001},
        ],
        "persons": 2,
    }
    assert (second["start"], second["end"], second["person"], second["label"]) == (1.0, 3.124, 7, None)
    assert (third["score"], third["top"], third["persons"]) == (None, [], 0)
    assert "tänze" in lines[0]


def test_csv_reads_back(tmp_path):
    write(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [KEYS] * 3
    first, second, third = rows
    assert first["source"] == "videos/tänze, 1.mp4"
    assert (first["start"], first["end"], first["person"], first["label"]) == ("0.0", "2.0", "", "jump")
    assert json.loads(first["top"])[1] == {"label": "walk, slowly", "score": 0.1}
    assert (second["end"], second["person"], second["label"], second["score"]) == ("3.124", "7", "", "0.25")
    assert (third["label"], third["score"], third["top"], third["persons"]) == ("", "", "[]", "0")


def test_a_table_for_people(tmp_path):
    header, first, second, third = write(tmp_path / "labels.txt", per_person=True).splitlines()
    assert header.split() == ["time", "person", "label", "score", "or", "else"]
    assert "0:00.0 – 0:02.0" in first
    assert first.split()[3:5] == ["jump", "87.7%"]
    assert "walk, slowly 10%" in first
    assert "sit" not in first  # below half a percent
    assert second.split()[3:6] == ["7", "unsure", "25.0%"]
    assert "sit 25%, run 20%" in second
    assert third.split() == ["1:01.3", "–", "1:15.3", "nobody"]


def test_columns_of_a_table_stand_below_each_other(tmp_path):
    header, first, second, third = write(tmp_path / "labels.txt").splitlines()
    assert header.index("label") == first.index("jump") == second.index("unsure") == third.index("nobody")


def test_a_table_without_a_label_for_each_person_has_no_column_for_them(tmp_path):
    header, _, second, _ = write(tmp_path / "labels.txt").splitlines()
    assert header.split() == ["time", "label", "score", "or", "else"]
    assert second.split()[3] == "unsure"


def test_a_row_is_one_line_however_long_the_names(tmp_path):
    top = tuple(LabelScore("a_name_that_goes_on_and_on_and_on" * 2, 0.2) for _ in range(5))
    clip = ClipLabel("a", 0, 0, 1, None, "another_name_without_an_end", 0.5, top, 1)
    _, row = write(tmp_path / "labels.txt", [clip]).splitlines()
    assert len(row) <= 110
    assert "another_name_wi…" in row


def test_a_table_names_the_video_if_there_are_several(tmp_path):
    header, first, *_ = write(tmp_path / "labels.txt", many_sources=True).splitlines()
    assert header.startswith("video")
    assert first.startswith("tänze, 1.mp4 ")


def test_a_label_is_text_and_no_markup(tmp_path):
    clip = ClipLabel("a", 0, 0, 1, None, "[red]go[/red]", 0.5, (), 1)
    assert "[red]go[/red]" in write(tmp_path / "labels.txt", [clip])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (9.96, "0:10.0"), (59.94, "0:59.9"), (59.96, "1:00.0"), (75.25, "1:15.3"), (3600, "60:00.0")],
)
def test_the_clock(seconds, shown):
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", JsonlSink),
        ("a.ndjson", JsonlSink),
        ("a.CSV", CsvSink),
        ("a.txt", TableSink),
        ("a.srt", SrtSink),
        ("a.vtt", VttSink),
        ("a.eaf", ElanSink),
        ("a.parquet", ParquetSink),
    ],
)
def test_the_ending_chooses_the_format(tmp_path, name, kind):
    with open_sink(tmp_path / name, None) as sink:
        assert type(sink) is kind


def test_a_named_format_overrules_the_ending(tmp_path):
    with open_sink(tmp_path / "a.csv", "jsonl") as sink:
        assert type(sink) is JsonlSink


def test_an_unknown_ending_or_format_is_a_usage_error_and_makes_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"labels\.xml: cannot tell the format .* \.jsonl, \.ndjson, \.csv, \.txt"):
        open_sink(tmp_path / "labels.xml", None)
    with pytest.raises(UsageError, match="no format 'xml'; choose one of table, jsonl, csv"):
        open_sink(tmp_path / "labels.csv", "xml")
    assert not list(tmp_path.iterdir())


def test_a_pipe_gets_json_lines(capsys):
    with open_sink(None, None) as sink:
        sink.write(SURE)
    assert json.loads(capsys.readouterr().out)["label"] == "jump"
    assert not sys.stdout.closed


@FORMATS
def test_labels_are_written_at_once_and_the_name_appears_with_the_last(tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    part = tmp_path / f"labels.{ending}.part"
    with open_sink(path, None) as sink:
        sink.write(SURE)
        assert "jump" in part.read_text(encoding="utf-8")
        assert not path.exists()
    assert "jump" in path.read_text(encoding="utf-8")
    assert not part.exists()


@FORMATS
def test_an_error_keeps_the_old_file_and_what_was_written(tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    path.write_text("the result of yesterday")
    sink = open_sink(path, None)
    with pytest.raises(RuntimeError, match="power cut"), sink:  # noqa: PT012
        sink.write(SURE)
        sink.write(UNSURE)
        raise RuntimeError("power cut")
    part = tmp_path / f"labels.{ending}.part"
    assert path.read_text() == "the result of yesterday"
    assert "jump" in part.read_text(encoding="utf-8")
    assert sink.kept == f"the 2 labels so far are in {part}"


def test_an_error_before_the_first_label_leaves_nothing(tmp_path):
    sink = open_sink(tmp_path / "labels.csv", None)
    with pytest.raises(RuntimeError), sink:
        raise RuntimeError("no video")
    assert not list(tmp_path.iterdir())
    assert sink.kept == ""


def test_a_result_replaces_the_old_file(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text("the result of yesterday\n")
    assert len(write(path).splitlines()) == 3


def test_an_empty_result_is_a_file_too(tmp_path):
    assert write(tmp_path / "labels.csv", []) == ",".join(KEYS) + "\n"
    assert write(tmp_path / "labels.jsonl", []) == ""
    assert write(tmp_path / "labels.txt", []).split()[0] == "time"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("format", SINKS)
def test_a_full_disk_is_an_output_error(format):
    sink = open_sink(Path("/dev/full"), format)
    with pytest.raises(OutputError, match=r"/dev/full cannot be written: no space left on device; free some"), sink:
        sink.write(SURE)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_a_device_is_written_to_and_not_replaced():
    with open_sink(Path("/dev/null"), None) as sink:
        sink.write(SURE)
    assert Path("/dev/null").is_char_device()
    assert not Path("/dev/null.part").exists()


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match=r"folder\.csv is a folder; give the name of a file"):
        open_sink(tmp_path / "folder.csv", None)
    with pytest.raises(OutputError, match=r"a\.csv cannot be written: no such file or directory; make its folder"):
        open_sink(tmp_path / "absent" / "a.csv", None)


def test_two_runs_into_the_same_file_do_not_meet(tmp_path):
    output = tmp_path / "labels.jsonl"
    with open_sink(output, None) as first, open_sink(output, None) as second:
        first.write(THREE[0])
        second.write(THREE[1])
        second.write(THREE[2])
        assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.jsonl.2.part", "labels.jsonl.part"]
    assert [p.name for p in tmp_path.iterdir()] == ["labels.jsonl"]
    assert len(output.read_text().splitlines()) == 1  # the one that ended last


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    real.touch()
    link.symlink_to(real)
    write(link)
    assert link.is_symlink()
    assert len(real.read_text(encoding="utf-8").splitlines()) == 3


def test_a_dash_is_standard_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with open_sink(Path("-"), "jsonl") as sink:
        sink.write(THREE[0])
    assert json.loads(capsys.readouterr().out)["clip"] == THREE[0].clip
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_output_whatever_its_name(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        open_sink(tmp_path, None)


@WHOLE_FORMATS
def test_a_whole_file_appears_when_it_is_complete(tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    with open_sink(path, None) as sink:
        sink.write(SURE)
        assert not path.exists()
    assert b"jump" in path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert sink.kept == ""


@WHOLE_FORMATS
def test_an_error_leaves_a_whole_file_of_what_came(tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    path.write_text("the result of yesterday")
    sink = open_sink(path, None)
    with pytest.raises(KeyboardInterrupt), sink:  # noqa: PT012
        sink.write(SURE)
        kept = sink.kept
        raise KeyboardInterrupt
    part = tmp_path / f"labels.{ending}.part"
    assert kept == sink.kept == f"the 1 labels so far are in {part}"
    with open_sink(tmp_path / f"whole.{ending}", None) as whole:
        whole.write(SURE)
    # But for the date, which ELAN's files have.
    assert part.read_bytes()[-200:] == (tmp_path / f"whole.{ending}").read_bytes()[-200:]
    assert path.read_text() == "the result of yesterday"


@WHOLE_FORMATS
def test_an_error_before_the_first_label_leaves_nothing_of_a_whole_file(tmp_path, ending):
    with pytest.raises(RuntimeError), open_sink(tmp_path / f"labels.{ending}", None):
        raise RuntimeError("no video")
    assert not list(tmp_path.iterdir())


@WHOLE_FORMATS
def test_a_whole_file_that_cannot_be_written_is_not_said_to_be_kept(tmp_path, ending, monkeypatch):
    sink = open_sink(tmp_path / f"labels.{ending}", None)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.OSFile", full)
    monkeypatch.setattr(sink, "stream", type("Full", (), {"write": full, "close": sink.stream.close})())
    with pytest.raises(OutputError, match="no space left on device; free some space"), sink:
        sink.write(SURE)
    assert sink.kept == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["srt", "vtt", "elan"])
def test_a_second_video_does_not_go_into_the_file_of_one(tmp_path, format):
    sink = open_sink(tmp_path / "a", format)
    with pytest.raises(UsageError, match=r"holds one video, and here are a\.mp4 and b\.mp4; .* `poseact label`"), sink:  # noqa: PT012
        sink.write(ClipLabel("a.mp4", 0, 0, 1, None, "sit", 0.5, (), 1))
        sink.write(ClipLabel("b.mp4", 0, 0, 1, None, "run", 0.5, (), 1))
    assert [p.name for p in tmp_path.iterdir()] == ["a.part"]
    with pytest.raises(UsageError, match="hold one video each, and here are 3; `poseact label`"):
        check_sources(tmp_path / "a", format, 3)
    check_sources(tmp_path / "a", format, 1)


def test_other_formats_take_many_videos():
    for format in ("table", "jsonl", "csv", "parquet"):
        check_sources(None, format, 3)
    with pytest.raises(UsageError, match="srt files hold one video each"):
        check_sources(Path("a.srt"), None, 2)


class _Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.mark.parametrize("format", ["elan", "parquet"])
def test_bytes_are_not_for_a_terminal(format, monkeypatch):
    monkeypatch.setattr(sys, "stdout", _Terminal(io.BytesIO()))
    with pytest.raises(UsageError, match="not for a terminal; give a file by -o, or a pipe"):
        open_sink(None, format)


@pytest.mark.parametrize(("format", "begin"), [("srt", b"1\n"), ("vtt", b"WEBVTT"), ("elan", b"<?xml")])
def test_a_pipe_gets_what_a_file_would(format, begin, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8"))
    with open_sink(None, format) as sink:
        sink.write(SURE)
    assert out.getvalue().startswith(begin)
    assert b"jump" in out.getvalue()


def test_a_file_of_a_name_that_is_no_text_is_told_by_every_format(tmp_path):
    clip = ClipLabel("a\udcff.mp4", 0, 0, 1, None, "sit", 0.5, (), 1)
    assert json.loads(write(tmp_path / "a.jsonl", [clip]))["source"] == "a\udcff.mp4"
    assert "a\\udcff.mp4" in write(tmp_path / "a.csv", [clip])
    assert "a\\udcff.mp4" in write(tmp_path / "a.txt", [clip], many_sources=True)
    for ending in ("srt", "vtt", "eaf"):
        assert "sit" in write(tmp_path / f"a.{ending}", [clip])
