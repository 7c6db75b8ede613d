"""How well a classifier knows what it does not know: its confidence in sequences of actions outside its labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bundle import BundleInfo
from ..classifier import Classifier, Ensemble
from ..errors import InputError, UsageError
from ..poses import Annotation, load_poses
from .evaluation import Evaluation, EvaluationOptions, sequence_probabilities
from .labels import labels_beside, read_labels
from .metrics import auroc

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Strangers:
    """Sequences that should be rejected. split: None: all of the file. classes: only these; empty: all."""

    poses: Path
    split: str | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Strangers:
        """From POSES.pkl, POSES.pkl:SPLIT or POSES.pkl:SPLIT:CLASS+CLASS; an empty SPLIT means all."""
        for colons in range(3):  # the path may itself have one
            path, *rest = text.rsplit(":", colons)
            if Path(path).is_file() or colons == text.count(":"):
                break
        split, classes = [*rest, "", ""][:2]
        return cls(Path(path), split or None, tuple(name for name in classes.split("+") if name))

    def __str__(self) -> str:
        return f"{self.poses.name}:{self.split or ''}:{'+'.join(self.classes)}".rstrip(":")


@dataclass(frozen=True)
class Rejection:
    """Confidence is the greatest probability. auroc: of confidence, between known and unknown sequences.

    threshold: the classifier's own; known_rejected, rejected: the shares of known and unknown sequences below it.
    """

    source: str
    sequences: int
    auroc: float
    threshold: float
    known_rejected: float
    rejected: float


def measure_rejection(
    classifier: Classifier | Ensemble,
    known: Evaluation,
    strangers: Sequence[Strangers],
    options: EvaluationOptions,
) -> list[Rejection]:
    """The rejection of each source of strangers against the known sequences, and, of several, of all together.

    Raises InputError, UsageError.
    """
    own = confidence(known.probabilities)
    threshold = classifier.info.rejection_threshold
    found: list[tuple[str, np.ndarray]] = []  # two sources may have the same name, in two folders
    for source in strangers:
        answers = sequence_probabilities(classifier, _read(source, classifier.info, options), options)
        found.append((str(source), confidence(np.stack(list(answers.values())))))
    if len(found) > 1:
        found.append(("all", np.concatenate([others for _, others in found])))
    return [
        Rejection(
            source=name,
            sequences=len(others),
            auroc=auroc(own, others),
            threshold=threshold,
            known_rejected=float((own < threshold).mean()),
            rejected=float((others < threshold).mean()),
        )
        for name, others in found
    ]


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """What a label is rejected by: the greatest of each row's probabilities, (N, n_labels) to (N,)."""
    return probabilities.max(axis=1)


def _read(source: Strangers, info: BundleInfo, options: EvaluationOptions) -> list[Annotation]:
    file = load_poses(source.poses, planes=options.planes)
    annotations = list(file.annotations.values()) if source.split is None else file.split(source.split)
    beside = labels_beside(source.poses)
    names = read_labels(beside) if source.classes or beside.exists() else []
    for name in source.classes:
        if name not in names:
            raise UsageError(f"{beside} names no class {name!r}; its classes: {', '.join(names)}")
    if source.classes:
        annotations = [a for a in annotations if _name(a, names) in source.classes]
    if not annotations:
        raise InputError(f"{source} holds no sequences, so nothing can be said of their rejection")
    known = {name for a in annotations if info.aliases.get(name := _name(a, names), name) in info.labels}
    if known:
        _log.warning("%s: the classifier knows %s, so these should not be rejected", source, ", ".join(sorted(known)))
    return annotations


def _name(annotation: Annotation, names: Sequence[str]) -> str:
    return names[annotation.label] if 0 <= annotation.label < len(names) else ""
