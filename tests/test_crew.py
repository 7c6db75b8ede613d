"""Worker processes: their jobs, their deaths, and that nobody is left behind."""

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from poseact.crew import Crew
from poseact.errors import InputError, ModelError, OutputError, StalledError


def work(device, job, tell):
    """What a worker does in these tests; the job says it."""
    name, *values = job
    if name == "double":
        return 2 * values[0], device
    if name == "tell":
        tell(1.0, 4.0)
        time.sleep(0.5)
        tell(3.0, 4.0)
        time.sleep(0.5)
        return "told"
    if name == "kill":
        os.kill(os.getpid(), values[0])
    if name == "hang":
        time.sleep(60)
    if name == "raise":
        raise values[0] from getattr(values[0], "reason", None)
    if name == "print":
        os.write(1, b"from a library\n")
        os.write(2, b"in C\n")
        return os.environ["OMP_NUM_THREADS"]
    if name == "warn":
        import logging

        logging.getLogger("poseact.decoding").warning("damaged")
    return None


def of_one_video(code):
    """An output that cannot be written; its cause outlives pickling."""
    error = OutputError("the video cannot be written")
    error.reason = OSError(code, "no")
    return error


def start(device):
    return partial(work, device)


def cannot_start(device):
    raise ModelError(f"nothing runs on {device}")


def dies_at_start(device):
    os.write(2, b"in a library\nthe driver is too old\n\n")
    os._exit(9)


def run(crew, jobs, seconds=30):
    """Have the jobs done; returns their events, in the order of the jobs."""
    waiting, events = list(jobs), {}
    end = time.monotonic() + seconds
    while len(events) < len(jobs):
        assert time.monotonic() < end, "the crew does not get on"
        for worker in crew.free[: len(waiting)]:
            worker.assign(waiting.pop(0))
        for event in crew.events(0.1):
            if event.cause == "unbegun":
                waiting.append(event.job)
            else:
                events[repr(event.job)] = event
    return [events[repr(job)] for job in jobs]


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def left_behind():
    return [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]


def test_jobs_are_done_by_all_workers_and_nobody_is_left(folder):
    with Crew(["cpu", "cuda:0"], start, folder, patience=20) as crew:
        events = run(crew, [("double", i) for i in range(12)])
    assert [event.result[0] for event in events] == [2 * i for i in range(12)]
    assert all(not event.cause for event in events)
    assert left_behind() == []


def test_a_worker_tells_how_far_it_is_and_nothing_on_the_terminal(folder, capfd):
    with Crew(["cpu"], start, folder, patience=20, threads=3) as crew:
        worker = crew.workers[0]
        worker.assign(("tell",))
        seen = set()
        while worker.job is not None:
            crew.events(0.05)
            seen.add((worker.done, worker.total))
        (printed,) = run(crew, [("print",)])
    assert seen >= {(1.0, 4.0), (3.0, 4.0)}
    assert printed.result == "3"
    assert capfd.readouterr() == ("", "")
    assert (folder / "worker-1.log").read_text() == "from a library\nin C\n"
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"


def test_what_libraries_warn_of_is_told_here(folder, caplog):
    with Crew(["cpu"], start, folder, patience=20) as crew:
        run(crew, [("warn",)])
    assert [record.message for record in caplog.records] == ["damaged"]


@pytest.mark.parametrize(
    ("error", "cause", "exit_code"),
    [
        (InputError("a.mp4 is empty"), "input", 3),
        (StalledError("decoding has not got on"), "worker", 7),
        (OutputError("the disk is full"), "fatal", 5),
        (of_one_video(errno.EINVAL), "input", 5),
        (of_one_video(errno.ENOSPC), "fatal", 5),
        (MemoryError("no\nmore"), "worker", 1),
        (OSError("read error"), "worker", 1),
    ],
)
def test_an_error_says_whose_fault_it_is(folder, error, cause, exit_code):
    with Crew(["cpu"], start, folder, patience=20) as crew:
        pid = crew.workers[0].pid
        (event, after) = run(crew, [("raise", error), ("double", 2)])
        assert (crew.workers[0].pid != pid) == (cause == "worker")
    assert (event.cause, event.exit_code) == (cause, exit_code)
    assert event.error == (str(error) if exit_code > 1 else f"{type(error).__name__}: {' '.join(str(error).split())}")
    assert after.result == (4, "cpu")


def test_a_worker_that_dies_costs_its_job_and_is_replaced(folder):
    with Crew(["cpu", "cpu"], start, folder, patience=20) as crew:
        dead, *others = run(crew, [("kill", signal.SIGKILL), *(("double", i) for i in range(4))])
        assert len(crew.workers) == 2
        (fault,) = run(crew, [("kill", signal.SIGSEGV)])
    assert dead.cause == "worker"
    assert "SIGKILL" in dead.error
    assert "memory" in dead.error
    assert "SIGSEGV" in fault.error
    assert "memory" not in fault.error
    assert [event.result[0] for event in others] == [0, 2, 4, 6]
    assert left_behind() == []


@pytest.mark.parametrize("job", [("hang",), ("kill", signal.SIGSTOP)])
def test_a_worker_that_hangs_is_ended(folder, monkeypatch, job):
    monkeypatch.setattr("poseact.crew._GRACE", 0.2)
    with Crew(["cpu"], start, folder, patience=0.8) as crew:
        hung, after = run(crew, [job, ("double", 3)])
    assert hung.cause == "worker"
    assert "has not got on for 1 s" in hung.error
    assert after.result == (6, "cpu")


def test_models_that_cannot_be_loaded_end_it_all(folder):
    with Crew(["cuda:7"], cannot_start, folder, patience=20) as crew:
        events = []
        while not events:
            events = crew.events(0.1)
    assert (events[0].cause, events[0].error, events[0].exit_code) == ("fatal", "nothing runs on cuda:7", 4)


def test_workers_that_never_get_to_work_are_not_hired_for_ever(folder):
    with (
        pytest.raises(ModelError, match="exit code 9 before it could do anything, 3 times: the driver is too old"),
        Crew(["cpu"], dies_at_start, folder, patience=20) as crew,
    ):
        run(crew, [("double", 1)])
    assert left_behind() == []


def one_of_two_starts(device):
    if device == "cuda:1":
        print("CUDA out of memory", flush=True)
        os._exit(9)
    return partial(work, device)


def test_a_worker_that_never_gets_to_work_is_given_up_and_the_others_go_on(folder, caplog):
    with Crew(["cuda:0", "cuda:1"], one_of_two_starts, folder, patience=20) as crew:
        waiting, done = [("double", i) for i in range(8)], []
        end = time.monotonic() + 30
        while len(done) < 8:
            assert time.monotonic() < end
            for worker in crew.free[: len(waiting)]:
                worker.assign(waiting.pop())
            for event in crew.events(0.1):
                assert event.cause in ("", "unbegun")
                (waiting if event.cause else done).append(event.job)
        while len(crew.workers) == 2:
            assert time.monotonic() < end
            crew.events(0.1)
    assert sorted(done) == [("double", i) for i in range(8)]
    assert "3 times: CUDA out of memory; the others go on without worker 2 on cuda:1" in caplog.text
    assert left_behind() == []


def test_workers_that_were_stopped_with_all_get_their_time_again(folder, monkeypatch):
    monkeypatch.setattr("poseact.crew._GRACE", 0.0)
    monkeypatch.setattr("poseact.crew._UNWATCHED", 0.5)
    with Crew(["cpu"], start, folder, patience=1.0) as crew:
        run(crew, [("double", 1)])
        crew.workers[0].assign(("tell",))
        time.sleep(1.5)  # as if the parent were stopped too
        events = []
        while not events:
            events = crew.events(0.1)
    assert events[0].result == "told"


def test_workers_end_with_a_parent_that_is_killed(folder):
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nfrom poseact.crew import Crew\nimport test_crew\n"
        "if __name__ == '__main__':\n"
        "    with Crew(['cpu', 'cpu'], test_crew.start, Path(sys.argv[2]), patience=60) as crew:\n"
        "        while not all(worker.is_ready for worker in crew.workers):\n"
        "            crew.events(0.1)\n"
        "        for worker in crew.workers:\n"
        "            worker.assign(('hang',))\n"
        "        print(*(worker.pid for worker in crew.workers), flush=True)\n"
        "        time.sleep(60)\n"
    )
    (folder / "parent.py").write_text(script)
    command = [sys.executable, folder / "parent.py", os.path.dirname(__file__), folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    assert alive == []
