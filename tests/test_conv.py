"""The convolution of all networks: its fast form against the 3D convolution, its memory, and folded batch norm."""

import pytest
import torch
from small import with_used_batch_norm
from torch import nn

from poseact.nets.conv import Conv, fold_batch_norm, plain_form

# kernel, (stride_t, stride_s), groups. Four channels come in and go out.
KINDS = {
    "stem": ((1, 7, 7), (1, 1), 1),
    "flat": ((1, 3, 3), (1, 1), 1),
    "flat, space halved": ((1, 3, 3), (1, 2), 1),
    "flat, both halved": ((1, 3, 3), (2, 2), 1),
    "flat, in groups": ((1, 3, 3), (1, 2), 2),
    "point": ((1, 1, 1), (1, 1), 1),
    "point, both halved": ((1, 1, 1), (2, 2), 1),
    "thin": ((3, 1, 1), (1, 1), 1),
    "thin, time halved": ((3, 1, 1), (2, 1), 1),
    "thin, depthwise": ((5, 1, 1), (1, 1), 4),
    "thin, space halved": ((3, 1, 1), (1, 2), 1),
    "cube": ((3, 3, 3), (1, 1), 1),
    "cube, depthwise": ((3, 3, 3), (1, 2), 4),
}
# Of these no 2D form is known.
CUBES = ("thin, space halved", "cube", "cube, depthwise")


def conv_of(kind, **options):
    kernel, stride, groups = KINDS[kind]
    torch.manual_seed(0)
    return with_used_batch_norm(Conv(4, 4, kernel, stride, groups, **options))


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("added", [False, True], ids=["", "residual"])
@pytest.mark.parametrize("form", [torch.clone, channels_last], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("shape", [(2, 4, 6, 8, 10), (1, 4, 5, 7, 9)], ids=["even", "odd"])
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_the_fast_form_is_the_3d_convolution(kind, shape, form, added):
    conv = conv_of(kind)
    x = torch.randn(shape)
    wanted = conv.bn(conv.conv(x))
    residual = torch.randn_like(wanted) if added else None
    wanted = torch.relu(wanted + residual if added else wanted)
    found = conv(form(x), form(residual) if added else None)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain_form(conv)(x, residual), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in CUBES])  # torch's own 3D may do as it likes
@torch.inference_mode()
def test_the_channels_stay_last_in_memory(kind, n):
    found = conv_of(kind)(channels_last(torch.randn(n, 4, 6, 8, 10)))
    assert found.permute(0, 2, 3, 4, 1).is_contiguous()


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_2d_is(kind, monkeypatch):
    conv = conv_of(kind)
    x = torch.randn(2, 4, 6, 8, 10)
    ran = []
    monkeypatch.setattr(nn.functional, "conv2d", lambda *_, real=nn.functional.conv2d: ran.append(2) or real(*_))
    monkeypatch.setattr(conv.conv, "forward", lambda x, real=conv.conv.forward: ran.append(3) or real(x))
    conv(x)
    assert ran == [3 if kind in CUBES else 2]
    plain = plain_form(conv)
    ran.clear()
    plain(x)
    assert 2 not in ran


def test_without_norm_and_relu_there_is_only_the_convolution():
    conv = conv_of("flat", norm=False, relu=False)
    x = torch.randn(2, 4, 3, 5, 5)
    found = conv(x)
    assert (found < 0).any()
    torch.testing.assert_close(found, conv.conv(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "form"), [((1, 3, 3), "_over_space"), ((3, 1, 1), "_over_time"), ((3, 3, 3), None)])
def test_a_script_has_the_one_form_that_it_runs(kernel, form):
    """With the others in it, a bundle would take three times as long to freeze."""
    code = torch.jit.script(Conv(4, 4, kernel)).code
    assert [name for name in ("_over_space", "_over_time") if name in code] == ([form] if form else [])


def test_the_plain_form_is_a_copy():
    net = nn.Sequential(conv_of("flat"), conv_of("thin"))
    plain = plain_form(net)
    assert [conv.plain for conv in plain] == [True, True]
    assert [conv.plain for conv in net] == [False, False]


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_folded_batch_norm_changes_nothing(kind):
    conv = conv_of(kind)
    x = torch.randn(2, 4, 6, 8, 10)
    folded = fold_batch_norm(conv)
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm3d)]
    torch.testing.assert_close(folded(x), conv(x), rtol=1e-4, atol=1e-5)


def test_folding_leaves_the_original_as_it_was():
    conv = conv_of("flat").train()
    before = {name: value.clone() for name, value in conv.state_dict().items()}
    assert not fold_batch_norm(conv).training
    assert conv.training
    assert all(torch.equal(value, before[name]) for name, value in conv.state_dict().items())


def test_gradients_of_the_fast_form_are_those_of_the_plain_one():
    net = nn.Sequential(conv_of("stem"), conv_of("thin"), conv_of("flat, both halved")).train()
    plain = plain_form(net)
    x = torch.randn(2, 4, 4, 8, 8)
    for form in (net, plain):
        form(x).square().sum().backward()
    for found, wanted in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-3, atol=1e-3)
