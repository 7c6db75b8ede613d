"""Every network of the table: what it counts, whose weights it takes, and its two forms against each other."""

import copy

import pytest
import torch
from small import with_used_batch_norm
from torch import nn

from poseact.nets import NETS
from poseact.nets import conv as conv_module
from poseact.nets.conv import fold_batch_norm, plain_form, suit_gpu
from poseact.nets.cost import measure
from poseact.nets.slowonly import _pooled_twice

PARAMETERS = {
    "slowonly": 1_994_080,
    "slowonly-wide": 7_897_792,
    "slowonly-hr": 7_946_208,
    "slowonly-group": 508_336,
    "c3d": 6_929_440,
    "c3d-s": 3_389_472,
    "x3d": 530_742,
    "x3d-s": 241_488,
}
REFERENCES = {
    "slowonly_joint": "slowonly",
    "slowonly_limb": "slowonly",
    "c3d_light_joint": "c3d-s",
    "x3d_shallow_joint": "x3d-s",
}


def narrow(name):
    """The network with eight channels where it has 16 to 64, its batch norm as after a training."""
    torch.manual_seed(0)
    net = NETS[name].build(3, 5, width=8)
    nn.init.normal_(net.cls_head.fc_cls.weight)
    return with_used_batch_norm(net)


@pytest.mark.parametrize("name", NETS)
def test_parameters_and_multiply_adds_are_those_of_the_paper(name):
    net = NETS[name]
    parameters, flops = measure(net)
    assert parameters == PARAMETERS[name]
    assert parameters == pytest.approx(net.paper_params, rel=0.03)
    # The volleyball setting counts 1.25 G in PYSKL, whatever the paper says.
    assert flops == pytest.approx(1.25e9 if name == "slowonly-group" else net.paper_flops, rel=0.03)


@pytest.mark.parametrize(("file", "name"), REFERENCES.items())
def test_weights_have_the_names_and_shapes_of_pyskl(shared, file, name):
    state = torch.load(shared / "reference" / f"{file}.pth", weights_only=True)["state_dict"]
    with torch.device("meta"):
        ours = NETS[name].build(17, 60).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in state.items()}


@pytest.mark.parametrize("shape", [(2, 3, 4, 16, 16), (1, 3, 5, 17, 19)], ids=["even", "odd"])
@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_the_fast_form_computes_what_the_plain_form_does(name, shape):
    net = narrow(name)
    volume = torch.rand(shape)
    wanted = plain_form(net)(volume)
    unlike = plain_form(net)(volume.flip(2).roll(3, dims=4))
    assert (wanted - unlike).abs().max() > 1e-3 * wanted.abs().max()  # else agreement would mean nothing
    for form in (net, fold_batch_norm(net), torch.jit.script(net)):
        assert (form(volume) - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("name", ["slowonly", "x3d-s", "c3d-s"])
@pytest.mark.parametrize("n", [1, 2])
@torch.inference_mode()
def test_a_volume_with_the_channels_last_is_read_as_it_is(name, n):
    net = narrow(name)
    seen = []
    net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].data_ptr()))
    volume = torch.rand(n, 4, 16, 16, 3).movedim(-1, 1)
    net(volume)
    net(volume.contiguous())
    assert seen[0] == volume.data_ptr() != seen[1]


@pytest.mark.parametrize("name", ["slowonly", "x3d-s"])
@torch.inference_mode()
def test_a_network_suited_to_a_gpu_takes_a_volume_with_its_zeros_or_without(name):
    net = narrow(name)
    volume = torch.rand(2, 4, 16, 16, 3)
    wanted = net(volume.movedim(-1, 1))
    suit_gpu(net)
    padded = nn.functional.pad(volume, [0, net.extra_inputs])
    assert padded.shape[-1] == 16
    for form in (net, torch.jit.script(net)):
        for each in (volume, padded):
            assert (form(each.movedim(-1, 1)) - wanted).abs().max() < 1e-4 * wanted.abs().max()
    with pytest.raises(RuntimeError):
        net(torch.rand(2, 4, 16, 16, 2).movedim(-1, 1))


@pytest.mark.parametrize("width", [16, 17])
def test_a_network_suited_to_a_gpu_learns_the_same(monkeypatch, width):
    """In training it computes two columns at once, where there is an even number of them, and pools in two steps."""
    seen = []
    in_twos = conv_module._two_columns_at_once
    monkeypatch.setattr(conv_module, "_two_columns_at_once", lambda *given: seen.append(1) or in_twos(*given))
    net = narrow("slowonly").train()
    net.cls_head.dropout.p = 0.0
    suited = copy.deepcopy(net)
    suit_gpu(suited)
    volume = torch.rand(2, 3, 4, 16, width)
    logits = []
    for form in (net, suited):
        logits.append(form(volume))
        logits[-1].square().sum().backward()
    assert len(seen) == (width == 16)
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(suited.parameters(), net.parameters(), strict=True):
        assert (ours.grad - theirs.grad).abs().max() <= 1e-3 * theirs.grad.abs().max()


def test_pooled_in_two_steps_is_the_pool():
    torch.manual_seed(0)
    for shape in ((2, 4, 5, 7), (1, 3, 1, 1)):
        x = torch.rand(shape, requires_grad=True)
        given = torch.rand(shape)
        one, two = nn.functional.max_pool2d(x, 3, 1, 1), _pooled_twice(x)
        assert torch.equal(one, two)
        torch.testing.assert_close(*(torch.autograd.grad(pooled, x, given)[0] for pooled in (one, two)))


@torch.inference_mode()
def test_the_plain_form_is_of_3d_convolutions_and_leaves_the_other_as_it_was(monkeypatch):
    net = narrow("slowonly")
    plain = plain_form(net)
    monkeypatch.setattr(nn.functional, "conv2d", None)
    plain(torch.rand(1, 3, 4, 16, 16))
    with pytest.raises(TypeError):
        net(torch.rand(1, 3, 4, 16, 16))


@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_time_and_space_shrink_as_in_the_paper(name):
    found = narrow(name).backbone(torch.rand(1, 3, 4, 16, 16)).shape[2:]
    frames = 2 if name.startswith("slowonly") else 4
    side = {"slowonly-hr": 1, "x3d": 1, "x3d-s": 1}.get(name, 2)
    assert tuple(found) == (frames, side, side)
