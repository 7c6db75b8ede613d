"""Runs over many videos with a chain that costs nothing: resuming, retries, settings, what is left in the folder."""

import json
import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from poseact.clips import ClipLabel, LabelScore
from poseact.errors import InputError, ModelError, OutputError, UsageError
from poseact.label import LabelRun, RunPlan
from poseact.labeller import LabelSettings
from poseact.options import Models, Options
from poseact.records import LabelledVideo, Moment
from poseact.run_output import RunOutput
from poseact.run_store import FILE, RunStore
from poseact.segments import RowRule


def pretend(device, job, tell):
    """What a video holds is what is done with it."""
    text = job.video.path.read_text()
    if text.startswith("broken"):
        raise InputError(f"{job.video.path} is broken")
    if text.startswith("full disk"):
        raise OutputError("the disk is full")
    if text.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if text.startswith("once"):  # the second time it is another video
        job.video.path.with_suffix(".log").touch()
        if len(list(job.video.path.parent.glob("*.log"))) == 1:
            job.video.path.with_suffix(".tried.log").touch()
            os.kill(os.getpid(), signal.SIGSEGV)
    if text.startswith("slow"):
        time.sleep(0.3)
    rows = tuple(
        ClipLabel(str(job.video.path), i, float(i), i + 2.0, None, label, 0.75, (LabelScore(label, 0.75),), 1)
        for i, label in enumerate(text.split())
    )
    moments = tuple(Moment(row.start + 1, ()) for row in rows)
    return LabelledVideo(job.video.name, job.video.path, len(rows) + 1.0, (48, 64), "coco17", rows, moments)


@dataclass(frozen=True)
class Pretended(LabelSettings):
    def labeller(self, device):
        if self.models.weights:
            raise ModelError("the classifier needs a GPU")
        return partial(pretend, device)


@pytest.fixture
def clips(tmp_path):
    """clips(a="walk run", ...): a folder of files of these contents."""
    folder = tmp_path / "clips"
    folder.mkdir()

    def make(**contents):
        for name, text in contents.items():
            (folder / f"{name}.mp4").write_text(text)
        return folder

    return make


@pytest.fixture
def plan(tmp_path, clips):
    """plan(**fields): of a run over the folder of clips."""

    def make(**fields):
        settings = Pretended(Models(), Options(patience=20), RowRule())
        given = {"inputs": [str(tmp_path / "clips")], "output": tmp_path / "out", "settings": settings, "workers": 2}
        return RunPlan(**{**given, "devices": ("cpu",), "timeout": 20.0, **fields})

    return make


def work(run):
    return [step for step in run.work() if step is not None]


def sources(folder):
    return [
        json.loads(line)["source"].rpartition("/")[2] for line in (folder / "labels.jsonl").read_text().splitlines()
    ]


def test_every_video_is_labelled_once_in_the_order_of_their_names(plan, clips, tmp_path):
    clips(b="walk", a="run run", d="slow sit", c="jump")
    run = LabelRun(plan())
    assert len(work(run)) == 4
    assert (run.done, run.failed, run.rows) == (4, 0, 6)
    out = tmp_path / "out"
    assert sources(out) == ["a.mp4", "a.mp4", "b.mp4", "c.mp4", "d.mp4", "d.mp4"]
    assert sorted(path.name for path in out.iterdir()) == [
        "failures.csv", "labels.csv", "labels.jsonl", "run.sqlite", "summary.json"
    ]  # fmt: skip
    assert len((out / "labels.csv").read_text().splitlines()) == 7


def test_what_is_done_is_not_done_again(plan, clips, tmp_path):
    clips(a="walk", b="run")
    work(LabelRun(plan()))
    first = (tmp_path / "out" / "labels.jsonl").read_bytes()
    again = LabelRun(plan())
    assert (again.known, again.undone) == (2, [])
    assert work(again) == []
    assert (tmp_path / "out" / "labels.jsonl").read_bytes() == first
    clips(b="sit now", c="new")
    changed = LabelRun(plan())
    assert sorted(step.name for step in work(changed)) == ["b.mp4", "c.mp4"]
    assert sources(tmp_path / "out") == ["a.mp4", "b.mp4", "b.mp4", "c.mp4"]


def test_a_run_that_is_left_in_the_middle_is_gone_on_with(plan, clips, tmp_path):
    clips(**{f"v{i}": "slow walk" for i in range(6)})
    run = LabelRun(plan(workers=1))
    steps = run.work()
    next(step for step in steps if step is not None)
    during = (tmp_path / "out" / "labels.jsonl").read_text()
    assert during.count("\n") == 2
    steps.close()
    assert [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())] == []
    again = LabelRun(plan())
    assert 1 <= again.known <= 2
    work(again)
    assert sources(tmp_path / "out") == [f"v{i}.mp4" for i in range(6) for _ in range(2)]


def test_failures_are_told_and_cost_nobody_else(plan, clips, tmp_path):
    clips(a="walk", b="broken", c="kill", d="run")
    run = LabelRun(plan(retries=1))
    failed = {
        step.job.video.name: step.error for step in work(run) if isinstance(step, object) and hasattr(step, "job")
    }
    assert failed["b.mp4"].endswith("b.mp4 is broken")
    assert "SIGKILL" in failed["c.mp4"]
    assert sources(tmp_path / "out") == ["a.mp4", "d.mp4"]
    with RunStore(tmp_path / "out") as store:
        assert [(video.name, video.attempts) for video in store.failed()] == [("b.mp4", 1), ("c.mp4", 2)]
    assert "c.mp4" in (tmp_path / "out" / "failures.csv").read_text()
    again = LabelRun(plan())
    assert [video.name for video in again.undone] == ["b.mp4", "c.mp4"]


def test_a_worker_that_crashes_once_costs_a_retry(plan, clips, tmp_path):
    clips(a="once walk")
    run = LabelRun(plan(retries=1))
    assert len(work(run)) == 1
    assert (run.done, run.failed) == (1, 0)
    with RunStore(tmp_path / "out") as store:
        assert store.counts()["done"] == 1


def test_other_settings_are_refused_and_restart_begins_anew(plan, clips, tmp_path):
    clips(a="walk")
    work(LabelRun(plan()))
    settings = plan().settings
    other = replace(settings, options=Options(window=3.0, patience=20))
    with pytest.raises(UsageError, match=r"window was not set and is now 3\.0"):
        LabelRun(plan(settings=other))
    with pytest.raises(UsageError, match="save-video was not set and is now True"):
        LabelRun(plan(save_video=True))
    patient = replace(settings, options=Options(patience=77))
    assert LabelRun(plan(settings=patient)).known == 1
    clips(b="run")
    assert len(work(LabelRun(plan(settings=other, restart=True)))) == 2
    assert LabelRun(plan(settings=other)).known == 2


def test_formats_asked_for_later_are_written_for_all(plan, clips, tmp_path):
    clips(a="walk", b="run")
    work(LabelRun(plan(formats=("jsonl",))))
    assert not (tmp_path / "out" / "labels.csv").exists()
    work(LabelRun(plan(formats=("csv", "srt", "elan"))))
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "videos").iterdir()) == ["a.eaf", "a.srt", "b.eaf", "b.srt"]
    assert "walk" in (out / "videos" / "a.srt").read_text()
    assert (out / "labels.csv").exists()


def test_videos_that_differ_in_their_ending_have_files_of_their_own(plan, clips, tmp_path):
    folder = clips(a="walk", b="sit")
    (folder / "a.avi").write_text("run")
    work(LabelRun(plan(formats=("srt",))))
    found = {path.name: path.read_text() for path in (tmp_path / "out" / "videos").iterdir()}
    assert sorted(found) == ["a.avi.srt", "a.mp4.srt", "b.srt"]
    assert "run" in found["a.avi.srt"]


def test_what_an_earlier_run_left_in_the_folder_is_no_video(plan, clips, tmp_path):
    folder = clips(a="walk")
    output = folder / "out"
    (output / "videos").mkdir(parents=True)
    (output / "videos" / "a.mp4").write_text("drawn")
    (output / FILE).touch()
    run = LabelRun(plan(output=output))
    assert [video.name for video in run.videos] == ["a.mp4"]
    with pytest.raises(UsageError, match="choose a folder of its own"):
        LabelRun(plan(output=folder))


def test_results_of_somebody_else_are_not_lost(plan, clips, tmp_path):
    clips(a="walk")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"labels\.csv is there and of no run"):
        LabelRun(plan())
    (tmp_path / "out" / "labels.csv").unlink()
    (tmp_path / "out" / "videos").mkdir()
    (tmp_path / "out" / "videos" / "a.mp4").write_text("mine")
    with pytest.raises(UsageError, match=r"a\.mp4 is there and of no run"):
        LabelRun(plan(restart=True))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        LabelRun(plan(output=tmp_path / "file"))


@pytest.mark.parametrize("restart", [False, True])
def test_videos_that_results_would_overwrite_are_refused(plan, tmp_path, restart):
    (tmp_path / "videos" / "day 1").mkdir(parents=True)
    (tmp_path / "videos" / "day 1" / "a.mp4").write_text("walk")
    with pytest.raises(UsageError, match="could be lost; choose another output"):
        LabelRun(plan(inputs=[str(tmp_path / "videos")], output=tmp_path, restart=restart))


def test_a_video_is_there_once_whatever_is_named_beside_it(plan, tmp_path):
    for day in ("day 1", "day 2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "a.mp4").write_text(f"walk {day}")
    for days in (["day 1"], ["day 1", "day 2"], ["day 2", "day 1"]):
        work(LabelRun(plan(inputs=[str(tmp_path / day) for day in days])))
    lines = [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text().splitlines()]
    assert [line["source"][-11:] for line in lines] == ["day 1/a.mp4"] * 3 + ["day 2/a.mp4"] * 3


def test_files_of_what_a_video_was_do_not_outlive_it(plan, clips, tmp_path):
    clips(a="walk")
    work(LabelRun(plan(formats=("srt",))))
    clips(a="broken now")
    work(LabelRun(plan(formats=("csv",))))
    assert list((tmp_path / "out" / "videos").iterdir()) == []


def test_names_of_files_beside_videos_are_their_own_and_short_enough():
    names = ["a.avi", "a.mp4", "a.avi.mkv", "b", "c.mp4", f"{'x' * 250}.mp4", f"{'x' * 250}.avi", "d/\u4e00.mp4"]
    output = RunOutput(Path(), ("srt",), names, False)
    found = [output.beside(name, ".srt") for name in names]
    assert len(set(found)) == len(names)
    assert [str(found[i]) for i in (3, 4, 7)] == ["videos/b.srt", "videos/c.srt", "videos/d/\u4e00.srt"]
    assert all(len(os.fsencode(path.name)) <= 240 for path in found)


def test_a_run_leaves_the_place_for_temporary_files_as_it_was(plan, clips, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    clips(a="walk")
    steps = LabelRun(plan()).work()
    next(steps)
    assert tempfile.gettempdir().endswith(".work")
    list(steps)
    assert os.path.isdir(tempfile.gettempdir())


def test_only_one_run_is_at_work_in_a_folder(plan, clips):
    clips(a="slow walk", b="slow walk")
    first = LabelRun(plan()).work()
    next(first)
    with pytest.raises(UsageError, match="another run is at work"):
        work(LabelRun(plan()))
    assert len([step for step in first if step is not None]) == 2
    assert len(work(LabelRun(plan(restart=True)))) == 2


@pytest.mark.parametrize(
    ("content", "weights", "error"), [("full disk", None, OutputError), ("walk", (1.0,), ModelError)]
)
def test_what_would_fail_for_all_ends_the_run_and_keeps_what_is_done(plan, clips, tmp_path, content, weights, error):
    clips(a="walk", b=content)
    settings = replace(plan().settings, models=Models(weights=weights))
    with pytest.raises(error, match=r"the disk is full|needs a GPU"):
        work(LabelRun(plan(settings=settings, workers=1)))
    assert sources(tmp_path / "out") == ([] if weights else ["a.mp4"])
    assert not (tmp_path / "out" / ".work").exists()


def test_a_kill_leaves_what_the_next_run_clears_away(plan, clips, tmp_path):
    clips(a="walk", b="run")
    run = LabelRun(plan())
    work(run)
    out = tmp_path / "out"
    (out / "labels.jsonl").write_text('{"half": ')
    strange = out / "videos" / "download.part"
    strange.parent.mkdir()
    strange.touch()
    for left in ("labels.csv.part", "videos/a.mp4.x.part", ".work/yolo/settings.json"):
        (out / left).parent.mkdir(parents=True, exist_ok=True)
        (out / left).write_text("")
    work(LabelRun(plan()))
    assert sources(out) == ["a.mp4", "b.mp4"]
    assert list(out.rglob("*.part")) == [strange]
    assert not (out / ".work").exists()


def test_the_plan_is_checked():
    settings = LabelSettings()
    for wrong in ({"workers": 0}, {"retries": -1}, {"timeout": 0.0}, {"timeout": float("nan")}):
        with pytest.raises(UsageError):
            RunPlan(["a.mp4"], "out", settings, **wrong)


def test_a_format_that_is_none_is_refused(plan, clips):
    clips(a="walk")
    with pytest.raises(UsageError, match="there is no format 'xml'"):
        LabelRun(plan(formats=("csv", "xml")))


def test_threads_of_the_caller_do_not_matter(plan, clips):
    clips(a="walk")
    found = []
    thread = threading.Thread(target=lambda: found.extend(work(LabelRun(plan()))))
    thread.start()
    thread.join(60)
    assert len(found) == 1
