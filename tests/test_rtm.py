"""rtmlib's networks through our batches: the numbers of rtmlib itself, from ONNX files whose answer can be foretold."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import small_onnx
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rtmlib")

import rtmlib

from poseact import openvino, zoo
from poseact.detect import Detections, YoloDetector
from poseact.errors import ModelError, UsageError
from poseact.extract import PoseStages
from poseact.rtm import RtmDetector, RtmPose
from poseact.skeleton import COCO17
from poseact.video import Frame

# Of spots in the picture by colour: red, green, blue.
SPOTS = np.array([[60, 50], [70, 90], [90, 60]], float)
BOX = [50.0, 40.0, 100.0, 110.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def backend(request):
    """What runs the networks, in float32."""
    pytest.importorskip(request.param)
    network = openvino.Network
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino, "Network", lambda model, exact: network(model, exact=True))
        yield request.param


@pytest.fixture(scope="module")
def rtmpose(folder, backend):
    return RtmPose(small_onnx.simcc(folder / "rtmpose.onnx"), "cpu", backend)


@pytest.fixture(scope="module")
def vitpose(folder, backend):
    return RtmPose(small_onnx.heatmaps(folder / "vitpose.onnx"), "cpu", backend)


def frame_with(spots=SPOTS, size=(160, 120), brightness=255, index=0):
    """A dark picture with a red, a green and a blue spot of a few pixels."""
    y, x = np.mgrid[: size[1], : size[0]]
    shares = [np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 2.0**2)) for spot in spots]
    return Frame((np.stack(shares, axis=2) * brightness).round().astype(np.uint8), index, index / 25)


def people(*boxes):
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


def noise(index, size=(160, 120)):
    random = np.random.default_rng(index)
    return Frame(random.integers(0, 256, (size[1], size[0], 3), np.uint8), index, index / 25)


def some_boxes(count, size=(160, 120), seed=0):
    """Boxes of all shapes, many of them over the edge of the picture."""
    random = np.random.default_rng(seed)
    centres, sides = random.uniform(0, size, (count, 2)), random.uniform(5, 90, (count, 2))
    return people(*np.hstack([centres - sides / 2, centres + sides / 2]))


def count_calls(model, monkeypatch):
    """The number of pictures in each call of the network from now on."""
    calls = []
    session = model._network._session

    class Counting:
        def run(self, names, inputs):
            calls.append(len(next(iter(inputs.values()))))
            return session.run(names, inputs)

    monkeypatch.setattr(model._network, "_session", Counting())
    return calls


def of_rtmlib(kind, path, frames, detections, size=(48, 64)):
    """rtmlib's own keypoints and scores, one box a call: for each frame (P, K, 2) and (P, K)."""
    model = kind(str(path), model_input_size=size, backend="onnxruntime", device="cpu")
    return [
        model(frame.image, bboxes=found.boxes.astype(float)) for frame, found in zip(frames, detections, strict=True)
    ]


def test_each_keypoint_is_found_where_its_colour_is(rtmpose):
    (found,) = rtmpose([frame_with()], [people(BOX, BOX)])
    step = 70 * 1.25 / 64  # pixels of the picture in a pixel of the crop
    for person in range(2):
        assert found.keypoints[person, :3] == pytest.approx(SPOTS, abs=step / 2)
        assert found.keypoints[person, 15:17] == pytest.approx(SPOTS[:2], abs=step / 2)
    assert found.scores.tolist() == pytest.approx([0.9, 0.9])
    assert found.layout == COCO17
    assert (found.keypoints.dtype, found.keypoint_scores.dtype) == (np.float32, np.float32)
    assert found.keypoint_scores == pytest.approx(np.ones((2, 17)), abs=0.1)


def test_colours_are_not_exchanged(rtmpose):
    only_red = Frame(frame_with().image * np.array([1, 0, 0], np.uint8), 0, 0.0)
    (found,) = rtmpose([only_red], [people(BOX)])
    assert found.keypoint_scores[0, 0] > 0.9 > 0.1 > found.keypoint_scores[0, 2]


def test_a_crop_that_needs_no_scaling_gives_the_very_pixel(folder):
    estimator = RtmPose(small_onnx.simcc(folder / "exact.onnx", size=(80, 100)), "cpu")
    spots = [[60, 50], [70, 90], [90, 60]]
    (found,) = estimator([frame_with(np.array(spots))], [people([38, 30, 38 + 64, 30 + 80])])
    assert found.keypoints[0, :3] == pytest.approx(np.array(spots), abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    left=st.floats(-40, 130), top=st.floats(-40, 90), width=st.floats(20, 120), height=st.floats(20, 120),
    x=st.floats(0.05, 0.95), y=st.floats(0.05, 0.95),
)  # fmt: skip
def test_a_spot_is_found_wherever_the_box_is(rtmpose, left, top, width, height, x, y):
    spot = np.array([left + x * width, top + y * height])
    if not (0 <= spot[0] <= 159 and 0 <= spot[1] <= 119):
        return
    (found,) = rtmpose([frame_with(np.array([spot] * 3))], [people([left, top, left + width, top + height])])
    step = 1.25 * max(width / 48, height / 64)
    assert found.keypoints[0, 0] == pytest.approx(spot, abs=step / 2 + 0.5)


@pytest.mark.parametrize("kind", ["rtmpose", "vitpose"])
def test_a_batch_gives_the_numbers_of_rtmlib_one_box_a_call(kind, backend, folder, request, monkeypatch, capsys):
    allowed = {"onnxruntime": 1e-4, "openvino": 1e-3}[backend]
    estimator = request.getfixturevalue(kind)
    frames = [noise(i, size) for i, size in enumerate([(160, 120), (64, 48), (320, 200)])]
    detections = [some_boxes(5, seed=1), some_boxes(0), some_boxes(4, (320, 200), seed=2)]
    calls = count_calls(estimator, monkeypatch)
    found = estimator(frames, detections)
    assert calls == [9]
    assert capsys.readouterr().out == ""
    rtmlibs = rtmlib.RTMPose if kind == "rtmpose" else rtmlib.ViTPose
    with_people = [0, 2]  # rtmlib takes no box for one round the whole picture
    wanted = of_rtmlib(
        rtmlibs, folder / f"{kind}.onnx", [frames[i] for i in with_people], [detections[i] for i in with_people]
    )
    for i, (keypoints, scores) in zip(with_people, wanted, strict=True):
        assert np.abs(found[i].keypoints - keypoints).max() < allowed
        assert np.abs(found[i].keypoint_scores - scores.clip(0, 1)).max() < 1e-6
    assert found[1].keypoints.shape == (0, 17, 2)
    assert "with onnxruntime backend" in capsys.readouterr().out  # rtmlib's own, so we do silence it


def test_many_boxes_go_in_parts_of_bounded_size(rtmpose, monkeypatch):
    frames, detections = [noise(0)], [some_boxes(10)]
    (whole,) = rtmpose(frames, detections)
    monkeypatch.setattr(rtmpose._network, "most", 4)
    calls = count_calls(rtmpose, monkeypatch)
    (parts,) = rtmpose(frames, detections)
    assert calls == [4, 4, 2]
    assert parts.keypoints.tolist() == whole.keypoints.tolist()


def test_the_bound_follows_from_the_size_of_the_input(folder):
    assert RtmPose(small_onnx.simcc(folder / "usual.onnx", size=(192, 256)), "cpu")._network.most == 42
    assert RtmPose(small_onnx.simcc(folder / "large.onnx", size=(288, 384)), "cpu")._network.most == 18


@pytest.mark.parametrize(
    ("options", "sizes"),
    [({"batch": 1}, [1] * 5), ({"really": 1}, [1] * 5), ({"batch": 4}, [4, 4]), ({"batch": "n"}, [5])],
)
def test_a_network_for_one_crop_a_call_is_asked_one_by_one(folder, rtmpose, monkeypatch, options, sizes):
    path = small_onnx.simcc(folder / "fixed.onnx", **options)
    estimator = RtmPose(path, "cpu", "onnxruntime")
    calls = count_calls(estimator, monkeypatch)
    (found,) = estimator([noise(0)], [some_boxes(5)])
    assert calls == sizes
    (batched,) = rtmpose([noise(0)], [some_boxes(5)])
    assert found.keypoints.tolist() == batched.keypoints.tolist()


def test_scores_are_clipped(folder):
    path = small_onnx.simcc(folder / "bright.onnx", gain=1.5)
    (_, raw), *_ = of_rtmlib(rtmlib.RTMPose, path, [frame_with()], [people(BOX)])
    assert raw.max() > 1.2
    (found,) = RtmPose(path, "cpu")([frame_with()], [people(BOX)])
    assert found.keypoint_scores.max() == 1.0
    below = small_onnx.simcc(folder / "dark.onnx", gain=-1.0)
    (found,) = RtmPose(below, "cpu")([frame_with(np.full((3, 2), -99.0))], [people(BOX)])
    assert found.keypoint_scores.min() == 0.0


def test_of_26_keypoints_the_first_17(folder, rtmpose):
    halpe = RtmPose(small_onnx.simcc(folder / "halpe.onnx", n_keypoints=26), "cpu")
    (found,), (wanted,) = (model([frame_with()], [people(BOX)]) for model in (halpe, rtmpose))
    assert found.keypoints.tolist() == wanted.keypoints.tolist()


def test_boxes_without_area_and_networks_gone_wrong_give_score_0(rtmpose, folder):
    (found,) = rtmpose([frame_with()], [people([5, 5, 5, 5], [9, 9, 9, 60], BOX, [60, 60, 50, 50])])
    assert (found.keypoint_scores.max(axis=1) > 0.9).tolist() == [False, False, True, False]
    broken = RtmPose(small_onnx.simcc(folder / "nan.onnx", gain=np.nan), "cpu")
    (found,) = broken([frame_with()], [people(BOX)])
    assert not found.keypoints.any()
    assert not found.keypoint_scores.any()


def test_the_first_pass_is_left_as_it_was(rtmpose):
    first = replace(
        people(BOX), keypoints=np.ones((1, 17, 2), np.float32), keypoint_scores=np.ones((1, 17), np.float32)
    )
    (found,) = rtmpose([frame_with()], [first])
    assert (first.keypoints == 1).all()
    assert found.keypoints[0, 0] == pytest.approx(SPOTS[0], abs=1)


# Of an input of 64×64 pixels: x1, y1, x2, y2, score, class (0 is people); the second is a weaker copy of the first.
FOUND = [(4, 8, 24, 50, 0.9, 0), (5, 16, 25, 58, 0.4, 0), (36, 10, 60, 40, 0.3, 0), (10, 40, 30, 62, 0.95, 2)]
BLUE = Frame(np.full((64, 64, 3), (0, 0, 255), np.uint8), 0, 0.0)


def test_yolox_finds_people_with_their_scores(folder):
    detector = RtmDetector(small_onnx.yolox(folder / "plain.onnx", FOUND), "cpu")
    (found,) = detector([BLUE])
    assert found.boxes == pytest.approx(np.array([FOUND[0][:4], FOUND[2][:4]]), abs=1e-4)
    assert found.scores == pytest.approx(np.array([0.9, 0.3]), abs=1e-5)
    assert (found.boxes.dtype, found.scores.dtype, found.keypoints) == (np.float32, np.float32, None)


def test_yolox_gets_blue_first(folder):
    detector = RtmDetector(small_onnx.yolox(folder / "colour.onnx", FOUND), "cpu")
    red = Frame(np.ascontiguousarray(BLUE.image[..., ::-1]), 0, 0.0)
    assert [len(found) for found in detector([red, BLUE])] == [0, 2]


@pytest.mark.parametrize(
    ("name", "make", "kind", "options"),
    [
        ("yolox-plain", small_onnx.yolox, "YOLOX", {"score_thr": 0.1, "det_mode": "multiclass"}),
        ("yolox-nms", small_onnx.suppressed, "YOLOX", {}),
        ("rtmdet-nms", small_onnx.suppressed, "RTMDet", {"score_thr": 0.1}),
        ("rtmdet-plain", small_onnx.yolox, "RTMDet", {"score_thr": 0.1}),
    ],
)
def test_boxes_are_those_of_rtmlib(folder, backend, name, make, kind, options):
    persons = [row for row in FOUND if row[5] == 0] if "nms" in name else FOUND
    certain = {"objectness": 0.8} if name == "rtmdet-plain" else {}
    path = make(folder / f"{name}.onnx", persons, **certain)
    reference = getattr(rtmlib, kind)(str(path), (64, 64), backend="onnxruntime", device="cpu", **options)
    frames = [noise(1, (64, 64)), noise(2, (320, 200)), noise(3, (90, 160)), BLUE]
    for frame, found in zip(frames, RtmDetector(path, "cpu", backend)(frames), strict=True):
        wanted = reference(np.ascontiguousarray(frame.image[..., ::-1]))
        if options.get("det_mode") == "multiclass":
            wanted = wanted[0][np.asarray(wanted[1]) == 0] if len(wanted[0]) else np.zeros((0, 4))
        strong = found.boxes[found.scores > 0.3] if name == "yolox-nms" else found.boxes  # rtmlib's own bound there
        assert strong == pytest.approx(np.asarray(wanted).reshape(-1, 4), abs=1e-4)
    assert len(found) >= 2


def test_labels_tell_people_from_the_rest(folder):
    path = small_onnx.suppressed(folder / "yolox-labels.onnx", FOUND)
    black = Frame(np.zeros((64, 64, 3), np.uint8), 0, 0.0)
    (found,) = RtmDetector(path, "cpu")([black])
    assert found.scores == pytest.approx(np.array([0.9, 0.4, 0.3]), abs=1e-6)
    (found,) = RtmDetector(small_onnx.suppressed(folder / "yolox-one.onnx", FOUND, labels=False), "cpu")([black])
    assert len(found) == 4


def test_weak_boxes_are_kept_for_the_tracker_and_no_weaker_ones(folder):
    weak = [(*FOUND[0][:4], 0.15, 0), (*FOUND[2][:4], 0.05, 0)]
    for make in (small_onnx.yolox, small_onnx.suppressed):
        frame = BLUE if make is small_onnx.yolox else Frame(BLUE.image * 0, 0, 0.0)
        (found,) = RtmDetector(make(folder / "yolox-weak.onnx", weak), "cpu")([frame])
        assert found.scores == pytest.approx(np.array([0.15]), abs=1e-6)


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1, 1, 1]), ("n", [3])])
def test_frames_go_together_if_the_detector_allows(folder, monkeypatch, batch, sizes):
    detector = RtmDetector(small_onnx.yolox(folder / "batch.onnx", FOUND, batch=batch), "cpu")
    calls = count_calls(detector, monkeypatch)
    assert [len(found) for found in detector([BLUE] * 3)] == [2, 2, 2]
    assert calls == sizes


def test_a_detector_of_any_size_gets_640(folder):
    path = small_onnx.suppressed(folder / "yolox-open.onnx", [(100, 100, 200, 300, 0.9, 0)], input_size=("h", "w"))
    (found,) = RtmDetector(path, "cpu")([Frame(np.zeros((320, 160, 3), np.uint8), 0, 0.0)])
    assert found.boxes == pytest.approx(np.array([[50, 50, 100, 150]]))


def test_an_oblong_detector(folder):
    path = small_onnx.suppressed(folder / "yolox-oblong.onnx", FOUND[:1], input_size=(64, 96))
    (found,) = RtmDetector(path, "cpu")([noise(0, (192, 100))])
    assert found.boxes == pytest.approx(2 * np.array([FOUND[0][:4]]))


def test_nobody_is_no_box(folder):
    detector = RtmDetector(small_onnx.yolox(folder / "nobody.onnx", FOUND), "cpu")
    (found,) = detector([Frame(np.zeros((64, 64, 3), np.uint8), 0, 0.0)])
    assert found.boxes.shape == (0, 4)


def test_stages_build_what_the_path_says(folder):
    detector = small_onnx.yolox(folder / "yolox-stages.onnx", FOUND)
    pose = small_onnx.simcc(folder / "pose-stages.ONNX")
    stages = PoseStages(detector, pose, device="cpu")
    assert isinstance(stages.detector, RtmDetector)
    assert isinstance(stages.pose, RtmPose)
    assert re.fullmatch(r"detector yolox-stages \w{8}, pose pose-stages \w{8}, crops auto", stages.description)
    before = stages.description
    small_onnx.simcc(pose, gain=2.0)
    assert stages.description != before
    (found,) = stages.pose([BLUE], stages.detector([BLUE]))
    assert found.keypoints.shape == (2, 17, 2)
    mixed = PoseStages("yolo11n-pose", pose, device="cpu")
    assert (type(mixed.detector), type(mixed.pose)) == (YoloDetector, RtmPose)
    with pytest.raises(UsageError, match="crops can only be left out"):
        _ = PoseStages(detector, pose, device="cpu", crops="never").pose


def test_a_mode_of_rtmlib_names_both(folder, monkeypatch):
    files = {
        "yolox-m": small_onnx.yolox(folder / "yolox-m.onnx", FOUND),
        "rtmpose-m": small_onnx.simcc(folder / "rtmpose-m.onnx"),
        "yolo11n-pose": folder / "yolo11n-pose.pt",
    }
    mode = next(name for name in zoo.modes() if "balanced" in name)
    monkeypatch.setattr(
        "poseact.extract.resolve", lambda name, part, announce: files[zoo.modes().get(name, {}).get(part, name)]
    )
    for stages in (PoseStages(pose=mode, device="cpu"), PoseStages(mode), PoseStages(mode, mode)):
        assert re.fullmatch(r"detector yolox-m \w+, pose rtmpose-m \w+, crops auto", stages.description)
    named = PoseStages(lambda frames: [], mode, device="cpu")
    assert re.search(r"pose rtmpose-m \w+, crops auto$", named.description)
    assert "lambda" in named.description


def test_the_small_networks_are_sound(folder):
    onnx.checker.check_model(onnx.load(str(small_onnx.simcc(folder / "sound.onnx"))), full_check=True)


def test_openvino_runs_a_network_where_it_is_named(folder):
    pytest.importorskip("openvino")
    path = small_onnx.simcc(folder / "named.onnx")
    assert isinstance(RtmPose(path, "cpu", "openvino")._network._session, openvino.OnnxSession)
    assert not isinstance(RtmPose(path, "cpu")._network._session, openvino.OnnxSession)
    (found,) = RtmPose(path, "cpu", "openvino")([frame_with()], [people(BOX)])
    assert found.keypoints[0, :3] == pytest.approx(SPOTS, abs=4)
    with pytest.raises(ModelError, match="OpenVINO runs networks on the CPU, not on cuda:0"):
        RtmPose(path, "cuda:0", "openvino")


def test_what_openvino_cannot_run_is_told(folder):
    """A network that says to take any number of crops and takes three: OpenVINO itself would write past its memory."""
    pytest.importorskip("openvino")
    with pytest.raises(ModelError, match=r"three\.onnx does not run on cpu"):
        RtmPose(small_onnx.simcc(folder / "three.onnx", really=3), "cpu", "openvino")
    (folder / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded as an ONNX file by OpenVINO"):
        RtmPose(folder / "broken.onnx", "cpu", "openvino")
