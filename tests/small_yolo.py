"""Networks of Ultralytics' making, of every kind of head, with random weights that see people everywhere."""

from __future__ import annotations

from pathlib import Path

import torch

from poseact.yolo import import_ultralytics


def save(path: Path, name: str) -> Path:
    """Write weights of the architecture `name`, such as `yolo11n-pose.yaml`."""
    ultralytics = import_ultralytics()
    torch.manual_seed(0)
    model = ultralytics.YOLO(name, verbose=False)
    network = model.model
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # so that one batch calibrates it, and signals do not fade
    with torch.no_grad():
        network.train()(torch.rand(2, 3, 192, 192))
    for branch in ("cv2", "one2one_cv2"):  # all distances positive, as of trained networks
        for layers in getattr(network.model[-1], branch, None) or []:
            layers[-1].weight.data.mul_(0.1)
            layers[-1].bias.data[:] = 2.0
    for branch in ("cv3", "one2one_cv3"):
        for layers in getattr(network.model[-1], branch, None) or []:
            layers[-1].weight.data.mul_(0.3)
            layers[-1].bias.data[:] = -4.0
            layers[-1].bias.data[0] = -1.5
    network.eval()
    model.save(path)
    return path
