"""`poseact predict` as a stream: live sources, segments, several videos at once, the profile."""

import json
import subprocess
import sys

import pytest
from test_cli import clip, one_sentence, poseact, run  # noqa: F401  (clip is a fixture)


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def greys(tmp_path, draw_video):
    """Five seconds of plain grey, in which nobody is."""
    return draw_video(tmp_path / "greys.mkv", 125, fps=25)


def test_a_video_can_be_piped_in(clip, make_bundle):  # noqa: F811
    expected = run("predict", clip, "--fast")[1]
    with open(clip, "rb") as file:
        piped = subprocess.run(
            [sys.executable, "-m", "poseact", "predict", "-", "--fast", "--format", "jsonl"],
            stdin=file,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert piped.returncode == 0, piped.stderr
    (found,), (file_row,) = rows(piped.stdout), rows(expected)
    assert found["source"] == "standard input"
    assert (found["label"], found["start"], found["end"]) == (file_row["label"], file_row["start"], file_row["end"])


def test_a_pipe_with_nothing_in_it_is_input_that_cannot_be_read():
    result = poseact("predict", "-", stdin=subprocess.DEVNULL)
    assert result.returncode == 3
    one_sentence(result.stderr, "standard input")


def test_a_live_source_that_is_not_there_is_told_at_once():
    code, _, err = run("predict", "rtsp://user:secret@127.0.0.1:9/door")
    assert code == 3
    one_sentence(err, "rtsp://127.0.0.1:9/door")
    assert "secret" not in err


def test_a_file_can_be_played_as_if_it_were_live(greys, make_bundle):
    code, out, err = run("predict", greys, "--realtime", "--classifier", make_bundle(), "--end", 3)
    assert code == 0, err
    assert rows(out)[0]["persons"] == 0
    assert "labels came" in err
    assert "after the last picture of their clip" in err


def test_segments_are_rows_from_when_a_label_begins_to_when_it_ends(clip, tmp_path):  # noqa: F811
    options = ("--fast", "--window", 0.8, "--stride", 0.2)
    clips = rows(run("predict", clip, *options)[1])
    assert len(clips) > 2
    segments = rows(run("predict", clip, *options, "--segments")[1])
    assert [row["label"] for row in segments] == ["jumping_jacks"]
    assert segments[0]["start"] == min(row["start"] for row in clips)
    assert segments[0]["end"] == max(row["end"] for row in clips)
    assert rows(run("predict", clip, *options, "--segments", "--min-length", 60)[1]) == []
    assert rows(run("predict", clip, *options, "--segments", "--only", "squat,walk")[1]) == []
    assert len(rows(run("predict", clip, *options, "--only", "walk,jumping_jacks")[1])) == len(clips)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--min-length", 2), "add --segments"),
        (("--pose-fps", "fast"), "--pose-fps takes frames a second or 'all'"),
        (("--pose-fps", 0), "above 0"),
        (("--only", "sqat", "--fast"), "did you mean squat?"),
        (("--segments", "--min-length", -1), "min-length"),
        (("--at-once", 0), "at-once"),
        (("--sampling", "never"), "sampling"),
    ],
)
def test_wrong_options_are_wrong_usage(greys, options, says):
    code, out, err = run("predict", greys, *options)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    "options", [("--sampling", "dense"), ("--pose-fps", "7"), ("--realtime",), ("--backend", "native")]
)
def test_options_about_pictures_are_refused_for_poses(tmp_path, options):
    (tmp_path / "poses.pkl").write_bytes(b"")
    code, _, err = run("predict", tmp_path / "poses.pkl", *options)
    assert code == 2
    one_sentence(err, options[0], "only poses are given")


def test_a_profile_names_the_stages_and_the_one_that_limits(clip):  # noqa: F811
    code, out, err = run("predict", clip, "--fast", "--profile")
    assert code == 0
    assert len(rows(out)) == 1
    for stage in ("decoding", "conversion to RGB", "detection and poses", "people and clips"):
        assert stage in err
    assert "limits: it works" in err


def test_how_many_frames_are_looked_at_is_the_users_choice(clip, capsys):  # noqa: F811
    def looked_at(*options):
        err = run("predict", clip, "--fast", "--profile", *options)[2]
        (line,) = (line for line in err.splitlines() if "detection and poses" in line and "│" in line)
        return int(line.split("│")[2])

    assert looked_at("--pose-fps", "all", "--sampling", "dense") == 24  # 1.6 s of 15 frames a second
    assert looked_at("--pose-fps", 5) == 8


def test_several_videos_at_once_come_in_their_order(clip, greys, tmp_path):  # noqa: F811
    code, out, _ = run("predict", clip, greys, clip, "--fast", "--at-once", 3)
    assert code == 0
    sources = [row["source"] for row in rows(out)]
    assert [source for n, source in enumerate(sources) if n == 0 or sources[n - 1] != source] == [
        str(clip),
        str(greys),
        str(clip),
    ]
