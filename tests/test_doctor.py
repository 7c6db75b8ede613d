"""`poseact doctor`: the checks together, the command, and the self-test; see test_doctor_checks.py for each check."""

import json

import pytest
from typer.testing import CliRunner

import poseact.doctor
from poseact.cli import app
from poseact.clips import ClipLabel, LabelScore
from poseact.doctor import Finding, examine, findings, selftest
from poseact.errors import ModelError

# --- the whole of it


def test_this_machine_is_healthy_and_the_self_test_runs_the_whole_chain():
    found = examine()
    assert {finding.part for finding in found} >= {"system", "packages", "devices", "video", "cache", "models"}
    assert [finding for finding in found if finding.status == "broken"] == []
    (chain,) = [finding for finding in found if finding.part == "self test"]
    assert "2 s of " in chain.text
    assert "people found, followed and labelled" in chain.text


def test_a_check_that_crashes_is_a_finding_and_the_others_go_on(capsys):
    def first():
        yield Finding("first", "a", "seen before the crash")
        print("noise of a library")
        raise SystemError("the library is\nbroken")

    def second():
        yield Finding("second", "b", "fine")

    told = []
    found = examine(told.append, (first, second))
    assert told == ["first", "second"]
    assert [f.text for f in found] == ["seen before the crash", "stopped by SystemError: the library is", "fine"]
    assert [f.status for f in found] == ["ok", "broken", "ok"]
    assert "poseact doctor --json" in found[1].remedy
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [SystemExit(3), ModelError("it is too old; run: pip install it")])
def test_what_ends_a_program_or_is_an_error_of_ours_is_a_finding(error):
    def check():
        raise error
        yield

    (found,) = examine(checks=(check,))
    assert (found.part, found.status) == ("check", "broken")
    if isinstance(error, ModelError):
        assert (found.text, found.remedy) == ("it is too old", "pip install it")


def test_what_a_broken_package_stops_points_to_the_package():
    def packages():
        yield Finding("packages", "torch", "broken", "broken", "pip install torch")

    def devices():
        raise OSError("no torch")
        yield

    assert [f.remedy for f in examine(checks=(packages, devices))] == [
        "pip install torch",
        "mend the packages above first",
    ]


def test_the_home_folder_names_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "jane"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "jane"))

    def check():
        yield Finding("a", "b", f"{tmp_path}/jane/x and {tmp_path}/janet", "warning", f"delete {tmp_path}/jane/x")

    (found,) = examine(checks=(check,))
    assert found.text == f"~/x and {tmp_path}/janet"
    assert found.remedy == "delete ~/x"


def test_a_home_that_is_the_root_is_left_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    (found,) = examine(checks=(lambda: [Finding("a", "b", "/tmp/x")],))
    assert found.text == "/tmp/x"


def test_a_finding_that_is_not_ok_needs_a_remedy():
    with pytest.raises(ValueError, match="remedy"):
        Finding("a", "b", "wrong", "broken")
    with pytest.raises(ValueError, match="remedy"):
        Finding("a", "b", "right", "ok", "do nothing")


# --- the command


@pytest.fixture
def command(monkeypatch):
    """command(findings, *options): what `poseact doctor` makes of these findings."""

    def run(found, *options):
        monkeypatch.setattr(poseact.doctor, "examine", lambda on_check: found)
        return CliRunner().invoke(app, ["doctor", *options])

    return run


OK = Finding("video", "decoders", "H.264 [all]")
WARNING = Finding("cache", "folder", "full", "warning", "free some space")
BROKEN = Finding("packages", "opencv", "lacks libGL.so.1", "broken", "pip install " + "long-name " * 30)


@pytest.mark.parametrize(("found", "code"), [([OK], 0), ([OK, WARNING], 0), ([OK, BROKEN, WARNING], 1)])
def test_only_what_is_broken_fails(command, found, code):
    assert command(found).exit_code == code
    answer = command(found, "--json")
    assert answer.exit_code == code
    content = json.loads(answer.stdout)
    assert content["healthy"] == (code == 0)
    assert [finding["name"] for finding in content["findings"]] == [finding.name for finding in found]


def test_in_a_pipe_it_is_plain_lines_and_a_remedy_is_one_of_them(command):
    lines = command([OK, BROKEN]).stdout.splitlines()
    assert lines[0] == "ok      video, decoders: H.264 [all]"
    assert lines[1] == "broken  packages, opencv: lacks libGL.so.1"
    assert lines[2].strip() == f"remedy: {BROKEN.remedy.strip()}"


def test_in_a_terminal_it_is_a_table_and_a_remedy_one_line_below_it(command, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    text = command([OK, BROKEN]).stdout
    assert "\x1b[" in text
    assert "H.264 [all]" in text
    assert any(BROKEN.remedy.strip() in line for line in text.splitlines())


# --- the self-test


def label(person, score=0.9):
    top = (LabelScore("wave", score),)
    return ClipLabel("bus.mp4", 0, 0.0, 2.0, person, "wave", score, top, 3)


@pytest.mark.parametrize(
    ("labels", "status", "remedy"),
    [
        ([label(1), label(2), label(3)], "ok", ""),
        ([label(1)], "broken", "--device cpu"),
        ([ClipLabel("bus.mp4", 0, 0.0, 2.0, None, None, None, (), 0)], "broken", "--device cpu"),
        ([label(1), label(2, float("nan"))], "broken", "--precision float32"),
    ],
)
def test_what_the_self_test_makes_of_its_labels(labels, status, remedy):
    found = selftest.judge(labels, "2 s of h264 on cpu", "models 1.0 s, video 1.0 s")
    assert found.status == status
    assert remedy in found.remedy


def test_the_self_test_without_its_photo_is_a_warning(monkeypatch):
    monkeypatch.setattr(selftest, "photo_of_people", lambda: None)
    (found,) = selftest.self_test()
    assert (found.status, found.remedy) == ("warning", "pip install --force-reinstall --no-deps ultralytics")


def test_the_video_of_the_self_test_moves(tmp_path):
    from poseact.video import Video

    selftest.write_pan(selftest.photo_of_people(), tmp_path / "pan.mp4")
    with Video(tmp_path / "pan.mp4") as video:
        frames = list(video.frames())
    assert len(frames) == 12
    assert frames[0].image.shape == (480, 348, 3)
    step = frames[10].image[:, :-10].astype(int) - frames[0].image[:, 10:]
    assert abs(step).mean() < abs(frames[10].image.astype(int) - frames[0].image).mean() / 3


def test_a_chain_that_fails_is_broken_with_the_remedy_of_its_error(monkeypatch):
    from poseact.pipeline import Pipeline

    def stream(self, source):
        raise ModelError("the pose model is odd; run: pip install another")
        yield

    monkeypatch.setattr(Pipeline, "stream", stream)
    (found,) = examine(checks=(selftest.self_test,))
    assert (found.part, found.status, found.text) == ("self test", "broken", "the pose model is odd")
    assert found.remedy == "pip install another"


def test_sentences_of_errors_are_split_into_what_is_wrong_and_what_to_do():
    assert findings.split_remedy("a; b; run: c") == ("a; b", "c")
    assert findings.split_remedy("a") == ("a", "")
