"""What the benchmark of the whole chain measures with must itself be right: rivals, repeated videos, tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from poseact.heatmaps import VolumeRule, draw_volume
from poseact.video import Video

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import rivals
import streaming
from long_videos import looped
from processes import Run, run
from results import Figure, Stage, markdown, timing, write_results

SIZE, SIGMA = (20, 24), 0.6
LIMBS = ((0, 1), (1, 2), (2, 3), (0, 3))


@pytest.fixture(scope="module")
def people():
    """Two people of four keypoints in three frames; some lie outside, some on each other, some are not there."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-4, 27, (2, 3, 4, 2)).astype(np.float32)
    points[0, 0, 1] = points[0, 0, 0] + 0.3
    scores = rng.uniform(0.2, 1, (2, 3, 4)).astype(np.float32)
    scores[1, 1, 2] = 0
    return points, scores


@pytest.mark.parametrize("limbs", [None, LIMBS])
def test_the_rival_draws_what_we_draw(people, limbs):
    points, scores = people
    rule = VolumeRule(size=SIZE, sigma=SIGMA)
    ours = draw_volume(torch.from_numpy(points)[None], torch.from_numpy(scores)[None], rule, limbs)[0].numpy()
    if limbs is None:
        theirs = rivals.draw_joints(points, scores, SIZE, SIGMA)
    else:
        theirs = rivals.draw_limbs(points, scores, limbs, SIZE, SIGMA)
    assert theirs.max() > 0.5
    assert np.abs(ours - theirs).max() < 2e-3


def test_the_rival_keeps_ids_by_overlap():
    before = rivals.Before()
    one, other = [0, 0, 10, 10], [20, 0, 30, 10]
    assert before.ids(np.array([one, other], np.float32)).tolist() == [1, 2]
    assert before.ids(np.array([other, one], np.float32)).tolist() == [2, 1]
    assert before.ids(np.array([[100, 0, 110, 10], one], np.float32)).tolist() == [3, 1]
    assert before.ids(np.zeros((0, 4), np.float32)).tolist() == []


def test_a_video_is_repeated(draw_video, tmp_path):
    short = draw_video(tmp_path / "short.mp4", 12, fps=12)
    long = looped(short, tmp_path / "long.mp4", 4.5, size=(128, 96))
    with Video(long) as video:
        frames = list(video.frames())
    assert [frame.image.shape for frame in frames] == [(96, 128, 3)] * 54
    assert np.diff([frame.time for frame in frames]) == pytest.approx(1 / 12, abs=1e-3)
    greys = [frame.image.mean() for frame in frames]
    assert greys[5] - greys[0] > 15
    assert greys[12:24] == pytest.approx(greys[:12], abs=1)


def test_a_process_is_measured_with_its_lines():
    code = 'import time; print(\'{"event": "start"}\', flush=True); time.sleep(0.3); print(\'{"label": null}\')'
    found = run([sys.executable, "-c", code])
    assert found.labels[0]["label"] is None
    assert 0.25 < found.first_label - found.event("start") < found.seconds
    assert found.event("end") is None
    assert 3 < found.peak_mb < 500


def test_a_process_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="ended with 3:\nout of film"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('out of film'); sys.exit(3)"])


def of_labels(*labels, first_at=2.0, step=0.5):
    rows = [
        {"start": float(i), "end": i + 2.0, "label": label, "at": first_at + i * step} for i, label in enumerate(labels)
    ]
    return Run(first_at + len(labels) * step, 1.0, 100.0, rows)


def test_agreement_counts_windows_that_only_one_has():
    assert streaming.agreement(of_labels("sit", "run"), of_labels("sit", "run")) == 1
    assert streaming.agreement(of_labels("sit", "run"), of_labels("sit", None)) == 0.5
    assert streaming.agreement(of_labels("sit", "run", "run", "run"), of_labels("sit")) == 0.25


def test_the_tables(tmp_path):
    ours = timing("a.mp4", "ours", [of_labels("sit", "run", "run"), of_labels("sit", "run", "run")], 4.0)
    rival = timing(
        "a.mp4", "rival", [Run(9.0, 8.0, 50.0, [{"event": "start", "at": 1}, {"event": "end", "at": 5}])], 4.0
    )
    assert ours.warm == pytest.approx(2.0)  # two seconds of video between labels that lie one second apart
    assert rival.warm == pytest.approx(1.0)
    figures = [
        Figure("against rival", 2.6, "times", 6, "above"),
        Figure("first label", 2.0, "s", 8, "below", "from the start"),
        Figure("an hour", 30, "minutes"),
    ]
    assert [figure.met for figure in figures] == [False, True, None]
    stages = [Stage("a.mp4", "poses", 50.0, 2.0, 3.5)]
    write_results(tmp_path / "out", [ours, rival], stages, figures, "streaming.py a.mp4")
    text = (tmp_path / "out.md").read_text()
    assert "| against rival | 2.6 times | ≥ 6 | **no** |  |\n" in text
    assert "| a.mp4 | ours | 3.5 (3.5–3.5) | 3 | 0.86 | 2.00 | 1.0 | 100 |\n" in text
    assert "| a.mp4 | poses | 50.0 | 2.00 | 3.50 |\n" in text
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["figures"][1]["met"] is True
    assert "processor" in content["machine"]


def test_tables_of_nothing_are_left_out():
    assert (
        markdown({"python": "3.11"}, [], [], [], "streaming.py")
        == "Measured with `streaming.py` on:\n\n- python: 3.11\n"
    )


def test_efficiency_is_of_the_slowest_stage():
    rows = {
        "together": {"seconds": 10.0, "cpu": 19.0},
        "decoding": {"seconds": 2.0, "cpu": 3.0},
        "poses": {"seconds": 8.0, "cpu": 12.0},
        "tracking": {"seconds": 1.0, "cpu": 1.0},
        "labels": {"seconds": 1.5, "cpu": 2.0},
    }
    (figure,) = streaming.efficiency("a.mp4", rows, 0.9)
    assert figure.value == pytest.approx(0.8)
    assert "as one stage 0.95" in figure.note
    assert not figure.met
