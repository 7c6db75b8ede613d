"""Functions as CUDA graphs: the same answers. On a CPU the function is only called."""

import threading
import time
import weakref
from types import SimpleNamespace

import pytest
import torch

from poseact.classifier import load_classifier
from poseact.cuda_graphs import CudaGraphs, _Captured
from poseact.errors import UsageError
from poseact.heatmaps import VolumeRule, heatmap_volume
from poseact.zoo import DEFAULT_CLASSIFIER, FAST_CLASSIFIER, resolve_all

LIMBS = ((0, 1), (1, 3), (2, 4))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def poses(count, people=1, frames=48, keypoints=13, seed=0):
    generator = torch.Generator().manual_seed(seed)
    places = 300 * torch.rand((count, people, frames, keypoints, 2), generator=generator)
    scores = torch.rand((count, people, frames, keypoints), generator=generator)
    return places, scores, torch.full((count, 2), 300.0)


def test_on_a_cpu_the_function_is_called():
    called = CudaGraphs(lambda one, other: one + 2 * other, torch.device("cpu"))
    assert called(torch.ones(3), torch.arange(3)).tolist() == [1, 3, 5]


class FakeGraph:
    """Doubles what lies in one place into another, some time after it is launched."""

    def __init__(self, place, answer):
        self._place, self._answer = place, answer

    def replay(self):
        time.sleep(1e-4)
        torch.mul(self._place, 2, out=self._answer)


def test_threads_that_share_a_graph_get_their_own_answers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    graphs, place, answer = CudaGraphs(lambda one: 2 * one, torch.device("cuda")), torch.zeros(4), torch.zeros(4)
    graphs._captured_for = lambda kinds: _Captured(FakeGraph(place, answer), [place], answer)
    wrong = []

    def ask(value):
        for _ in range(200):
            wrong.extend(found for found in graphs(torch.full((4,), value)).tolist() if found != 2 * value)

    threads = [threading.Thread(target=ask, args=(float(value),)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("fault", [RuntimeError("operation not permitted when stream is capturing"), None])
def test_what_cannot_be_captured_is_called(monkeypatch, fault):
    """As a GPU's would, but that the arguments stay here."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(wait_stream=lambda other: None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch, "ones", lambda shape, **kind: torch.full(shape, 1.0))

    def capture(function, stream):
        if fault is not None:
            raise fault
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("poseact.cuda_graphs.capture", capture)
    graphs = CudaGraphs(lambda one: 2 * one, torch.device("cuda"))
    argument = SimpleNamespace(shape=(2,), dtype=torch.float32, to=lambda device: torch.arange(2.0))
    if fault is None:
        with pytest.raises(UsageError, match="the GPU's memory is full"):
            graphs(argument)
    else:
        assert graphs(argument).tolist() == [0, 2]


def test_a_classifier_goes_when_nobody_needs_it():
    """A GPU's memory is not for the garbage collector to find."""
    classifier = load_classifier(resolve_all(FAST_CLASSIFIER, "classifier", print), "cpu")
    assert classifier._graphs(*poses(1)).shape == (1, 27)
    gone = weakref.ref(classifier)
    del classifier
    assert gone() is None


@needs_gpu
def test_gpu_answers_are_those_of_the_function_whatever_the_shapes():
    graphs = CudaGraphs(lambda one, other: (one @ other).relu(), torch.device("cuda"))
    for seed, size in enumerate([4, 8, 4, 16, *range(17, 30), 4]):
        one, other = (torch.randn((size, size), generator=torch.Generator().manual_seed(s)) for s in (seed, -seed))
        assert torch.allclose(graphs(one, other), (one @ other).relu(), atol=1e-2)


@needs_gpu
@pytest.mark.parametrize("limbs", [None, LIMBS])
@pytest.mark.parametrize("people", [1, 3])
def test_gpu_volumes_are_drawn_alike(people, limbs):
    graphs = CudaGraphs(lambda *what: heatmap_volume(*what, VolumeRule(), limbs), torch.device("cuda"))
    for seed in range(3):
        what = poses(2, people, seed=seed)
        drawn = heatmap_volume(*(each.cuda() for each in what), VolumeRule(), limbs)
        assert drawn.max() > 0.5
        assert torch.allclose(graphs(*what), drawn.cpu(), atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("count", [1, 8])
def test_gpu_classifiers_say_the_same(count):
    classifier = load_classifier(resolve_all(DEFAULT_CLASSIFIER, "classifier", print), "cuda:0")
    for seed in range(3):
        what = poses(count, seed=seed)
        wanted = classifier.classify(*(each.cuda() for each in what)).cpu()
        assert torch.allclose(classifier._graphs(*what), wanted, atol=5e-3)
