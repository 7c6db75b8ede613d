"""Trackers in a process of their own say what they would say here; it ends with whoever started it, or is told dead."""

import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import psutil
import pytest
from draw_actions import Scene, act, render, write_video

from poseact import track_process
from poseact.cuts import mark_cuts
from poseact.detect import Detections
from poseact.engine import Engine
from poseact.errors import InputError, StalledError
from poseact.extract import PoseStages, extract_poses
from poseact.track import Tracker, follow
from poseact.track_process import TrackerProcess, follow_elsewhere
from poseact.video import Frame

SHOTS = np.full((2, 240, 320, 3), 30, np.uint8)
SHOTS[1, :, ::2] = 220
RATE = 25.0


def walkers(frames, cut=None):
    """Two people who cross, as they are found in each frame; at `cut` another scene begins."""
    for index in range(frames):
        boxes = np.array([[20 + 6 * index, 50, 60 + 6 * index, 200], [260 - 6 * index, 50, 300 - 6 * index, 200]])
        image = SHOTS[int(cut is not None and index >= cut)]
        yield Frame(image, index, index / RATE), Detections(boxes.astype(np.float32), np.full(2, 0.9, np.float32))


def ids_here(frames, cut=None):
    people = [found for _, found in walkers(frames, cut)]
    marked = mark_cuts(frame for frame, _ in walkers(frames, cut))
    found = ((frame, new_scene, people[frame.index]) for frame, new_scene in marked)
    return [ids.tolist() for _, ids, _ in follow(found, Tracker(RATE))]


def ids_of(tracked):
    return [ids.tolist() for _, ids, _ in tracked]


@pytest.fixture(scope="module")
def process():
    """One for all tests that leave it alive: it takes seconds to start."""
    return TrackerProcess()


@pytest.mark.parametrize("frames", [0, 1, 2, 16, 33, 50])
def test_people_have_the_ids_that_they_have_here(process, frames):
    with Engine() as engine:
        tracked = list(follow_elsewhere(walkers(frames, cut=20), RATE, engine, process))
    assert ids_of(tracked) == ids_here(frames, cut=20)
    assert frames < 25 or max(ids_of(tracked)[-1]) == 4, "the cut makes both new"
    assert [frame.index for frame, _, _ in tracked] == list(range(frames))
    assert not any(frame.image.any() for frame, _, _ in tracked)


def test_videos_do_not_disturb_each_other(process):
    with Engine() as engine:
        one, other = (follow_elsewhere(walkers(40), RATE, engine, process) for _ in range(2))
        both = [ids_of(pair) for pair in zip(one, other, strict=True)]
    assert both == [[ids] * 2 for ids in ids_here(40)]


def test_what_goes_wrong_before_comes_after_the_last_good_frame(process):
    def broken():
        yield from walkers(5)
        raise InputError("the disk is gone")

    with Engine() as engine:
        tracked = follow_elsewhere(broken(), RATE, engine, process)
        assert [next(tracked)[0].index for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(InputError, match="the disk is gone"):
            next(tracked)


def test_what_goes_wrong_there_is_raised_here(process):
    with process.video(RATE) as ask, pytest.raises(RuntimeError, match=r"Traceback(.|\n)*too many values"):
        ask([("no sighting", SHOTS[0], "nor a pair")])
    with Engine() as engine:
        assert len(list(follow_elsewhere(walkers(3), RATE, engine, process))) == 3


def test_what_waits_keeps_no_pictures(process):
    pictures = []

    def frames():
        for frame, found in walkers(100):
            image = frame.image.copy()
            pictures.append(weakref.ref(image))
            yield Frame(image, frame.index, frame.time), found
            assert sum(picture() is not None for picture in pictures) <= 2

    with Engine() as engine:
        assert len(list(follow_elsewhere(frames(), RATE, engine, process))) == 100


def test_a_process_that_was_killed_is_told_and_another_takes_its_place():
    process = TrackerProcess()
    with Engine() as engine:
        tracked = follow_elsewhere(walkers(200), RATE, engine, process)
        next(tracked)
        process._process.kill()
        with pytest.raises(StalledError, match="was killed; the memory may have been full"):
            list(tracked)
        assert len(list(follow_elsewhere(walkers(3), RATE, engine, process))) == 3


def test_a_process_that_hangs_is_given_up():
    process = TrackerProcess()
    with Engine(patience=0.5) as engine:
        tracked = follow_elsewhere(walkers(200), RATE, engine, process)
        with process.video(RATE) as ask:
            ask([None])  # it has started
        os.kill(process._process.pid, signal.SIGSTOP)
        with pytest.raises(StalledError, match="following people"):
            list(tracked)
    with Engine() as engine:
        assert ids_of(follow_elsewhere(walkers(3), RATE, engine, process)) == ids_here(3), "another takes its place"


def test_where_pipes_may_not_be_larger_they_are_as_they_are(monkeypatch):
    asked, start = [], subprocess.Popen

    def started(*arguments, pipesize, **others):
        asked.append(pipesize)
        if pipesize > 0:
            raise PermissionError("Operation not permitted")
        return start(*arguments, **others)

    monkeypatch.setattr(subprocess, "Popen", started)
    with TrackerProcess().video(RATE) as ask:
        assert ask([None]) == [[]]
    assert asked == [1 << 20, -1]


def test_it_ends_when_nobody_needs_it():
    process = TrackerProcess()
    with process.video(RATE):
        child = psutil.Process(process._process.pid)
    del process
    gc.collect()
    assert not child.is_running()


def test_it_ends_when_who_started_it_is_killed():
    """Whom nobody can ask to clean up."""
    program = (
        "import os, signal\n"
        "from poseact.track_process import TrackerProcess\n"
        "process = TrackerProcess()\n"
        "with process.video(25.0) as ask:\n"
        "    ask([None])\n"
        "    print(process._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    end = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_ends_by_itself_is_told_with_its_last_words(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with TrackerProcess().video(RATE) as ask, pytest.raises(StalledError, match=r"ended with exit code 1: .*Error: "):
        ask([None])


def test_a_process_that_cannot_be_started_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StalledError, match="cannot be started: No such file"), TrackerProcess().video(RATE):
        pass


def test_it_imports_nothing_from_the_current_folder(tmp_path):
    (tmp_path / "scenedetect.py").write_text("raise RuntimeError('not this one')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        f"import sys; sys.path += {sys.path!r}\n"
        "from poseact.track_process import TrackerProcess\n"
        "with TrackerProcess().video(25.0) as ask:\n    print(ask([None]))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[[]]\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_how_it_runs(process):
    with process.video(RATE) as ask:
        ask([None])
        pid = process._process.pid
        assert psutil.Process(pid).environ()["OMP_NUM_THREADS"] == "1"
        assert psutil.Process(pid).environ()["YOLO_CONFIG_DIR"] == os.environ["YOLO_CONFIG_DIR"], (
            "which goes in the end"
        )
        assert os.getsid(pid) == pid, "Ctrl-C is for who started it"
        assert os.path.samefile(f"/proc/{pid}/fd/1", f"/proc/{pid}/fd/2"), "what is printed is no answer"


def test_chains_of_several_threads_share_the_process(process):
    found = {}

    def one(number):
        with Engine() as engine:
            found[number] = ids_of(follow_elsewhere(walkers(100), RATE, engine, process))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == [ids_here(100)] * 4


def test_trackers_of_videos_that_are_over_are_forgotten(monkeypatch):
    made = []

    class Follower:
        def __init__(self, rate):
            made.append(weakref.ref(self))

        def __call__(self, seen):
            return sum(each() is not None for each in made)

    monkeypatch.setattr(track_process, "_Follower", Follower)
    requests, answers = io.BytesIO(), io.BytesIO()
    for number, over in ((0, []), (1, []), (2, [0, 1])):
        track_process._send((number, RATE, [None], over), requests)
    requests.seek(0)
    track_process.serve(requests, answers)
    answers.seek(0)
    assert [track_process._receive(answers) for _ in range(3)] == [[1], [2], [1]]


def test_it_is_told_which_videos_are_over_and_asked_nothing_more_of_them(monkeypatch):
    sent, send = [], track_process._send
    monkeypatch.setattr(track_process, "_send", lambda content, pipe: sent.append(content[3]) or send(content, pipe))
    process = TrackerProcess()
    for _ in range(3):
        with process.video(RATE) as ask:
            assert ask([None]) == [[]]
        assert ask([None, None]) == [[], []]
    assert sent == [[], [0], [1]]


@pytest.mark.parametrize(
    ("device", "cores", "chosen", "elsewhere"),
    [
        ("cuda:0", 16, {}, True),
        ("cuda:0", 4, {}, False),
        ("cpu", 16, {}, False),
        ("cuda:0", 16, {"boxes": "boxes.csv"}, False),
        ("cuda:0", 16, {"detector": lambda frames: []}, False),
        ("cuda:0", 16, {"pose": lambda frames, found: found}, False),
    ],
    ids=["large GPU machine", "few cores", "CPU", "ids may be given", "one's own detector", "one's own estimator"],
)
def test_where_people_are_followed(monkeypatch, device, cores, chosen, elsewhere):
    monkeypatch.setattr("poseact.extract.choose_device", lambda device: device)
    monkeypatch.setattr("torch.get_num_threads", lambda: cores)
    started = []
    monkeypatch.setattr("poseact.extract.follow_elsewhere", lambda *asked: started.append(asked) or iter(()))
    stages, found = PoseStages(device=device, **chosen), dict(enumerate(found for _, found in walkers(2)))

    def find(marked):
        return ((frame, new_scene, found[frame.index]) for frame, new_scene in marked)

    with Engine() as engine:
        for is_live in (False, True):
            frames = (frame for frame, _ in walkers(2))
            list(stages.track_found(frames, find, RATE, engine, is_live=is_live))
            assert len(started) == elsewhere, "what is live is always followed here"


def test_a_chain_for_many_cores_finds_what_any_other_does(tmp_path, monkeypatch):
    """With converters and the process."""
    actors = act("squat", x=0.3, height=0.7), act("jumping_jacks", x=0.75, height=0.6)
    video = tmp_path / "v.mp4"
    write_video(video, render(Scene(actors), 2.0, 15, (720, 1280)), 15)
    any_other = extract_poses(video, PoseStages(device="cpu", search="whole"), subjects="all")
    monkeypatch.setattr(PoseStages, "_has_cores_to_spare", True)
    for_many = extract_poses(video, PoseStages(device="cpu", search="whole"), subjects="all")
    assert len(for_many.times) == 30
    assert len(any_other.track_ids) == 2
    assert for_many.track_ids.tolist() == any_other.track_ids.tolist()
    for part in ("times", "keypoints", "scores", "boxes"):
        assert np.array_equal(getattr(for_many, part), getattr(any_other, part))
