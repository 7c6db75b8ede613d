"""Networks by way of OpenVINO: the numbers of PyTorch, kept once they are converted, and errors that name the cure."""

import sys

import numpy as np
import pytest
import small_yolo
import torch

from poseact import openvino, yolo
from poseact.errors import ModelError
from poseact.yolo import Yolo


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return small_yolo.save(tmp_path_factory.mktemp("weights") / "some.pt", "yolo11n-pose.yaml")


@pytest.fixture
def installed():
    pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("POSEACT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "openvino"


@pytest.fixture
def conversions(monkeypatch):
    """One entry for each conversion."""
    counted, convert = [], openvino.convert

    def counting(*arguments):
        counted.append(arguments)
        return convert(*arguments)

    monkeypatch.setattr(openvino, "convert", counting)
    return counted


PICTURE = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, pictures):
        return self.conv(pictures).flatten(2), pictures.mean(1)


def test_a_converted_network_gives_what_pytorch_gives_for_any_size(installed):
    network = Small().eval()
    there = openvino.Network(openvino.convert(network, (1, 3, 8, 8)), exact=True)
    for size in ((16, 24), (40, 8)):
        pixels = np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8)
        with torch.no_grad():
            wanted = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
        ((*found,),) = ([output.copy() for output in outputs] for outputs in there([pixels]))
        for output, expected in zip(found, wanted, strict=True):
            assert output == pytest.approx(expected.numpy(), abs=1e-5)


def test_answers_come_in_order_however_many_are_asked_and_after_some_that_nobody_waited_for(installed):
    class Mean(torch.nn.Module):
        def forward(self, pictures):
            return pictures.mean((1, 2, 3))

    network = openvino.Network(openvino.convert(Mean(), (1, 3, 8, 8)), exact=True)
    greys = [np.full((1, 16, 24, 3), index, np.uint8) for index in range(20)]
    assert next(iter(network(greys)))[0] == pytest.approx(0)
    told = [float(output[0] * 255) for (output,) in network(iter(greys))]
    assert told == pytest.approx(range(20), abs=1e-3)
    assert list(network([])) == []

    def breaking():
        yield from greys[:5]
        raise ValueError("no more pictures")

    with pytest.raises(ValueError, match="no more"):
        list(network(breaking()))
    assert len(list(network(greys))) == 20


def test_it_is_picked_on_a_cpu_and_finds_what_pytorch_finds(installed, weights):
    found, wanted = (Yolo(weights, "cpu", backend)([PICTURE], 192)[0] for backend in ("auto", "torch"))
    assert Yolo(weights, "cpu").runs_on == "openvino"
    assert Yolo(weights, "cpu", "torch").runs_on == "torch"
    assert len(found.boxes) == pytest.approx(len(wanted.boxes), abs=5)  # bfloat16 of random weights
    assert found.scores[0] == pytest.approx(wanted.scores[0], abs=0.05)


def test_in_float32_it_finds_the_very_same(installed, weights, monkeypatch):
    network = openvino.Network
    monkeypatch.setattr(openvino, "Network", lambda model, exact: network(model, exact=True))
    (found,) = Yolo(weights, "cpu", "openvino")([PICTURE], 192)
    (wanted,) = yolo._Predictor(yolo._load(weights), "cpu")([PICTURE], 192, False)
    assert len(found.boxes) > 0
    assert found.boxes == pytest.approx(wanted.boxes, abs=0.02)
    assert found.keypoints == pytest.approx(wanted.keypoints, abs=0.02)


def test_what_is_converted_is_kept_and_needs_no_ultralytics(installed, weights, home, conversions, monkeypatch):
    (first,) = Yolo(weights, "cpu", "openvino")([PICTURE], 192)
    (kept,) = home.iterdir()
    assert kept.suffix == ".zip"
    monkeypatch.setattr(yolo, "_load", None)  # must not be needed
    again = Yolo(weights, "cpu", "openvino")
    assert (again.task, again.keypoint_shape, len(conversions)) == ("pose", (17, 3), 1)
    (found,) = again([PICTURE], 192)
    assert (found.boxes == first.boxes).all()
    assert (found.keypoints == first.keypoints).all()


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "another file", "no network"])
def test_what_was_kept_and_is_damaged_is_made_again(installed, weights, home, conversions, damage):
    Yolo(weights, "cpu", "openvino")
    (kept,) = home.iterdir()
    good = kept.read_bytes()
    if damage == "no network":
        import zipfile

        with zipfile.ZipFile(kept, "w") as archive:
            for name, text in (("about.json", "{}"), ("model.xml", "<net"), ("model.bin", "")):
                archive.writestr(name, text)
    else:
        middle = len(good) // 2
        flipped = good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :]
        kept.write_bytes({"cut": good[:middle], "flipped": flipped, "emptied": b""}.get(damage, b"some text"))
    Yolo(weights, "cpu", "openvino")
    assert len(conversions) == 2
    Yolo(weights, "cpu", "openvino")
    assert len(conversions) == 2
    assert len(list(home.iterdir())) == 1


def test_a_folder_that_cannot_be_written_to_is_no_error(installed, weights, home, conversions):
    home.parent.mkdir()
    home.write_text("a file where the folder should be")
    for _ in range(2):
        assert len(Yolo(weights, "cpu", "openvino")([PICTURE], 192)[0].boxes) > 0
    assert len(conversions) == 2


def test_a_disk_that_is_full_is_no_error(installed, weights, home, monkeypatch):
    def fill(model, xml, weights):
        raise RuntimeError("basic_ios::clear: iostream error")  # as OpenVINO says it

    monkeypatch.setattr("openvino.serialize", fill)
    assert len(Yolo(weights, "cpu", "openvino")([PICTURE], 192)[0].boxes) > 0
    assert not list(home.iterdir())


def test_other_weights_or_versions_are_another_name(installed, monkeypatch):
    keys = {openvino.key_of("a", "yolo", "torch"), openvino.key_of("b", "yolo", "torch"), openvino.key_of("a", "yolo")}
    monkeypatch.setattr("poseact.openvino.metadata.version", lambda name: "9.9")
    keys.add(openvino.key_of("a", "yolo", "torch"))
    assert len(keys) == 4


def test_nothing_is_told_to_the_makers(installed, weights, monkeypatch):
    telemetry = pytest.importorskip("openvino_telemetry")

    def tell(*arguments, **more):
        raise AssertionError("openvino_telemetry was asked to send something")

    monkeypatch.setattr(telemetry.Telemetry, "send_event", tell)
    Yolo(weights, "cpu", "openvino")


def test_without_it_auto_takes_pytorch_and_its_name_is_an_error(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert Yolo(weights, "cpu").runs_on == "torch"
    with pytest.raises(ModelError, match=r"OpenVINO cannot be imported.*pip install 'poseact\[cpu\]'"):
        Yolo(weights, "cpu", "openvino")


def test_what_openvino_cannot_convert_is_left_to_pytorch_unless_it_was_named(installed, weights, monkeypatch, caplog):
    def refuse(network, example):
        raise ModelError("OpenVINO cannot convert the network")

    monkeypatch.setattr(openvino, "convert", refuse)
    assert Yolo(weights, "cpu").runs_on == "torch"
    assert "cannot convert" in caplog.text
    with pytest.raises(ModelError, match="cannot convert"):
        Yolo(weights, "cpu", "openvino")


def test_it_is_for_the_cpu(weights):
    with pytest.raises(ModelError, match="OpenVINO runs networks on the CPU, not on cuda:0"):
        Yolo(weights, "cuda:0", "openvino")
