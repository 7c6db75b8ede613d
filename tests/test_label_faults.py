"""`poseact label` with real worker processes: broken files, workers that die or hang, kills, Ctrl-C, a full disk. Each
video is labelled once or told of, and nothing is left behind."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from label_runs import LabelRun, done, failures, results, traces, troubles
from label_videos import BROKEN, write_broken, write_tiny_chain
from test_cli import one_sentence, run

SECONDS, ROWS = 1.5, 3
# More than these videos take; a test that waits for so long has failed.
PATIENCE = 100

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills process groups")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Sixteen good videos, of three rows each."""
    return write_tiny_chain(tmp_path_factory.mktemp("chain"), 16, SECONDS)


@pytest.fixture(scope="module")
def videos(chain):
    return sorted(chain.videos.rglob("*.mp4"))


@pytest.fixture(scope="module")
def whole(chain, videos, tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    resumed(chain, output)
    assert troubles(output, videos, ROWS) == []
    return output


@pytest.fixture(scope="module")
def undisturbed(whole):
    """What such a run comes to."""
    return results(whole)


def resumed(chain, output):
    with LabelRun([chain.videos, "-o", output, *chain.options]) as run:
        assert run.wait(PATIENCE) == 0, run.said
        assert run.wait_until_alone() == []


def test_every_broken_file_is_told_of_and_no_good_one_is_lost(tmp_path):
    chain = write_tiny_chain(tmp_path, 4, SECONDS)
    good = sorted(chain.videos.rglob("*.mp4"))
    kinds = write_broken(chain, len(BROKEN))
    output = tmp_path / "out"
    with LabelRun([chain.videos, "-o", output, *chain.options]) as run:
        assert run.wait(PATIENCE) == 6, run.said
        assert run.wait_until_alone() == []
        assert "Traceback" not in run.said
    assert troubles(output, good, ROWS) == []
    found = failures(output)
    assert {kinds.get(name) for name in found} == set(BROKEN)
    for name, error in found.items():
        assert name in error, f"the sentence of {kinds[name]} does not name it"
        assert "\n" not in error
        assert "Traceback" not in error


def test_kills_lose_and_double_nothing(chain, videos, undisturbed, tmp_path):
    output = tmp_path / "out"
    with LabelRun([chain.videos, "-o", output, *chain.options]) as run:
        time.sleep(0.4)  # nothing is there yet
    for count in (1, 8):
        with LabelRun([chain.videos, "-o", output, *chain.options]) as run:
            run.wait_for_rows(output, count)
            run.kill()
            assert run.others() == []
        assert done(output) >= count
    with LabelRun([chain.videos, "-o", output, *chain.options]) as run:
        run.wait_for_rows(output, 12)
        run.process.kill()  # alone: its workers must notice
        run.process.wait()
        assert run.wait_until_alone(15) == []
    resumed(chain, output)
    assert troubles(output, videos, ROWS) == []
    assert results(output) == undisturbed


def test_a_worker_that_is_killed_costs_a_retry(chain, videos, undisturbed, tmp_path):
    output = tmp_path / "out"
    with LabelRun([chain.videos, "-o", output, *chain.options, "--workers", "2"]) as run:
        run.wait_for_rows(output, 3)
        run.workers()[0].kill()
        assert run.wait(PATIENCE) == 0, run.said
        assert run.wait_until_alone() == []
    assert results(output) == undisturbed
    assert troubles(output, videos, ROWS) == []


def stop_a_worker(output):
    """Have a thread stop (not end) a worker of this process after three videos; it will be in the list."""
    stopped = []

    def stop():
        while done(output) < 3:
            time.sleep(0.02)
        (worker,) = (child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline()))
        worker.send_signal(signal.SIGSTOP)
        stopped.append(worker)

    threading.Thread(target=stop, daemon=True).start()
    return stopped


def test_a_worker_that_hangs_is_ended_and_its_video_tried_again(chain, videos, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("poseact.crew._GRACE", 0.0)
    output = tmp_path / "out"
    stopped = stop_a_worker(output)
    options = [*chain.options, "--workers", "1", "--timeout", "1"]
    code, _, err = run("label", chain.videos, "-o", output, *options)
    assert (code, len(stopped)) == (0, 1), err
    assert not stopped[0].is_running()
    assert results(output) == undisturbed
    assert troubles(output, videos, ROWS) == []


def test_a_run_that_is_complete_is_left_as_it_is(chain, whole, undisturbed):
    before = (whole / "run.sqlite").stat().st_size
    resumed(chain, whole)
    assert results(whole) == undisturbed
    assert (whole / "run.sqlite").stat().st_size == before


def test_a_video_that_always_hangs_is_given_up(chain, tmp_path, monkeypatch):
    monkeypatch.setattr("poseact.crew._GRACE", 0.0)
    output = tmp_path / "out"
    stopped = stop_a_worker(output)
    options = [*chain.options, "--workers", "1", "--timeout", "1", "--retry", "0"]
    code, _, err = run("label", chain.videos, "-o", output, *options)
    assert (code, len(stopped)) == (6, 1), err
    (error,) = failures(output).values()
    assert "has not got on" in error
    assert done(output) == 15


def test_ctrl_c_ends_in_order_and_says_how_to_go_on(chain, videos, undisturbed, tmp_path):
    output = tmp_path / "out"
    with LabelRun([chain.videos, "-o", output, *chain.options]) as run:
        run.wait_for_rows(output, 3)
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        assert run.wait(PATIENCE) == 130, run.said
        assert run.wait_until_alone() == []
        assert "Traceback" not in run.said
        assert "the same command goes on" in run.said
    assert traces(output) == []
    labelled = {path.name for path in videos if f"/{path.name}" in (output / "labels.csv").read_text()}
    assert 3 <= len(labelled) == done(output) < 16
    resumed(chain, output)
    assert results(output) == undisturbed


def test_a_disk_that_is_full_is_told_and_gone_on_from(chain, videos, undisturbed, tmp_path):
    """No file may grow beyond some size, which is the nearest to a full disk without one."""
    output = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-m", "poseact", "label", chain.videos, "-o", output, *chain.options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert ended.returncode == 5, ended.stderr
    one_sentence(ended.stderr, str(output))
    assert traces(output) == []
    resumed(chain, output)
    assert troubles(output, videos, ROWS) == []
    assert results(output) == undisturbed
