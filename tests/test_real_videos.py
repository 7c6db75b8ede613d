"""Real footage, where it lies beside the project: what must be right on it, and what it may cost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

VIDEOS = [
    "aerobics.avi",
    "arm_wrestling.mp4",
    "basketball.mp4",
    "drink.avi",
    "pat_back_two_people.mp4",
    "walk_climb.mp4",
]


def predict(*arguments):
    command = [sys.executable, "-m", "poseact", "predict", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_the_walker_walks(shared):
    """He is fully visible between 1.3 and 6.4 s; the other person stands on a box from the first frame on."""
    rows, _ = predict(shared / "videos" / "walk_climb.mp4", "--per-person")
    first = min(row["person"] for row in rows if row["clip"] == 0)
    walker = [row for row in rows if row["person"] != first and row["start"] >= 1.3 and row["end"] <= 6.4]
    assert len(walker) >= 4
    assert len({row["person"] for row in walker}) == 1
    assert sum(row["label"] == "walk" for row in walker) >= 2 / 3 * len(walker)


@pytest.mark.parametrize("name", VIDEOS)
def test_every_video_gets_through(shared, name):
    rows, warnings = predict(shared / "videos" / name, "--start", 0.5, "--end", 2.5, "--per-person")
    assert warnings == ""
    assert any(row["top"] for row in rows)
    assert rows[0]["start"] == 0.5
    assert rows[-1]["end"] == pytest.approx(2.5, abs=0.1)
    people = {"aerobics.avi": 3, "drink.avi": 1, "pat_back_two_people.mp4": 2}
    if name in people:
        assert all(row["persons"] == people[name] for row in rows)


def test_the_main_job_fits_into_memory(shared):
    """Peak memory of the whole process, below 1.5 GB."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs Linux to tell the peak of a process' own memory, without that of its parent")
    script = (
        "import sys, poseact.cli; from poseact import Pipeline; poseact.cli.keep_freed_memory();"
        "list(Pipeline(device='cpu').stream(sys.argv[1]));"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", script, str(shared / "videos" / "walk_climb.mp4")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 1.5e6
