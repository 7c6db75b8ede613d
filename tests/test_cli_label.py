"""`poseact label` and `--save-video` as a user meets them: a whole run, what is refused, what is told."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import av
import pytest
import typer
from test_cli import clip, one_sentence, poseact, run  # noqa: F401  (clip is a fixture)
from typer.testing import CliRunner

from poseact.cli import run_display
from poseact.cli.console import stderr
from poseact.cli.groups import takes
from poseact.cli.run_display import RunDisplay


@pytest.fixture
def folder(tmp_path, clip):  # noqa: F811
    """A drawn video, a broken one and something else, in folders of their own."""
    videos = tmp_path / "videos"
    for name in ("day 1/jacks.mp4", "day 2/no ending"):
        path = videos / name
        path.parent.mkdir(parents=True)
        path.write_bytes(clip.read_bytes())
    (videos / "day 2" / "broken.mp4").write_bytes(clip.read_bytes()[:3000])
    (videos / "notes.txt").write_text("no video")
    return videos


def test_a_whole_run_and_all_that_it_leaves(folder, tmp_path):
    output = tmp_path / "out"
    result = poseact(
        *("label", folder, "-o", output, "--fast", "--workers", 2, "--report", "--save-video", "--per-person"),
        *("--format", "jsonl,csv,parquet,srt,vtt,elan", "--sort-into", tmp_path / "sorted"),
    )
    assert result.returncode == 6, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 2
    assert "broken.mp4" in errors[0]
    assert "1 of 3 videos could not be labelled" in errors[1]
    assert result.stdout == ""
    found = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    beside = {
        f"videos/{name}{end}" for name in ("day 1/jacks", "day 2/no ending") for end in (".srt", ".vtt", ".eaf", ".mp4")
    }
    tables = {
        "labels.jsonl",
        "labels.csv",
        "labels.parquet",
        "summary.json",
        "failures.csv",
        "report.html",
        "run.sqlite",
    }
    assert found == beside | tables
    rows = [json.loads(line) for line in (output / "labels.jsonl").read_text().splitlines()]
    assert [Path(row["source"]).name for row in rows] == ["jacks.mp4", "no ending"]
    assert {row["label"] for row in rows} == {"jumping_jacks"}
    assert [path.name for path in (tmp_path / "sorted").rglob("*.*")] == ["day 1_jacks.mp4"]
    assert (tmp_path / "sorted" / "jumping_jacks" / "day 2_no ending").is_symlink()
    with av.open(str(output / "videos" / "day 1" / "jacks.mp4")) as drawn:
        assert drawn.streams.video[0].frames == 24
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["videos"], summary["failed"], summary["labels"]["jumping_jacks"]["videos"]) == (2, 1, 2)

    page = (output / "report.html").read_bytes()
    (output / "report.html").unlink()
    again = poseact("report", output)
    assert again.returncode == 0, again.stderr
    assert len((output / "report.html").read_bytes()) == pytest.approx(len(page), rel=0.01)


def test_pictures_that_a_run_did_not_take_are_taken_for_the_report(folder, tmp_path, make_bundle):
    output = tmp_path / "out"
    assert run("label", folder / "day 1", "-o", output, "--fast", "--workers", 1)[0] == 0
    assert run("report", output, "-o", tmp_path / "page.html")[0] == 0
    with_pictures = (tmp_path / "page.html").stat().st_size
    code, _, err = run("report", output, "-o", output / "run.sqlite")
    assert (code, "would overwrite" in err) == (2, True)
    (folder / "day 1" / "jacks.mp4").unlink()
    code, _, err = run("report", output)
    assert code == 0, err
    assert (output / "report.html").stat().st_size == pytest.approx(with_pictures, rel=0.01)


def test_a_dry_run_writes_nothing(folder, tmp_path):
    code, out, err = run("label", folder, "-o", tmp_path / "out", "--dry-run")
    assert code == 0
    assert [Path(line).name for line in out.splitlines()] == ["jacks.mp4", "broken.mp4", "no ending"]
    assert "3 of 3 videos would be labelled" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--copy"], 2, "--sort-into"),
        (["--by", "label"], 2, "--sort-into"),
        (["--format", "xml"], 2, "'xml'"),
        (["--format", ","], 2, "no format"),
        (["--devices", "tpu"], 2, "'tpu' is no device"),
        (["--devices", ","], 2, "no device"),
        (["--min-length", "1"], 2, "--segments"),
        (["--fast", "--classifier", "x.pt"], 2, "--fast"),
        (["--classifier", "missing.pt"], 4, "missing.pt"),
        (["--only", "flying"], 2, "flying"),
        (["--boxes", "no/such/boxes"], 3, "boxes"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(folder, tmp_path, options, code, words):
    found, _, err = run("label", folder, "-o", tmp_path / "out", *options)
    assert found == code, err
    one_sentence(err, words)
    assert not (tmp_path / "out" / "run.sqlite").exists()


def test_an_empty_folder_and_a_file_for_the_output_are_told(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    code, _, err = run("label", tmp_path / "empty", "-o", tmp_path / "out")
    assert code == 3
    one_sentence(err, "holds no videos")
    code, _, err = run("label", folder, "-o", folder / "notes.txt")
    assert code == 5
    one_sentence(err, "is a file")
    code, _, err = run("report", tmp_path / "empty")
    assert code == 3
    one_sentence(err, "holds no run")


def test_predict_saves_the_video(clip, tmp_path):  # noqa: F811
    code, out, err = run("predict", clip, "--fast", "--save-video", tmp_path / "drawn.mp4", "--format", "jsonl")
    assert code == 0, err
    assert json.loads(out)["label"] == "jumping_jacks"
    with av.open(str(tmp_path / "drawn.mp4")) as drawn:
        stream = drawn.streams.video[0]
        assert (stream.codec_context.name, stream.frames) == ("h264", 24)
        picture = next(drawn.decode(stream)).to_ndarray(format="rgb24")
    with av.open(str(clip)) as plain:
        before = next(plain.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == before.shape
    assert (abs(picture.astype(int) - before).max(axis=2) > 60).mean() > 0.005, "nothing is drawn"


def test_predict_refuses_drawings_that_cannot_be(clip, tmp_path):  # noqa: F811
    poses = tmp_path / "poses.pkl"
    poses.write_bytes(b"")
    other = tmp_path / "other"
    other.mkdir()
    (other / clip.name).write_bytes(clip.read_bytes())
    for arguments, words in (
        ([clip, "--save-video", clip], "would overwrite"),
        ([clip, "--save-video", tmp_path / "drawn.avi"], "must end in .mp4"),
        ([poses, "--save-video", tmp_path / "drawn.mp4"], "poses.pkl is none"),
        ([clip, other / clip.name, "--save-video", tmp_path / "drawn"], "several of the videos"),
        ([clip, clip, "--save-video", other], "several of the videos"),
    ):
        code, _, err = run("predict", *arguments)
        assert code == 2, err
        one_sentence(err, words)


def test_a_group_of_options_is_spread_over_a_command():
    @dataclass(frozen=True)
    class Shared:
        speed: Annotated[int, typer.Option(min=1)] = 3
        name: str = "nobody"

    seen = []

    @takes(Shared)
    def command(what: str, shared: Shared, loud: bool = False) -> None:
        """What it does."""
        seen.append((what, shared, loud))

    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["run", "--speed", "5", "--loud"]).exit_code == 0
    assert CliRunner().invoke(app, ["run", "--speed", "0"]).exit_code == 2
    assert "What it does." in CliRunner().invoke(app, ["--help"]).output
    assert seen == [("run", Shared(5, "nobody"), True)]


@pytest.fixture
def pretended_run():
    job = SimpleNamespace(video=SimpleNamespace(name="day 1/squat.mp4"))
    busy = SimpleNamespace(number=1, device="cpu", job=job, is_ready=True, done=3.0, total=4.0)
    loading = SimpleNamespace(number=2, device="cpu", job=None, is_ready=False, done=0.0, total=None)
    return SimpleNamespace(
        videos=[None] * 100, known=10, done=0, failed=0, rows=0, total=90, crew=SimpleNamespace(workers=[busy, loading])
    )


def test_the_display_tells_how_far_it_is_and_how_long_it_takes(pretended_run, monkeypatch, capsys):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(run_display.time, "monotonic", lambda: clock.now)
    with RunDisplay(pretended_run, quiet=False) as display:
        for second in range(1, 47):
            clock.now = float(second)
            pretended_run.done, pretended_run.rows = second, 3 * second
            display.update(object())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "100 videos, 10 of them labelled already"
    assert lines[1] == "40 of 100 videos labelled, 180 clips a minute, about 60 s left"
    with RunDisplay(pretended_run, quiet=True) as display:
        display.update(None)
    assert capsys.readouterr().err == ""


def test_messages_are_written_above_the_display_not_into_it(pretended_run):
    assert RunDisplay(pretended_run, quiet=False)._live.console is stderr()


def test_the_display_shows_what_each_worker_does(pretended_run):
    from rich.console import Console

    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(RunDisplay(pretended_run, quiet=False)._shown())
    text = console.export_text()
    assert re.search(r"worker 1 +cpu +squat\.mp4 +75%", text)
    assert re.search(r"worker 2 +cpu +loads its models", text)
    assert "10/100" in text


@pytest.mark.parametrize(
    ("seconds", "told"), [(12, "12 s"), (600, "10 min"), (7200, "2 h 00 min"), (36_090, "10 h 02 min")]
)
def test_times_are_told_as_people_do(seconds, told):
    assert run_display._told(seconds) == told
