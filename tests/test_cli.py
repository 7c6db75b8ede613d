"""The command line as a user meets it: text, exit codes, bad input of each kind. Each runs in its own process
where the process matters, and within this one where only its words do."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import av
import pytest
from draw_actions import Scene, act, render, write_video
from test_video import audio_only, faststart
from typer.testing import CliRunner

from poseact.cli import app
from poseact.poses import load_poses

KEYS = ["source", "clip", "start", "end", "person", "label", "score", "top", "persons"]


def run(*arguments):
    """Within this process: (exit code, stdout, stderr)."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def poseact(*arguments, **options):
    """In a process of its own, as a user would."""
    command = [sys.executable, "-m", "poseact", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def one_sentence(stderr, *words):
    lines = [line for line in stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A drawn person doing jumping jacks for 1.6 s."""
    path = tmp_path_factory.mktemp("clip") / "jacks.mp4"
    write_video(path, render(Scene((act("jumping_jacks"),)), 1.6, 15), 15)
    return path


def test_help_is_there_at_once():
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        result = poseact("--help")
        seconds.append(time.perf_counter() - began)
    assert result.returncode == 0
    assert all(command in result.stdout for command in ("predict", "train", "models"))
    imported = poseact_imports("poseact.cli")
    assert not imported & {"torch", "av", "ultralytics", "numpy", "cv2"}, "the help must not wait for these"
    print(f"--help took {min(seconds):.2f} s")


def poseact_imports(module):
    script = f"import sys, {module}; print(' '.join(m for m in sys.modules if '.' not in m))"
    return set(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split())


def test_version():
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(r"poseact \d+\.\d+\.\d+\n", out)


def test_shell_completion_is_there():
    named = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else the test's own shell counts
    assert "_POSEACT_COMPLETE" in poseact("--show-completion", "bash", env=named).stdout


def test_models_lists_what_is_shipped_and_installed():
    code, out, _ = run("models")
    assert code == 0
    assert re.search(r"actions27-slowonly-joint .*classifier .*MB .*AGPL-3.0-or-later .*shipped", out)
    assert re.search(r"yolo11n-pose .*detector, pose .*6\.3 MB .*AGPL-3.0 .*installed", out)


def test_predict_in_a_pipe_gives_json_lines_and_nothing_else(clip, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    result = poseact("predict", clip, cwd=tmp_path, env={**os.environ, "HOME": str(home)})
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert list(row) == KEYS
    assert row["source"] == str(clip)
    assert (row["clip"], row["start"], row["end"], row["person"], row["persons"]) == (0, 0.0, 1.6, None, 1)
    assert row["label"] == row["top"][0]["label"] == "jumping_jacks"
    assert len(row["top"]) == 5
    written = {path.relative_to(home).parts[:3] for path in home.rglob("*") if path.is_file()}
    assert written <= {(".cache", "poseact", "openvino")}, "nothing else may be written into the user's home"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


def test_predict_to_files(clip, tmp_path):
    code, out, _ = run("predict", clip, "-o", tmp_path / "o.jsonl", "--top-k", 2, "--per-person", "-q")
    assert (code, out) == (0, "")
    row = json.loads((tmp_path / "o.jsonl").read_text())
    assert isinstance(row["person"], int)
    assert len(row["top"]) == 2
    assert run("predict", clip, "-o", tmp_path / "o.csv", "--min-score", 1)[0] == 0
    with (tmp_path / "o.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row) == KEYS
    assert row["label"] == ""
    assert json.loads(row["top"])[0]["label"] == "jumping_jacks"
    code, out, _ = run("predict", clip, "--format", "table", "--window", "whole")
    assert re.search(r"0:00\.0 – 0:01\.6 +jumping_jacks +\d+\.\d%", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.csv", "o.jsonl"]


BAD_VIDEOS = {
    "missing": (lambda path: None, "does not exist"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("not a video\n" * 9), "not a video"),
    "audio": (audio_only, "no video stream"),
    "no index": (lambda path: path.write_bytes(b"\0\0\0\x20ftypisom" + b"\0" * 3000), "not a video"),
}


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_what_is_no_video_ends_with_3(kind, tmp_path):
    make, says = BAD_VIDEOS[kind]
    path = tmp_path / "bad.mp4"
    make(path)
    code, out, err = run("predict", path)
    assert (code, out) == (3, "")
    one_sentence(err, says, "bad.mp4")


def test_the_process_itself_ends_with_the_code_and_shows_the_traceback_only_when_asked(tmp_path):
    result = poseact("predict", tmp_path / "no.mp4")
    assert result.returncode == 3
    one_sentence(result.stderr, "does not exist")
    result = poseact("predict", tmp_path / "no.mp4", "--debug")
    assert result.returncode == 3
    assert "Traceback" in result.stderr


def test_a_cut_stream_is_labelled_with_a_warning_and_no_error(tmp_path, make_bundle):
    content = faststart(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    code, out, err = run("predict", cut, "--classifier", make_bundle())
    assert code == 0
    assert json.loads(out.splitlines()[-1])["label"] is None
    assert err.count("warning:") == 1
    assert "cut" in err
    assert run("predict", cut, "--classifier", make_bundle(), "--quiet")[2] == ""


def test_good_ones_among_bad_ones_are_labelled(clip, tmp_path):
    out_file = tmp_path / "all.jsonl"
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    code, _, err = run("predict", tmp_path / "no.mp4", clip, text, "-o", out_file)
    assert code == 6
    assert [json.loads(line)["source"] for line in out_file.read_text().splitlines()] == [str(clip)]
    assert "no.mp4 does not exist" in err
    assert "text.mp4 is not a video" in err
    assert "2 of 3 videos" in err


def test_the_video_itself_is_never_written_over(clip, tmp_path):
    video = tmp_path / "v.mp4"
    video.write_bytes(clip.read_bytes())
    code, _, err = run("predict", video, "-o", video, "--format", "jsonl")
    assert code == 2
    one_sentence(err, "would overwrite what it is made from")
    assert video.read_bytes() == clip.read_bytes()
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x1,y1,x2,y2\n0,10,20,60,100\n")
    code, _, err = run("predict", video, "--boxes", boxes, "-o", boxes)
    assert code == 2
    one_sentence(err, "would overwrite what it is made from")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_that_is_no_text(clip, tmp_path):
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/x\xff.mp4")
    os.symlink(clip, strange)
    result = poseact("predict", strange, "-o", tmp_path / "o.jsonl")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "o.jsonl").read_text())["source"].endswith("x\ufffd.mp4")


def test_a_still_picture_has_no_action_in_it_but_poses(clip, tmp_path):
    photo, poses = tmp_path / "photo.jpg", tmp_path / "poses.pkl"
    with av.open(str(clip)) as container:
        next(container.decode(video=0)).to_image().save(photo)
    code, out, err = run("predict", photo)
    assert (code, out) == (3, "")
    one_sentence(err, "photo.jpg is a still picture", "no action")
    assert run("extract-poses", photo, "-o", poses)[0] == 0
    assert len(load_poses(poses).annotations) == 1


def test_all_bad_is_input_that_cannot_be_read(tmp_path):
    code, _, err = run("predict", tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert code == 3
    assert "none of the 2 videos" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--window", "soon"], "--window takes seconds"),
        (["--window", "0"], "at least 0.01 s"),
        (["--window", "whole", "--stride", "1"], "there is no stride"),
        (["--start", "3", "--end", "2"], "later than the start"),
        (["--device", "gpu"], "is no device"),
        (["--device", "cuda:99"], "cannot be used"),
        (["-o", "labels.docx"], "cannot tell the format"),
    ],
)
def test_a_wrong_option_ends_with_2(clip, arguments, says):
    code, _, err = run("predict", clip, *arguments)
    assert code == 2
    one_sentence(err, says)


@pytest.mark.parametrize("command", [["predict"], ["extract-poses", "-o", "OUT.pkl"]])
@pytest.mark.parametrize("search", [None, "auto", "whole"])
def test_where_people_are_searched_for_is_up_to_the_user(command, search, clip, tmp_path, monkeypatch):
    import poseact.extract
    import poseact.pipeline
    from poseact.errors import ModelError

    asked = []

    def stages(*_, search, **__):
        asked.append(search)
        raise ModelError("seen enough")

    monkeypatch.setattr(poseact.extract, "PoseStages", stages)
    monkeypatch.setattr(poseact.pipeline, "PoseStages", stages)
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*command, clip, *(["--search", search] if search else []))
    assert (code, asked) == (4, [search or "auto"])
    one_sentence(err, "seen enough")


@pytest.mark.parametrize("command", [["predict"], ["extract-poses", "-o", "OUT.pkl"]])
def test_with_boxes_nobody_is_searched_for(command, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x1,y1,x2,y2\n0,10,10,100,200\n")
    code, out, err = run(*command, clip, "--boxes", boxes, "--search", "whole")
    assert (code, out) == (2, "")
    one_sentence(err, "leave one of boxes and search out")


def test_fast_takes_the_small_classifier(clip, monkeypatch):
    import poseact.pipeline
    from poseact.zoo import FAST_CLASSIFIER

    loaded = []
    load = poseact.pipeline.load_classifier
    monkeypatch.setattr(
        poseact.pipeline, "load_classifier", lambda paths, *rest: loaded.append(paths) or load(paths, *rest)
    )
    assert run("predict", clip, "--fast")[0] == 0
    assert [[path.stem for path in paths] for paths in loaded] == [[FAST_CLASSIFIER]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fast", "--classifier", "mine.pt"], "--fast chooses the classifier"),
        (["--weights", "1,x"], "--weights takes numbers"),
        (["--weights", "1"], "4 classifiers need as many weights"),
        (["--precision", "float16", "--device", "cpu"], "float16 is slow"),
    ],
)
def test_choices_that_do_not_go_together_end_with_2(clip, arguments, says):
    code, out, err = run("predict", clip, *arguments)
    assert (code, out) == (2, "")
    one_sentence(err, says)


@pytest.mark.parametrize(
    "arguments", [[], ["--top-k", "0"], ["--min-score", "2"], ["--format", "xml"], ["--search", "all"], ["--nope"]]
)
def test_wrong_usage_ends_with_2(clip, arguments):
    assert run("predict", *([clip, *arguments] if arguments else []))[0] == 2


def test_a_start_behind_the_end_ends_with_3(clip):
    code, _, err = run("predict", clip, "--start", 60)
    assert code == 3
    one_sentence(err, "nothing after 60 s")


def test_a_model_that_is_none_ends_with_4(clip, tmp_path):
    text = tmp_path / "model.pt"
    text.write_text("no model")
    for arguments, says in (
        (["--classifier", text], "not a classifier bundle"),
        (["--classifier", "nope"], "actions27-slowonly-joint"),
        (["--detector", text], "cannot be loaded"),
        (["--pose", "nope"], "no pose named"),
        (["--classifier", "yolo11n-pose"], "no classifier named"),
    ):
        code, out, err = run("predict", clip, *arguments)
        assert (code, out) == (4, ""), err
        one_sentence(err, says)


def test_a_bundle_whose_hash_is_wrong_is_refused(clip, tmp_path, monkeypatch):
    from poseact import zoo

    for file in zoo.models_folder().iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "actions27-x3d-s-limb-2.pt").open("ab") as file:
        file.write(b"x")
    monkeypatch.setattr(zoo, "models_folder", lambda: tmp_path)
    code, _, err = run("predict", clip)
    assert code == 4
    one_sentence(err, "SHA-256 differs")


def test_output_that_cannot_be_written_ends_with_5(clip, tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    for output, says in (
        (tmp_path / "no" / "o.jsonl", "make its folder first"),
        (tmp_path / "folder.jsonl", "is a folder"),
    ):
        code, _, err = run("predict", clip, "-o", output)
        assert code == 5
        one_sentence(err, says)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without space")
def test_a_full_disk_ends_with_5(clip):
    code, _, err = run("predict", clip, "-o", "/dev/full")
    assert code == 5
    one_sentence(err, "no space left")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "poseact", "predict", str(clip)], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 5
    one_sentence(result.stderr, "standard output", "no space left")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without space")
@pytest.mark.parametrize(
    "arguments", [["models"], ["--help"], ["--version"], ["label", "--dry-run", "-o", "OUT", "CLIP"]]
)
def test_whatever_is_printed_a_full_disk_ends_with_5(arguments, clip, tmp_path):
    """By Rich, by Typer before any command begins, and as bytes."""
    paths = {"CLIP": clip, "OUT": tmp_path / "out"}
    command = [sys.executable, "-m", "poseact", *(str(paths.get(a, a)) for a in arguments)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 5
    one_sentence(result.stderr, "standard output", "no space left")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_ends_with_130_and_keeps_what_was_written(tmp_path):
    video = tmp_path / "long.mp4"
    write_video(video, render(Scene((act("squat"),)), 6.0, 10, (180, 320)), 10)
    output = tmp_path / "o.jsonl"
    output.write_text("earlier\n")
    command = [sys.executable, "-m", "poseact", "predict", *[str(video)] * 40, "-o", str(output)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "o.jsonl.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    one_sentence(err, "interrupted", "o.jsonl.part")
    assert output.read_text() == "earlier\n"
    assert all(json.loads(line)["source"] == str(video) for line in part.read_text().splitlines())


def test_a_reader_that_has_enough_is_no_error(clip):
    command = f"{sys.executable} -m poseact predict {clip} {clip} {clip} | head -c 20"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("arguments", ["models", "--help"])
def test_a_reader_that_closes_the_pipe_is_left_in_peace(arguments):
    command = [sys.executable, "-m", "poseact", arguments]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        result = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert result.stderr == ""
    assert result.returncode in (0, 1)  # Rich and Click have their own ways with it
