"""Poses of a few numbers and networks of a few weights, for the tests of training and of bundles."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from poseact.nets.slowonly import slowonly
from poseact.poses import Annotation, PoseSequence
from poseact.skeleton import BODY13
from poseact.training.dataset import build_dataset

# Somebody who stands: (x, y) of the 13 keypoints in pixels.
STANDING = np.array(
    [
        *((50, 10), (60, 25), (40, 25), (65, 45), (35, 45), (66, 62), (34, 62)),
        *((57, 65), (43, 65), (57, 90), (43, 90), (57, 115), (43, 115)),
    ],
    np.float32,
)
WRIST = BODY13.keypoints.index("right_wrist")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So small a network gains nothing from threads, and beside other work they wait for each other: 1 s or 28."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def poses(keypoints, scores=None, layout=BODY13, fps=30):
    keypoints = np.asarray(keypoints, np.float32)
    m, t, k, _ = keypoints.shape
    return PoseSequence(
        keypoints=keypoints,
        scores=np.full((m, t, k), 0.9, np.float32) if scores is None else np.asarray(scores, np.float32),
        times=np.arange(t) / fps,
        image_size=(200, 300),
        layout=layout,
        track_ids=np.arange(m),
        boxes=np.zeros((m, t, 4), np.float32),
    )


def person(n_frames=10, waves=False, x=0.0):
    """One person (1, T, 13, 2) at x, who may wave the right wrist up and down."""
    keypoints = np.tile(STANDING + np.array([x, 0]), (1, n_frames, 1, 1)).astype(np.float32)
    if waves:
        keypoints[0, :, WRIST, 1] -= np.where(np.arange(n_frames) % 4 < 2, 0, 50)
    return keypoints


def example(index, n_frames=10):
    """The index-th sequence of two classes: even ones stand (0), odd ones wave (1)."""
    waves = bool(index % 2)
    return Annotation(f"seq{index}", int(waves), poses(person(n_frames, waves, x=3.0 * index)))


def dataset_of(*annotations):
    return build_dataset(annotations, [a.label for a in annotations], BODY13)


def pose_file(path, names, splits, n_frames=30, labels=None, classes=("stand", "wave")):
    """Sequences of 30 frames, one second at PYSKL's rate, with the class names beside them; labels: class index of
    each, else they alternate."""
    rows = []
    for i, name in enumerate(names):
        label = labels[i] if labels else i % 2
        rows.append(
            {
                "frame_dir": name,
                "label": label,
                "img_shape": (200, 300),
                "total_frames": n_frames,
                "keypoint": person(n_frames, waves=bool(label), x=3.0 * i).astype(np.float16),
                "keypoint_score": np.full((1, n_frames, 13), 0.9, np.float16),
            }
        )
    path.write_bytes(pickle.dumps({"split": splits, "annotations": rows}))
    path.with_name(f"{path.stem}_labels.txt").write_text("".join(f"{name}\n" for name in classes))
    return path


def tiny_net(n_labels=2, channels=13, seed=0):
    """A SlowOnly whose head is not nearly zero as a new one's is, which says the same of all volumes."""
    torch.manual_seed(seed)
    net = slowonly(channels, n_labels, width=8, blocks=(1, 1, 1))
    nn.init.normal_(net.cls_head.fc_cls.weight)
    return net


def with_used_batch_norm(net, seed=0):
    """Statistics and weights of batch norm that are not those of a new one; in evaluation mode."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.2)
    return net.eval()
