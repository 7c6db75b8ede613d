"""Frozen networks: the same logits as the plain form, fewer operators, and in which precision they run."""

import copy
from typing import get_args

import pytest
import torch
from small import with_used_batch_norm

from poseact.bundle import no_jit_warnings
from poseact.classifier import Classifier
from poseact.nets import freeze as freeze_module
from poseact.nets.c3d import c3d
from poseact.nets.conv import plain_form, suit_gpu
from poseact.nets.freeze import Precision, choose_dtype, freeze, has_bfloat16
from poseact.nets.slowonly import _max_3x3, _max_3x3_in_rows, slowonly
from poseact.nets.x3d import x3d

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
NETS = {
    "slowonly": lambda: slowonly(3, 5, width=8, blocks=(2, 1, 1)),
    "c3d": lambda: c3d(3, 5, width=8),
    "x3d": lambda: x3d(3, 5, width=8, blocks=(1, 1, 1)),
}
FUSED = "mkldnn::_convolution_pointwise"


@pytest.fixture(scope="module", params=NETS)
def net(request):
    torch.manual_seed(0)
    net = NETS[request.param]()
    torch.nn.init.normal_(net.cls_head.fc_cls.weight)
    return with_used_batch_norm(net)


def frozen(net, dtype=torch.float32):
    with no_jit_warnings():
        return freeze(torch.jit.script(net), CPU, dtype)


def weights_of(script):
    constants = script.graph.findAllNodes("prim::Constant")
    tensors = [node.t("value") for node in constants if node.hasAttribute("value") and node.kindOf("value") == "t"]
    return [tensor for tensor in tensors if tensor.is_floating_point()]


def kinds(script):
    """How many operators of each kind the graph has."""
    found = {}
    for line in str(script.inlined_graph).splitlines():
        if " = " in line:
            kind = line.split(" = ", 1)[1].split("(")[0].split("[")[0]
            found[kind] = found.get(kind, 0) + 1
    return found


@pytest.mark.parametrize("n", [1, 3])
@torch.inference_mode()
def test_frozen_logits_are_those_of_the_plain_form(net, n):
    torch.manual_seed(1)
    volume = torch.rand(n, 3, 6, 17, 16)
    wanted = plain_form(net)(volume)
    assert (plain_form(net)(volume.flip(2)) - wanted).abs().max() > 1e-3 * wanted.abs().max()  # it tells volumes apart
    assert (frozen(net)(volume) - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.skipif(not has_bfloat16(), reason="needs a processor that multiplies bfloat16")
@torch.inference_mode()
def test_bfloat16_logits_are_close(net):
    torch.manual_seed(1)
    volume = torch.rand(2, 3, 6, 17, 16)
    wanted = plain_form(net)(volume)
    found = frozen(net, torch.bfloat16)(volume.bfloat16())
    assert found.dtype == torch.bfloat16
    assert 0 < (found.float() - wanted).abs().max() < 0.04 * wanted.abs().max()


@torch.inference_mode()
def test_a_bundle_of_halves_is_as_good_as_its_weights(net):
    """Weights are widened before batch norm is folded, so that nothing more is lost."""
    volume = torch.rand(2, 3, 6, 17, 16)
    halves = copy.deepcopy(net).half()
    wanted = copy.deepcopy(halves).float()(volume)
    assert (frozen(halves)(volume) - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_sums_and_relus_go_into_the_convolutions(net, dtype):
    found = kinds(frozen(net, dtype))
    assert found[FUSED] >= 8
    assert not found.keys() & {"aten::batch_norm", "aten::relu", "aten::add"}


def test_the_slowonly_keeps_only_convolutions_that_nothing_follows():
    script = frozen(with_used_batch_norm(NETS["slowonly"]()))
    convolutions = sum(isinstance(module, torch.nn.Conv3d) for module in NETS["slowonly"]().modules())
    found = kinds(script)
    assert found["aten::conv2d"] == 3  # the downsampling, which is itself a residual
    assert found[FUSED] + found["aten::conv2d"] == convolutions


def test_weights_are_cast_and_lie_with_the_channels_last():
    script = frozen(NETS["slowonly"]().eval(), torch.bfloat16)
    weights = weights_of(script)
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    kernels = [weight for weight in weights if weight.dim() == 4]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize(
    ("precision", "device", "bfloat16", "wanted"),
    [
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, torch.float32),
        ("auto", CUDA, False, torch.float16),
        ("auto", CUDA, True, torch.float16),
        ("auto", MPS, True, torch.float32),
        ("float32", CPU, True, torch.float32),
        ("float32", CUDA, True, torch.float32),
        ("bfloat16", CPU, False, torch.bfloat16),  # slow, but it was asked for
        ("bfloat16", CUDA, False, torch.bfloat16),
        ("float16", CUDA, False, torch.float16),
    ],
)
def test_the_precision_suits_the_device(monkeypatch, precision, device, bfloat16, wanted):
    monkeypatch.setattr(freeze_module, "has_bfloat16", lambda: bfloat16)
    assert choose_dtype(precision, device) == wanted


def test_half_precision_on_a_cpu_is_refused():
    with pytest.raises(ValueError, match="float16 is slow and inexact on a CPU; choose bfloat16 or float32"):
        choose_dtype("float16", CPU)
    assert set(get_args(Precision)) == {"auto", "float32", "bfloat16", "float16"}


def test_without_one_dnn_there_is_no_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_bfloat16()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_torchscript_that_is_none_of_our_networks_runs_too(make_bundle, precision):
    classifier = Classifier(make_bundle(), "cpu", precision)
    keypoints = torch.rand(1, 1, 48, 13, 2) * 100
    scores = torch.full((1, 1, 48, 13), 0.3)
    scores[..., 1] = 0.9
    found = classifier.classify(keypoints, scores, torch.tensor([[100.0, 100.0]]))
    assert found.dtype == torch.float32
    assert found.argmax().item() == 1


@pytest.mark.parametrize("kind", ["slowonly", "x3d"])
@torch.inference_mode()
def test_what_a_gpu_is_given_computes_the_same(kind):
    """Aligned channels and joined biases, which only CUDA has, run on a CPU too."""
    torch.manual_seed(0)
    net = with_used_batch_norm(NETS[kind]())
    torch.nn.init.normal_(net.cls_head.fc_cls.weight)
    volume = torch.rand(2, 3, 6, 17, 16)
    wanted = plain_form(net)(volume)
    with no_jit_warnings():
        script = torch.jit.script(net)
    suit_gpu(script)
    frozen_script = freeze(script, CPU, torch.float32)
    assert (script.extra_inputs, script.plain) == (13, False)
    assert any(
        weight.dim() == 4 and weight.shape[1] == 16 for weight in weights_of(frozen_script)
    )  # padded once, not at each run
    assert "aten::batch_norm" not in kinds(frozen_script)
    assert (frozen_script(volume) - wanted).abs().max() < 1e-4 * wanted.abs().max()


@torch.inference_mode()
def test_a_residual_leaves_its_bias_to_the_other_convolution():
    torch.manual_seed(0)
    net = with_used_batch_norm(NETS["slowonly"]())
    volume = torch.rand(2, 3, 6, 17, 16)
    with no_jit_warnings():
        script = torch.jit.freeze(torch.jit.script(net))
    wanted = script(volume)
    again = torch.jit.freeze(torch.jit.script(net))  # a script that has run keeps its plan
    freeze_module._join_biases(again.graph)
    convs = list(again.graph.findAllNodes("aten::conv2d"))
    assert sum(str(conv.inputsAt(2).type()) == "NoneType" for conv in convs) == 3
    assert (again(volume) - wanted).abs().max() < 1e-5 * wanted.abs().max()


@torch.inference_mode()
def test_a_convolution_that_something_else_reads_keeps_its_bias():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)

        def forward(self, x):
            seen = self.other(x)
            return (self.one(x) + seen) * seen

    torch.manual_seed(0)
    with no_jit_warnings():
        script = torch.jit.freeze(torch.jit.script(Twice().eval()))
    x = torch.rand(1, 3, 4, 4)
    freeze_module._join_biases(script.graph)
    torch.manual_seed(0)
    assert torch.allclose(script(x), Twice()(x))
    assert str(script.graph).count("NoneType") == 0


@torch.inference_mode()
def test_the_pool_in_rows_is_the_pool():
    torch.manual_seed(0)
    for shape in ((2, 4, 5, 7), (1, 3, 1, 1), (3, 8, 9, 2)):
        x = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        for pool in (_max_3x3, _max_3x3_in_rows):
            assert torch.equal(pool(x), torch.nn.functional.max_pool2d(x, 3, 1, 1))
