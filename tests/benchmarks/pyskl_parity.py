"""PYSKL's reference checkpoints, exported and run from raw keypoints, against the probabilities that PYSKL computed.

    python tests/benchmarks/pyskl_parity.py [--device cuda] [--precision float32]

One line a checkpoint and sequence: the largest difference of the probability averaged over the 20 views, and whether
the five likeliest labels are the same in the same order.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from poseact.checkpoints import ExportJob, export_checkpoint
from poseact.classifier import Classifier
from poseact.sampling import pyskl_test_indices

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
CHECKPOINTS = ("slowonly_joint", "slowonly_limb", "c3d_light_joint", "x3d_shallow_joint")
SEQUENCES = ("short1p", "mid1p", "long2p")


def exported(checkpoint: Path, folder: Path) -> Path:
    """The bundle of a reference checkpoint, with invented names for its 60 classes."""
    labels = folder / "labels.txt"
    labels.write_text("\n".join(f"action {number}" for number in range(1, 61)))
    bundle = folder / f"{checkpoint.stem}.pt"
    export_checkpoint(ExportJob(checkpoint, labels, bundle))
    return bundle


def compare(classifier: Classifier, reference: np.lib.npyio.NpzFile, sequence: str) -> tuple[float, bool]:
    """The largest difference of the averaged probability, and whether the top five agree in order."""
    indices = pyskl_test_indices(int(reference[f"{sequence}_total_frames"]), classifier.info.clip_len).ravel()
    keypoints = torch.from_numpy(reference[f"{sequence}_keypoint"][:, indices])[None].to(classifier.device)
    scores = torch.from_numpy(reference[f"{sequence}_keypoint_score"][:, indices])[None].to(classifier.device)
    image_size = torch.from_numpy(reference[f"{sequence}_img_shape"]).float()[None].to(classifier.device)
    found = classifier.classify(keypoints, scores, image_size, mirror=True)[0].cpu().numpy()
    wanted = reference[f"{sequence}_prob"]
    same_order = bool((np.argsort(-found)[:5] == np.argsort(-wanted)[:5]).all())
    return float(np.abs(found - wanted).max()), same_order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in CHECKPOINTS:
            bundle = exported(REFERENCE / f"{name}.pth", Path(folder))
            classifier = Classifier(bundle, arguments.device, arguments.precision)
            reference = np.load(REFERENCE / f"{name}.npz")
            for sequence in SEQUENCES:
                difference, same_order = compare(classifier, reference, sequence)
                line = {
                    "checkpoint": name,
                    "sequence": sequence,
                    "difference": round(difference, 8),
                    "same_top5": same_order,
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
