"""The network: PYSKL's weights and logits, and its 2D form against 3D convolutions."""

import numpy as np
import pytest
import torch
from torch import nn

from poseact.heatmaps import PYSKL_RULE, joint_volume
from poseact.nets.slowonly import Conv, SlowOnly, fold_batch_norm
from poseact.sampling import pyskl_test_indices


def tiny(seed=0):
    torch.manual_seed(seed)
    return SlowOnly(3, 5, width=4, blocks=(1, 1, 1))


def with_used_batch_norm(net):
    """Statistics and weights of batch norm that are not those of a new one."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return net.eval()


def test_the_backbone_has_the_parameters_of_the_paper():
    backbone = SlowOnly(17, 60).backbone
    assert sum(p.numel() for p in backbone.parameters()) == 1_994_080


@torch.inference_mode()
def test_weights_and_logits_are_those_of_pyskl(shared):
    state = torch.load(shared / "reference" / "slowonly_joint.pth", map_location="cpu", weights_only=True)
    reference = np.load(shared / "reference" / "slowonly_joint.npz")
    net = SlowOnly(17, 60)
    net.load_state_dict(state["state_dict"])
    logits = net.eval()(first_view(reference, "short1p"))[0]
    assert np.abs(logits.numpy() - reference["short1p_logits"][0]).max() < 1e-3


def first_view(reference, case):
    """PYSKL's first clip, drawn here: the stored volume is rounded to float16, which moves logits by 0.002."""
    indices = pyskl_test_indices(int(reference[f"{case}_total_frames"]), 48).ravel()
    keypoints = torch.from_numpy(reference[f"{case}_keypoint"][:, indices])[None]
    scores = torch.from_numpy(reference[f"{case}_keypoint_score"][:, indices])[None]
    image_size = torch.from_numpy(reference[f"{case}_img_shape"]).float()[None]
    return joint_volume(keypoints, scores, image_size, PYSKL_RULE)[:, :, :48]


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((1, 7, 7), (1, 1)),
        ((1, 3, 3), (1, 2)),
        ((1, 3, 3), (2, 2)),
        ((1, 1, 1), (1, 1)),
        ((1, 1, 1), (2, 2)),
        ((3, 1, 1), (1, 1)),
        ((3, 1, 1), (2, 1)),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3, 6, 8, 10), (1, 3, 5, 7, 9)], ids=["even", "odd"])
def test_the_2d_form_computes_the_3d_convolution(kernel, stride, shape):
    torch.manual_seed(0)
    conv = Conv(3, 4, kernel, stride)
    x = torch.randn(shape)
    torch.testing.assert_close(conv.convolve(x), conv.conv(x), rtol=1e-4, atol=1e-5)
    channels_last = x.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(conv.convolve(channels_last), conv.conv(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3, 3), (1, 1)), ((3, 1, 1), (1, 2))])
def test_a_kernel_that_is_neither_flat_nor_thin_is_refused(kernel, stride):
    with pytest.raises(ValueError, match="flat or thin"):
        Conv(3, 4, kernel, stride)


@torch.inference_mode()
def test_a_volume_becomes_logits_and_time_and_space_shrink():
    net = tiny().eval()
    volume = torch.rand(2, 3, 8, 16, 16)
    assert net(volume).shape == (2, 5)
    assert net.backbone(volume).shape == (2, 64, 4, 2, 2)  # half the frames, an eighth of the pixels


@torch.inference_mode()
def test_the_stem_pools():
    # A new stem is linear, so without its pool one pixel would not reach beyond the 7×7 kernel.
    net = tiny().eval()
    volume = torch.zeros(1, 3, 1, 33, 33)
    volume[..., 16, 16] = 1
    seen = []
    net.backbone.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(volume)
    rows = torch.nonzero(seen[0].amax(dim=(0, 1, 2, 4)))
    assert seen[0].shape[-2:] == (33, 33)
    assert (rows.min(), rows.max()) == (16 - 4, 16 + 4)


@torch.inference_mode()
def test_folding_batch_norm_changes_no_logits():
    net = with_used_batch_norm(tiny())
    volume = torch.rand(2, 3, 8, 16, 16)
    logits, folded = net(volume), fold_batch_norm(net)(volume)
    assert (folded - logits).abs().max() < 1e-4 * logits.abs().max()
    assert (logits[0] - logits[1]).abs().max() > 0


def test_folding_leaves_no_batch_norm_and_the_original_as_it_was():
    net = tiny().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folded = fold_batch_norm(net)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm3d)]
    assert not folded.training
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@torch.inference_mode()
def test_a_scripted_network_computes_the_same():
    folded = fold_batch_norm(with_used_batch_norm(tiny()))
    volume = torch.rand(1, 3, 8, 16, 16)
    torch.testing.assert_close(torch.jit.script(folded)(volume), folded(volume))
