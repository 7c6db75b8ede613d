"""Functions as CUDA graphs: the same answers. On a CPU the function is only called."""

import pytest
import torch

from poseact.classifier import load_classifier
from poseact.cuda_graphs import CudaGraphs
from poseact.heatmaps import VolumeRule, heatmap_volume
from poseact.zoo import DEFAULT_CLASSIFIER, resolve_all

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


@needs_gpu
def test_gpu_answers_are_those_of_the_function_whatever_the_shapes():
    graphs = CudaGraphs(lambda one, other: (one @ other).relu(), torch.device("cuda"))
    for seed, size in enumerate([4, 8, 4, 16, *range(17, 30), 4]):
        one, other = (torch.randn((size, size), generator=torch.Generator().manual_seed(s)) for s in (seed, -seed))
        assert torch.allclose(graphs(one, other).cpu(), (one @ other).relu(), atol=1e-2)


@needs_gpu
@pytest.mark.parametrize("limbs", [None, LIMBS])
@pytest.mark.parametrize("people", [1, 3])
def test_gpu_volumes_are_drawn_alike(people, limbs):
    graphs = CudaGraphs(lambda *what: heatmap_volume(*what, VolumeRule(), limbs), torch.device("cuda"))
    for seed in range(3):
        what = poses(2, people, seed=seed)
        drawn = heatmap_volume(*(each.cuda() for each in what), VolumeRule(), limbs)
        assert drawn.max() > 0.5
        assert torch.allclose(graphs(*what), drawn, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("count", [1, 8])
def test_gpu_classifiers_say_the_same(count):
    classifier = load_classifier(resolve_all(DEFAULT_CLASSIFIER, "classifier", print), "cuda:0")
    for seed in range(3):
        what = poses(count, seed=seed)
        found = classifier._graphs(*what).clone()
        assert torch.allclose(found, classifier.classify(*(each.cuda() for each in what)), atol=5e-3)
