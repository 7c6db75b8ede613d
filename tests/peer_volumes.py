"""What MMAction2's own dataset and transforms make of a pose file. Run by test_peer.py in MMAction2's environment.

python peer_volumes.py POSES.pkl SPLIT REQUEST.npz OUT.npz

REQUEST: `frames`, (N, clips, T) indices for each sequence of the split; `size`, (H, W); `limbs`, (L, 2).
OUT: `joint` (N, clips, K, T, H, W), `limb` (N, clips, L, T, H, W), `label` (N,), and `sampled`, the frames that its
own sampling chose.
"""

import sys

import numpy as np
from mmaction.datasets import PoseDataset
from mmaction.datasets.transforms import (
    FormatShape,
    GeneratePoseTarget,
    PackActionInputs,
    PoseCompact,
    PoseDecode,
    Resize,
    UniformSampleFrames,
)


def volumes(poses, split, request, with_limb):
    frames, (height, width) = request["frames"], request["size"].tolist()
    clips, clip_len = frames.shape[1:]
    sampled = []

    def take_these_frames(results):
        sampled.append(results["frame_inds"].copy())
        results["frame_inds"] = frames[len(sampled) - 1].reshape(-1)
        return results

    limbs = tuple(tuple(limb) for limb in request["limbs"].tolist())
    pipeline = [
        UniformSampleFrames(clip_len=clip_len, num_clips=clips, test_mode=True),
        take_these_frames,
        PoseDecode(),
        PoseCompact(hw_ratio=1.0, allow_imgpad=True),
        Resize(scale=(width, height), keep_ratio=False),
        GeneratePoseTarget(with_kp=not with_limb, with_limb=with_limb, skeletons=limbs),
        FormatShape(input_format="NCTHW_Heatmap"),
        PackActionInputs(),
    ]
    dataset = PoseDataset(poses, pipeline, split=split, test_mode=True)
    samples = [dataset[index] for index in range(len(dataset))]
    drawn = np.stack([sample["inputs"].numpy() for sample in samples])
    return drawn, [int(sample["data_samples"].gt_label) for sample in samples], np.stack(sampled)


if __name__ == "__main__":
    poses, split, request, out = sys.argv[1:]
    wanted = np.load(request)
    joint, label, sampled = volumes(poses, split, wanted, with_limb=False)
    limb, _, _ = volumes(poses, split, wanted, with_limb=True)
    np.savez(out, joint=joint, limb=limb, label=label, sampled=sampled.reshape(wanted["frames"].shape))
