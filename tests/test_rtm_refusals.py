"""What is no network of rtmlib's, and what the error says of it."""

import sys

import numpy as np
import pytest
import small_onnx
from onnx import TensorProto, helper

from poseact.errors import ModelError
from poseact.rtm import RtmDetector, RtmPose

pytest.importorskip("rtmlib")


def some_network(path, inputs, outputs):
    """A network that gives zeros."""
    nodes = [
        helper.make_node(
            "Constant",
            [],
            [name],
            value=helper.make_tensor(name, TensorProto.FLOAT, shape, [0.0] * int(np.prod(shape))),
        )
        for name, shape in outputs
    ]
    return small_onnx.save(path, nodes, inputs, outputs, {})


PICTURES = [("input", (1, 3, 64, 48))]
WRONG = [
    ([], [("y", (1, 17, 96))], "takes nothing; one input of pictures"),
    ([*PICTURES, ("more", (1, 3, 64, 48))], [("y", (1, 17, 96))], r"and tensor\(float\).*one input of pictures"),
    ([("input", (1, 64, 48, 3))], [("y", (1, 17, 96))], "one input of pictures"),
    ([("input", (1, 3, 64, 48), TensorProto.UINT8)], [("y", (1, 17, 96))], r"tensor\(uint8\)"),
]


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        *WRONG,
        (PICTURES, [("x", (1, 17, 96))], r"gives \(N, 17, 96\); RTMPose gives \(N, K, 96\) and \(N, K, 128\)"),
        (PICTURES, [("x", (1, 17, 128)), ("y", (1, 17, 96))], "gives"),
        (PICTURES, [("x", (1, 17, 96)), ("y", (1, 17, 128)), ("z", (1, 17, 96))], "gives"),
        (PICTURES, [("x", (1, 21, 96)), ("y", (1, 21, 128))], "finds 21 keypoints; COCO's 17 or Halpe's 26"),
        (PICTURES, [("x", (1, 133, 16, 12))], "finds 133 keypoints"),
        ([("input", (1, 3, "h", "w"))], [("x", (1, 17, 16, 12))], "fixed H and W"),
    ],
)
def test_a_network_that_is_no_pose_network_is_refused(tmp_path, inputs, outputs, message):
    path = some_network(tmp_path / "odd.onnx", inputs, outputs)
    with pytest.raises(ModelError, match=f"odd.onnx.*{message}"):
        RtmPose(path, "cpu")


@pytest.mark.parametrize(
    ("name", "outputs", "message"),
    [
        ("yolox", [("y", (1, 300, 84))], r"gives \(N, 300, 84\).*gives \(N, boxes, 5\).*\(N, 62, 5 \+ classes\)"),
        ("yolox", [("y", (1, 62, 4))], "gives"),
        ("yolox", [("y", (1, 17, 16, 12))], "gives"),
        ("yolox", [("y", (1, 9, 5)), ("k", (1, 9)), ("z", (1, 9))], "gives"),
        ("end2end", [("y", (1, 9, 5))], "may be YOLOX or RTMDet.*put the one that it is into its name"),
    ],
)
def test_a_network_that_is_no_detector_is_refused(tmp_path, name, outputs, message):
    path = some_network(tmp_path / f"{name}.onnx", PICTURES, outputs)
    with pytest.raises(ModelError, match=message):
        RtmDetector(path, "cpu")


@pytest.mark.parametrize("content", [b"", b"no network", None])
@pytest.mark.parametrize("build", [RtmDetector, RtmPose])
def test_what_is_no_onnx_file_is_refused(tmp_path, capfd, content, build):
    path = tmp_path / "broken.onnx"
    if content is None:
        good = small_onnx.simcc(tmp_path / "good.onnx").read_bytes()
        content = good[: len(good) // 2]
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded as an ONNX file"):
        build(path, "cpu")
    assert capfd.readouterr() == ("", "")


def test_a_network_that_fails_is_told(tmp_path):
    path = small_onnx.simcc(tmp_path / "three.onnx", really=3)
    with pytest.raises(ModelError, match=r"three\.onnx does not run on cpu"):
        RtmPose(path, "cpu")


@pytest.mark.parametrize(
    ("builds", "command"),
    [
        ({"onnxruntime": "1.32.0"}, r"run: pip install 'poseact\[rtmlib\]'"),
        ({"onnxruntime-gpu": "1.31.1"}, r"run: pip install --no-deps rtmlib=="),
    ],
)
def test_without_rtmlib_the_command_is_told(tmp_path, monkeypatch, builds, command):
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    monkeypatch.setattr("poseact.rtm.installed_builds", lambda: builds)
    with pytest.raises(ModelError, match=command):
        RtmPose(small_onnx.simcc(tmp_path / "unused.onnx"), "cpu")
