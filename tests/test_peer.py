"""A real peer takes our pose files: MMAction2 reads them, and draws from them the volumes that we draw.

Its packages are installed from PyPI into an environment of their own, which takes a minute; without a network the
tests that need them skip.
"""

import os
import pickletools
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poseact.heatmaps import PYSKL_RULE, heatmap_volume
from poseact.poses import Annotation, PoseSequence, load_poses, save_poses
from poseact.sampling import pyskl_test_indices
from poseact.skeleton import BODY13, COCO17

# Without their dependencies, which want other versions of what is here; the rest of them is borrowed.
PEER = ("mmaction2==1.2.0", "mmengine==0.10.7", "mmcv-lite==2.1.0")
NEEDED = ("numpy<2", "scipy<1.16", "opencv-python-headless<4.12", "addict", "yapf", "platformdirs", "termcolor")
SECONDS = 240  # to install them in
LARGEST_DIFFERENCE = 2e-3
CLIPS, CLIP_LEN = 2, 48


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """The Python of an environment in which MMAction2's transforms can be imported."""
    environment = tmp_path_factory.mktemp("peer") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.check_output(ask, text=True).strip())
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), *PEER, *NEEDED]
    try:
        result = subprocess.run(install, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not install {PEER[0]} within {SECONDS} s")
    if result.returncode:
        pytest.skip(f"pip cannot install {PEER[0]}: {result.stderr.strip().splitlines()[-1]}")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch and what else is there
    return python


@pytest.fixture(scope="module", params=[COCO17, BODY13], ids=lambda layout: layout.name)
def exchange(request, peer, tmp_path_factory):
    """A layout, what we wrote in it, the frames (N, clips, T) to draw, and what `peer_volumes.py` gives for them."""
    layout, folder = request.param, tmp_path_factory.mktemp("exchange")
    poses, wanted, out = (folder / name for name in ("poses.pkl", "request.npz", "out.npz"))
    annotations = write(poses, layout)
    frames = np.stack([pyskl_test_indices(len(a.poses.times), CLIP_LEN, CLIPS) for a in annotations])
    np.savez(wanted, frames=frames, size=PYSKL_RULE.size, limbs=layout.limbs)
    script = Path(__file__).with_name("peer_volumes.py")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [peer, "-W", "ignore", script, poses, "val", wanted, out]
    result = subprocess.run(command, capture_output=True, text=True, env=clean, cwd=folder)
    assert result.returncode == 0, result.stderr
    return layout, annotations, frames, np.load(out)


def wander(layout, n_frames, people, seed):
    """People whose keypoints wander; some keypoints are lost, and the second person is there for half of the time."""
    rng = np.random.default_rng(seed)
    shape = (people, n_frames, len(layout))
    places = rng.uniform((200, 100), (500, 400), (people, 1, len(layout), 2))
    keypoints = (places + rng.normal(0, 4, (*shape, 2)).cumsum(axis=1)).astype(np.float32)
    scores = rng.uniform(0.05, 1, shape).astype(np.float32)
    absent = rng.random(shape) < 0.05
    absent[1:, n_frames // 2 :] = True
    keypoints[absent], scores[absent] = 0, 0
    times = np.arange(n_frames) / 25
    boxes = np.zeros((people, n_frames, 4), np.float32)
    return PoseSequence(keypoints, scores, times, (480, 640), layout, np.arange(people) + 3, boxes)


def write(path, layout):
    """A pose file as `extract-poses` writes it: labelled and not, one person and two, long and short."""
    annotations = [
        Annotation("long", 7, wander(layout, 130, people=2, seed=1)),
        Annotation("train only", 1, wander(layout, 60, people=1, seed=2)),
        Annotation("short", -1, wander(layout, 30, people=1, seed=3)),
    ]
    save_poses(annotations, {"train": ["train only"], "val": ["long", "short"]}, path, {"settings": "of a test"})
    return [annotations[0], annotations[2]]


def our_volumes(poses, frames, limbs):
    """(clips, K, T, H, W) of the frames (clips, T), which share one crop."""
    order = frames.reshape(-1)
    volume = heatmap_volume(
        torch.from_numpy(poses.keypoints[:, order])[None],
        torch.from_numpy(poses.scores[:, order])[None],
        torch.tensor([poses.image_size], dtype=torch.float32),
        PYSKL_RULE,
        limbs,
    )
    return volume[0].unflatten(1, frames.shape).transpose(0, 1).numpy()


@pytest.mark.slow
def test_mmaction2_reads_our_file(exchange):
    _, annotations, frames, theirs = exchange
    assert theirs["label"].tolist() == [7, -1]
    assert theirs["sampled"].shape == frames.shape
    for annotation, sampled in zip(annotations, theirs["sampled"], strict=True):
        assert 0 <= sampled.min() <= sampled.max() < len(annotation.poses.times)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["joint", "limb"])
def test_mmaction2_draws_our_volumes(exchange, kind):
    layout, annotations, frames, theirs = exchange
    for index, annotation in enumerate(annotations):
        ours = our_volumes(annotation.poses, frames[index], layout.limbs if kind == "limb" else None)
        assert ours.max() > 0.5
        difference = np.abs(ours - theirs[kind][index]).max()
        assert difference < LARGEST_DIFFERENCE, f"{annotation.name}: {difference:.2e}"


@pytest.mark.slow
def test_a_keypoint_that_moved_by_two_pixels_would_be_noticed(exchange):
    _, annotations, frames, theirs = exchange
    poses = annotations[0].poses
    keypoints = poses.keypoints.copy()
    keypoints[0, :, 5] += np.where(poses.scores[0, :, 5:6] > 0, 2, 0)
    moved = our_volumes(replace(poses, keypoints=keypoints), frames[0], None)
    assert np.abs(moved - theirs["joint"][0]).max() > 10 * LARGEST_DIFFERENCE


def test_our_file_names_nothing_that_numpy_before_1_26_lacks(tmp_path):
    path = tmp_path / "poses.pkl"
    annotations = write(path, COCO17)
    texts = [value for _, value, _ in pickletools.genops(path.read_bytes()) if isinstance(value, str)]
    assert "numpy" in texts
    assert not [text for text in texts if "_core" in text or "multiarray" in text]
    read = load_poses(path).annotations["long"].poses
    np.testing.assert_array_equal(read.keypoints, annotations[0].poses.keypoints)
