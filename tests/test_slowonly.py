"""SlowOnly: PYSKL's logits, the paper's parameters, its pool, and where time and space shrink."""

import numpy as np
import pytest
import torch

from poseact.heatmaps import PYSKL_RULE, heatmap_volume
from poseact.nets.slowonly import _max_3x3, slowonly
from poseact.sampling import pyskl_test_indices
from poseact.skeleton import COCO17


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return slowonly(3, 5, width=8, blocks=(1, 1, 1)).eval()


@pytest.mark.parametrize("modality", ["joint", "limb"])
@torch.inference_mode()
def test_weights_and_logits_are_those_of_pyskl(shared, modality):
    state = torch.load(shared / "reference" / f"slowonly_{modality}.pth", map_location="cpu", weights_only=True)
    reference = np.load(shared / "reference" / f"slowonly_{modality}.npz")
    net = slowonly(17, 60)
    net.load_state_dict(state["state_dict"])
    logits = net.eval()(first_view(reference, "short1p", COCO17.limbs if modality == "limb" else None))[0]
    assert np.abs(logits.numpy() - reference["short1p_logits"][0]).max() < 1e-3


def first_view(reference, case, limbs):
    """PYSKL's first clip, drawn here: the stored volume is rounded to float16, which moves logits by 0.002."""
    indices = pyskl_test_indices(int(reference[f"{case}_total_frames"]), 48).ravel()
    keypoints = torch.from_numpy(reference[f"{case}_keypoint"][:, indices])[None]
    scores = torch.from_numpy(reference[f"{case}_keypoint_score"][:, indices])[None]
    image_size = torch.from_numpy(reference[f"{case}_img_shape"]).float()[None]
    return heatmap_volume(keypoints, scores, image_size, PYSKL_RULE, limbs)[:, :, :48]


@torch.inference_mode()
def test_a_volume_becomes_logits_and_time_and_space_shrink(tiny):
    volume = torch.rand(2, 3, 8, 16, 16)
    assert tiny(volume).shape == (2, 5)
    assert tiny.backbone(volume).shape == (2, 128, 4, 2, 2)  # half the frames, an eighth of the pixels


@torch.inference_mode()
def test_four_stages_shrink_space_once_more():
    net = slowonly(3, 5, width=8, blocks=(1, 1, 1, 1)).eval()
    assert net.backbone(torch.rand(1, 3, 8, 32, 32)).shape == (1, 256, 4, 2, 2)


@pytest.mark.parametrize("training", [False, True])
@torch.inference_mode()
def test_the_stem_pools(tiny, training):
    # A new stem is linear, so without its pool one pixel would not reach beyond the 7×7 kernel.
    volume = torch.zeros(1, 3, 1, 33, 33)
    volume[..., 16, 16] = 1
    seen = []
    tiny.backbone.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tiny.backbone.conv1.bn.eval()
    tiny.backbone.training = training
    tiny(volume)
    rows = torch.nonzero(seen[0].amax(dim=(0, 1, 2, 4)))
    assert seen[0].shape[-2:] == (33, 33)
    assert (rows.min(), rows.max()) == (16 - 4, 16 + 4)


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (1, 1, 1, 1), (1, 2, 2, 3)])
def test_the_quick_pool_is_torch_s(shape):
    x = torch.rand(shape)
    assert torch.equal(_max_3x3(x), torch.nn.functional.max_pool2d(x, 3, 1, 1))
