"""Top-1 of a bundle on splits of pose files, one uniformly sampled clip a sequence.

    python tests/benchmarks/accuracy.py models/actions27-slowonly-joint.pt \
        ../shared/data/penn_action.pkl:test ../shared/data/jhmdb14.pkl:test1

Class names are read from NAME_labels.txt beside each file and matched through the bundle's aliases.
With --visibility-as-score the annotators' visibility flags are used as scores, as they stand in the file.
With --record the bundle's own description is given the figures.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from poseact.classifier import Classifier, replace_info
from poseact.poses import PoseSequence, load_poses
from poseact.skeleton import LAYOUTS
from poseact.training.dataset import training_poses
from poseact.training.labels import label_indices, labels_beside, read_labels


def as_trained(poses: PoseSequence, layout: str, visibility_as_score: bool) -> PoseSequence:
    """The sequence with frame numbers for times, so that its clip is [0, T)."""
    keypoints, scores = poses.keypoints, poses.scores
    if not visibility_as_score:
        keypoints, scores = training_poses(poses, LAYOUTS[layout])
    return PoseSequence(
        keypoints=keypoints,
        scores=scores,
        times=np.arange(len(poses.times)) + 0.5,
        image_size=poses.image_size,
        layout=poses.layout if visibility_as_score else LAYOUTS[layout],
        track_ids=poses.track_ids,
        boxes=poses.boxes,
    )


def measure(classifier: Classifier, path: Path, split: str, visibility_as_score: bool) -> dict:
    info = classifier.info
    annotations = load_poses(path).split(split)
    names = read_labels(labels_beside(path))
    wanted = np.array(label_indices(annotations, names, info.labels, info.aliases, path))
    found = []
    for annotation in annotations:
        poses = as_trained(annotation.poses, info.layout, visibility_as_score)
        found.append(int(classifier.probabilities([(poses, 0.0, float(len(poses.times)))])[0].argmax()))
    right = np.array(found) == wanted
    return {
        "poses": f"{path.name}:{split}",
        "sequences": len(right),
        "top1": round(float(right.mean()), 4),
        "per_class": {info.labels[c]: round(float(right[wanted == c].mean()), 3) for c in np.unique(wanted)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("poses", nargs="+", metavar="POSES.pkl:SPLIT")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--visibility-as-score", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    classifier = Classifier(arguments.bundle, arguments.device)
    figures = {}
    for text in arguments.poses:
        path, _, split = text.rpartition(":")
        result = measure(classifier, Path(path), split, arguments.visibility_as_score)
        figures[f"{result['poses']} top-1"] = result["top1"]
        print(json.dumps(result), flush=True)
    if arguments.record:
        replace_info(arguments.bundle, replace(classifier.info, accuracy=figures))


if __name__ == "__main__":
    main()
