"""The network without Ultralytics' predictor finds what the predictor finds, on every backend and kind of head."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import small_yolo
import torch
from draw_actions import Scene, act, render

from poseact import yolo, yolo_net
from poseact.errors import ModelError
from poseact.letterbox import fit
from poseact.video import Video
from poseact.yolo import Yolo, share_yolo
from poseact.yolo_cuda import BATCH, CudaNetwork
from poseact.yolo_net import TorchNetwork, Undecoded, head_of
from poseact.zoo import resolve

KINDS = ["yolo11n-pose.yaml", "yolo11n.yaml", "yolov8n.yaml", "yolov5n.yaml", "yolo26n.yaml"]
OTHER_KINDS = ["yolo26n-pose.yaml", "yolov10n.yaml"]


@pytest.fixture(scope="module")
def weights():
    return resolve("yolo11n-pose", "detector")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The file of small random weights of one architecture, made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = small_yolo.save(tmp_path_factory.mktemp("weights") / "some.pt", name)
        return made[name]

    return of


def predictor(path):
    return yolo._Predictor(yolo._load(path), "cpu")


def exact(path):
    """The direct form in float32, whatever the processor."""
    model = yolo._load(path).model
    return yolo._one_by_one("torch", head_of(model), TorchNetwork(Undecoded(model), torch.float32))


def as_on_a_gpu(path):
    model = yolo._load(path).model
    head = head_of(model)
    return yolo._Direct("torch", head, CudaNetwork(Undecoded(model), head, "cpu", yolo.LEAST_CONFIDENCE))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def drawn():
    return next(iter(render(Scene((act("squat"),)), 1.0, 12, (180, 320))))


def assert_same(found, wanted, pixels, scores=1e-4):
    assert found.boxes.shape == wanted.boxes.shape
    assert np.abs(found.boxes - wanted.boxes).max(initial=0) <= pixels
    assert np.abs(found.scores - wanted.scores).max(initial=0) <= scores
    assert (found.keypoints is None) == (wanted.keypoints is None)
    if found.keypoints is not None:
        assert np.abs(found.keypoints[..., :2] - wanted.keypoints[..., :2]).max(initial=0) <= pixels
        assert np.abs(found.keypoints[..., 2] - wanted.keypoints[..., 2]).max(initial=0) <= scores


@pytest.mark.parametrize("video", ["aerobics.avi", "drink.avi"])
def test_real_people_are_found_as_by_the_predictor(shared, weights, video):
    with Video(shared / "videos" / video) as opened:
        images = [frame.image for frame in opened.frames() if frame.index in (0, 30, 60)]
    direct, predict = exact(weights), predictor(weights)
    for image in images:
        (found,), (wanted,) = direct([image], 640, False), predict([image], 640, False)
        assert_same(found, wanted, 0.02)
        assert len(found.boxes) >= 1
        crop = image[20 : image.shape[0] // 2, 30:200]
        assert_same(direct([crop], 256, True)[0], predict([crop], 256, True)[0], 0.02)


def test_a_drawn_person_is_found_as_by_the_predictor_on_every_backend(weights, drawn):
    (wanted,) = predictor(weights)([drawn], 640, False)
    assert len(wanted.boxes) >= 1
    assert_same(exact(weights)([drawn], 640, False)[0], wanted, 0.01)
    assert_same(as_on_a_gpu(weights)([drawn], 640, False)[0], wanted, 0.5, scores=0.01)
    (found,) = Yolo(weights, "cpu", "torch")([drawn])
    assert found.boxes[0] == pytest.approx(wanted.boxes[0], abs=3)
    assert found.keypoints[0, :, :2] == pytest.approx(wanted.keypoints[0, :, :2], abs=3)


@pytest.mark.parametrize("name", KINDS)
def test_every_head_that_is_understood_gives_what_the_predictor_gives(small, name):
    direct, predict = exact(small(name)), predictor(small(name))
    counts = []
    for image in (noise(90, 160), noise(190, 100, 1)):
        (found,), (wanted,) = direct([image], 192, False), predict([image], 192, False)
        assert_same(found, wanted, 0.01)
        counts.append(len(found.boxes))
    assert max(counts) > 0
    assert Yolo(small(name), "cpu", "torch").runs_on == "torch"


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_other_heads_are_left_to_the_predictor(small, name):
    for backend in ("auto", "torch"):
        model = Yolo(small(name), "cpu", backend)
        assert model.runs_on == "predictor"
    (found,) = model([noise(90, 160)], 192)
    assert len(found.boxes) > 0
    assert (found.keypoints is None) == (model.task == "detect")
    with pytest.raises(ModelError, match=r"head that OpenVINO is not prepared for.*torch backend"):
        Yolo(small(name), "cpu", "openvino")


@pytest.mark.parametrize("make", [exact, as_on_a_gpu])
def test_a_picture_gives_the_same_alone_and_among_others(small, make):
    direct = make(small("yolo11n-pose.yaml"))
    pictures = [noise(90, 160, seed) for seed in range(3)]
    among = direct([noise(64, 64), *pictures, noise(200, 90)], 192, False)
    for picture, found in zip(pictures, among[1:], strict=False):
        (alone,) = direct([picture], 192, False)
        assert len(found.boxes) > 0
        assert (found.boxes == alone.boxes).all()
        assert (found.keypoints == alone.keypoints).all()


def test_crops_of_many_sizes_need_one_graph(small):
    direct = as_on_a_gpu(small("yolo11n-pose.yaml"))
    crops = [noise(60 + n, 90 - 5 * n, n) for n in range(6)]
    found = direct(crops, 192, True)
    assert direct.see._steps_for.cache_info().misses == 1
    for crop, each in zip(crops, found, strict=True):
        assert_same(each, exact(small("yolo11n-pose.yaml"))([crop], 192, True)[0], 0.01)


def test_threads_that_share_a_network_do_not_disturb_each_other(weights):
    pictures = [noise(90, 160, seed) for seed in range(4)]
    wanted = [found.boxes.tolist() for found in share_yolo(weights, "cpu")(pictures)]

    def find(_):
        return [found.boxes.tolist() for found in share_yolo(weights, "cpu")(pictures)]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(find, range(12))) == [wanted] * 12


def test_more_pictures_than_a_graph_holds(small):
    direct = as_on_a_gpu(small("yolo11n-pose.yaml"))
    pictures = [noise(32, 64, seed) for seed in range(2 * BATCH + 3)]
    found = direct(pictures, 64, False)
    assert len(found) == len(pictures)
    for index in (0, BATCH, 2 * BATCH + 2):
        assert_same(found[index], direct([pictures[index]], 64, False)[0], 0)


def test_the_gpus_form_resizes_as_the_cpus_does(small):
    """Noise would not do: OpenCV rounds each pixel."""
    y, x = np.mgrid[:200, :330]
    image = np.stack([x / 2, y, 255 - x / 2], 2).round().astype(np.uint8)
    box = yolo.fit((200, 330), 192, 32, square=False)
    gpu = as_on_a_gpu(small("yolo11n-pose.yaml")).see
    steps = gpu._steps_for(box)
    steps.pictures[0] = torch.from_numpy(image)
    assert (steps._fitted()[0].permute(1, 2, 0) * 255).numpy() == pytest.approx(box.put(image), abs=1.01)


def test_a_picture_that_nobody_is_in(weights):
    grey = np.full((48, 64, 3), 128, np.uint8)
    (found,) = Yolo(weights, "cpu", "torch")([grey])
    assert (found.boxes.shape, found.scores.shape, found.keypoints.shape) == ((0, 4), (0,), (0, 17, 3))


def test_two_stages_share_a_network(weights):
    one = share_yolo(weights, "cpu", "torch")
    assert share_yolo(weights, "cpu", "torch") is one
    assert share_yolo(weights, "cpu", "auto") is not one


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_what_are_no_weights_is_told(tmp_path, backend):
    path = tmp_path / "broken.pt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"broken\.pt cannot be loaded as Ultralytics weights"):
        Yolo(path, "cpu", backend)
    with pytest.raises(ModelError, match=r"net\.onnx is no \.pt file"):
        Yolo(tmp_path / "net.onnx", "cpu", backend)


def test_a_cell_that_is_surer_of_something_else_sees_nobody():
    scores = torch.tensor([[[2.0, 2.0, -3.0], [1.0, 3.0, -9.0]]])
    assert yolo_net.person_scores(scores)[0].tolist() == pytest.approx([0.8808, 0, 0.0474], abs=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(small, weights, drawn):
    (wanted,) = exact(weights)([drawn], 640, False)
    model = Yolo(weights, "cuda:0")
    (found,) = model([drawn])
    assert found.boxes[0] == pytest.approx(wanted.boxes[0], abs=2)
    assert found.keypoints[0, :, :2] == pytest.approx(wanted.keypoints[0, :, :2], abs=2)
    many = model([drawn] * (2 * BATCH + 3))
    assert len(many) == 2 * BATCH + 3
    for each in many:
        assert (each.boxes == found.boxes).all()
        assert (each.keypoints == found.keypoints).all()
    assert len(model([noise(256, 256, i) for i in range(3)], 256, square=True)) == 3
    for name in KINDS[1:]:
        assert len(Yolo(small(name), "cuda:0")([noise(90, 160)], 192)) == 1


def test_of_a_picture_scaled_or_whole_the_same_is_found_on_a_gpu(small):
    direct, image = as_on_a_gpu(small("yolo11n-pose.yaml")), noise(180, 320)
    box = fit((180, 320), 192, direct.head.stride, square=False)
    pictures = [image, cv2.resize(image, box.fitted[::-1], interpolation=cv2.INTER_NEAREST)]
    found = direct.within(pictures, [box, box])
    assert direct.see._steps_for.cache_info().misses == 2, "each is fitted in its own way"
    for picture, each in zip(pictures, found, strict=True):
        (alone,) = direct.within([picture], [box])
        assert len(each.boxes)
        assert np.array_equal(each.boxes, alone.boxes)
