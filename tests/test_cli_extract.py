"""`poseact extract-poses` as a user meets it, and `predict` of what it writes: text, exit codes, kills."""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
from draw_actions import Scene, act, render, write_video
from test_cli import KEYS, clip, one_sentence, poseact, run  # noqa: F401

from poseact.cli.console import videos_bar
from poseact.poses import load_poses
from poseact.skeleton import COCO17


@pytest.fixture
def folder(clip, tmp_path, monkeypatch):  # noqa: F811
    """The current folder, with videos/jack/a.mp4 and videos/odd/b.mp4: somebody who does jumping jacks for 1.6 s."""
    for name in ("jack/a.mp4", "odd/b.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(out):
    return [json.loads(line) for line in out.splitlines()]


def test_extract_train_splits_labels_and_predict(folder):
    code, out, err = run("extract-poses", "videos", "-o", "p.pkl", "--labels-from-folders", "--split", "test:1")
    assert (code, out) == (0, "")
    assert err.splitlines() == ["video 1 of 2, jack/a.mp4: 1 person", "video 2 of 2, odd/b.mp4: 1 person"]
    file = load_poses("p.pkl")
    assert file.splits == {"test": ["jack/a.mp4", "odd/b.mp4"]}
    assert (folder / "p_labels.txt").read_text() == "jack\nodd\n"
    code, out, err = run("predict", "p.pkl", "--fast")
    assert (code, err) == (0, "")
    code, expected, _ = run("predict", "videos/jack/a.mp4", "videos/odd/b.mp4", "--fast")
    assert code == 0
    assert [list(row) for row in rows_of(out)] == [KEYS] * 2
    for found, wanted in zip(rows_of(out), rows_of(expected), strict=True):
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-3)
        assert {key: found[key] for key in KEYS if key not in ("score", "top")} == {
            key: wanted[key] for key in KEYS if key not in ("score", "top")
        }


def test_a_second_time_nothing_is_done_and_nothing_is_lost(folder):
    assert run("extract-poses", "videos", "-o", "p.pkl", "-q") == (0, "", "")
    before = (folder / "p.pkl").read_bytes()
    code, _, err = run("extract-poses", "videos", "-o", "p.pkl")
    assert (code, err) == (0, "p.pkl is complete already; nothing to do\n")
    code, _, err = run("extract-poses", "videos", "-o", "p.pkl", "--subjects", "main")
    assert code == 2
    one_sentence(err, "p.pkl exists", "--resume")
    code, _, err = run("extract-poses", "videos/jack", "-o", "p.pkl", "--resume")
    assert code == 2
    one_sentence(err, "which would be lost")
    assert (folder / "p.pkl").read_bytes() == before


def test_tables_for_those_without_python(folder):
    assert run("extract-poses", "videos/jack/a.mp4", "-o", "p.csv", "--pose-fps", 5, "-q")[0] == 0
    with open("p.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4], abs=0.07)
    assert {f"{name}_x" for name in COCO17.keypoints} < set(rows[0])
    assert run("extract-poses", "videos/jack/a.mp4", "-o", "p.json", "--pose-fps", 5, "-q")[0] == 0
    assert [row["time"] for row in json.loads((folder / "p.json").read_text())] == [float(row["time"]) for row in rows]


def test_broken_videos_among_good_ones_end_with_6(folder):
    (folder / "videos" / "jack" / "z.mp4").write_text("no video")
    code, _, err = run("extract-poses", "videos", "gone.mp4", "-o", "p.pkl", "-q")
    assert code == 6
    assert "z.mp4 is not a video" in err
    assert "gone.mp4 does not exist; check the path; it is left out" in err
    assert "2 of 4 videos could not be read; the others are in p.pkl" in err
    assert len(load_poses("p.pkl").annotations) == 2


def test_poses_and_videos_on_one_command_line(folder):
    assert run("extract-poses", "videos/jack", "-o", "p.pkl", "-q")[0] == 0
    (folder / "bad.pkl").write_bytes(b"\x80\x04no")
    code, out, err = run("predict", "p.pkl", "videos/odd/b.mp4", "bad.pkl", "--per-person", "--top-k", 1, "--fast")
    assert code == 6
    assert [row["source"] for row in rows_of(out)] == ["videos/jack/a.mp4", "videos/odd/b.mp4"]
    assert {row["label"] for row in rows_of(out)} == {"jumping_jacks"}
    assert "bad.pkl is not a pickle of poses" in err
    code, out, _ = run("predict", "p.pkl", "--format", "table", "--fast")
    assert "a.mp4" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["predict", "p.pkl", "--pose-fps", "5"], 2, "--pose-fps is about finding poses in a video"),
        (["predict", "p.pkl", "--detector", "yolo11n-pose"], 2, "--detector is about finding poses"),
        (["predict", "absent.pkl"], 3, "absent.pkl cannot be read"),
        (["predict", "a.mp4", "b.mp4", "--follow", "1,1,9,9@0"], 2, "points at somebody in one video"),
        (["predict", "a.mp4", "--subjects", "few"], 2, "--subjects takes a count"),
        (["extract-poses", "videos", "-o", "q.pkl", "--follow", "1,1,9,9@0", "--subjects", "2"], 2, "no say"),
        (["extract-poses", "videos", "-o", "q.pkl", "--follow", "1,1,9,9@0"], 2, "here are 2; give one"),
        (["extract-poses", "videos", "-o", "q.pkl", "--follow", "here"], 2, "x1,y1,x2,y2@SECONDS"),
        (["extract-poses", "videos", "-o", "q.npz"], 2, "poses are written as one of .pkl"),
        (["extract-poses", "videos", "-o", "q.pkl", "--split", "train:0.5"], 2, "must add up to 1"),
        (["extract-poses", "videos", "-o", "q.pkl", "--label-file", "x.csv"], 3, "the labels x.csv cannot be read"),
        (["extract-poses", "videos", "-o", "q.pkl", "--labels-from-folders", "--label-file", "x.csv"], 2, "both"),
        (["extract-poses", "no*.mp4", "-o", "q.pkl"], 3, "no*.mp4 matches no file"),
        (["extract-poses", "gone.mp4", "-o", "q.pkl"], 3, "gone.mp4 does not exist"),
        (["extract-poses", "videos", "-o", "q.pkl", "--detector", "nope"], 4, "nope"),
        (["extract-poses", "videos", "-o", "no/q.pkl"], 5, "the folder of no/q.pkl does not exist"),
        (["extract-poses", "videos", "-o", "q.pkl", "--pose-fps", "0"], 2, "above 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_calls_end_with_one_sentence_and_write_nothing(folder, arguments, code, says):
    if arguments[1] == "p.pkl":
        run("extract-poses", "videos", "-o", "p.pkl", "-q", "--pose-fps", 1)
    before = sorted(os.listdir())
    found, out, err = run(*arguments)
    assert (found, out) == (code, ""), err
    assert says in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert sorted(os.listdir()) == before


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_a_kill_loses_no_more_than_the_video_in_hand(folder):
    write_video(folder / "videos" / "zz.mp4", render(Scene((act("squat"),)), 3.0, 20, (180, 320)), 20)
    process = subprocess.Popen([sys.executable, "-m", "poseact", "extract-poses", "videos", "-o", "p.pkl", "-q"])
    parts = folder / "p.pkl.parts"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.pkl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (folder / "p.pkl").exists()
    assert len(list(parts.glob("*.pkl"))) == 2
    code, _, err = run("extract-poses", "videos", "-o", "p.pkl")
    assert code == 2
    one_sentence(err, "2 videos are done", "--resume")
    code, _, err = run("extract-poses", "videos", "-o", "p.pkl", "--resume")
    assert code == 0
    assert [line.endswith("known already") for line in err.splitlines()] == [True, True, False]
    assert len(load_poses("p.pkl").annotations) == 3
    assert sorted(os.listdir()) == ["p.pkl", "videos"]


def test_ctrl_c_and_a_full_disk_say_how_to_go_on(folder, monkeypatch):
    from poseact import batch
    from poseact.errors import OutputError

    extract = batch.extract_poses
    for error, code, says in ((KeyboardInterrupt(), 130, "interrupted"), (OutputError("no space"), 5, "no space")):

        def breaks(path, *arguments, error=error, **options):
            if path.name == "b.mp4":
                raise error
            return extract(path, *arguments, **options)

        monkeypatch.setattr(batch, "extract_poses", breaks)
        found, _, err = run("extract-poses", "videos", "-o", "p.pkl", "--resume", "--pose-fps", 2, "-q")
        assert found == code
        one_sentence(err, f"{says}; 1 of 2 videos are kept, and --resume goes on from there")


def test_its_help_is_there_at_once():
    result = poseact("extract-poses", "--help")
    assert result.returncode == 0
    for option in ("--boxes", "--follow", "--smooth", "--split", "--resume", "--label-file", "--pose-fps"):
        assert option in result.stdout


def test_brackets_in_a_name_are_no_markup():
    with videos_bar(quiet=True) as progress:
        progress.add_task("take[/2].mp4", total=1, unit="")
        progress.make_tasks_table(progress.tasks)
