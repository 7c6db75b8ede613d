"""The classifier: heatmap volumes of poses to probabilities of labels, by one bundle or by several together."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .bundle import BundleInfo, load_bundle, no_jit_warnings
from .cuda_graphs import CudaGraphs
from .errors import ModelError, UsageError
from .heatmaps import VolumeRule, heatmap_volume
from .nets.freeze import Precision, choose_dtype, freeze
from .poses import PoseSequence
from .sampling import nearest_frames, sample_times
from .skeleton import LAYOUTS, Layout, conversion, mirrored_limbs

# A clip for the pipeline: the subjects' poses, and its start and end in seconds.
Clip = tuple[PoseSequence, float, float]
# Clips that go through the networks of a GPU together: each number of them costs a graph.
_ON_A_GPU = (1, 8)
# All that a volume depends on beside the poses: rule, limbs (none: joints), and what numbers it is of.
Drawing = tuple[VolumeRule, tuple[tuple[int, int], ...], torch.dtype]


class ClipClassifier(ABC):
    """Whatever gives clips the probabilities of labels. info: what its first bundle says; layout: the keypoints that it
    looks at."""

    info: BundleInfo
    device: torch.device

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.info.layout]

    @abstractmethod
    def classify(self, keypoints: Tensor, scores: Tensor, image_size: Tensor, mirror: bool = False) -> Tensor:
        """The mean probability of each label over the views of each sequence, (N, n_labels) float32.

        keypoints: (N, M, C·clip_len, K, 2) float32 pixels, scores: (N, M, C·clip_len, K), of C clips of each
        sequence one after the other; image_size: (N, 2), (H, W). All clips share one crop, as in PYSKL. mirror:
        look at each clip's mirror image too, with left and right exchanged.
        """

    def probabilities(self, clips: Sequence[Clip]) -> np.ndarray:
        """The probability of each label for each clip, (N, n_labels) float32.

        A clip needs at least one person and one frame.
        """
        found = np.empty((len(clips), len(self.info.labels)), np.float32)
        for rows in self._together(clips):
            sampled = [self._sampled(*clips[row]) for row in self._filled_up(rows)]
            arguments = (torch.cat(parts) for parts in zip(*sampled, strict=True))
            found[rows] = self._graphs(*arguments).numpy()[: len(rows)]
        return found

    @cached_property
    def _graphs(self) -> CudaGraphs:
        # Or each would keep the other, and the GPU's memory with them.
        own = weakref.proxy(self)
        return CudaGraphs(lambda *poses: own.classify(*poses), self.device)

    def _together(self, clips: Sequence[Clip]) -> list[list[int]]:
        """Which clips go through the network together: on a GPU some of as many people; on a CPU, where that is no
        faster and takes memory, none."""
        if self.device.type == "cpu":
            return [[row] for row in range(len(clips))]
        rows_of: dict[int, list[int]] = {}
        for row, (poses, _, _) in enumerate(clips):
            rows_of.setdefault(len(poses.track_ids), []).append(row)
        most = _ON_A_GPU[-1]
        return [rows[first : first + most] for rows in rows_of.values() for first in range(0, len(rows), most)]

    def _filled_up(self, rows: list[int]) -> list[int]:
        """As many as there is a graph for, the last one repeatedly."""
        if self.device.type != "cuda":
            return rows
        size = next(size for size in _ON_A_GPU if size >= len(rows))
        return rows + rows[-1:] * (size - len(rows))

    def _sampled(self, poses: PoseSequence, start: float, end: float) -> tuple[Tensor, Tensor, Tensor]:
        """One clip's keypoints, scores and image size, for `classify`; not yet on its device."""
        frames = nearest_frames(poses.times, sample_times(start, end, self.info.clip_len))
        order = conversion(poses.layout, self.layout)
        keypoints = torch.from_numpy(poses.keypoints[:, frames][:, :, order])[None]
        scores = torch.from_numpy(poses.scores[:, frames][:, :, order])[None]
        return keypoints, scores, torch.tensor([poses.image_size], dtype=torch.float32)


class Classifier(ClipClassifier):
    """A loaded bundle. precision: what the network computes in, see `nets.freeze.choose_dtype`.

    Raises ModelError if the file is no bundle, UsageError if the device lacks the precision.
    """

    def __init__(self, path: Path, device: str, precision: Precision = "auto"):
        self.path = path
        self.device = torch.device(device)
        try:
            self._dtype = choose_dtype(precision, self.device)
        except ValueError as error:
            raise UsageError(str(error)) from error
        script, self.info = load_bundle(path, self.device)
        with no_jit_warnings():
            self._net = freeze(script, self.device, self._dtype)
        self._check_that_it_fits()

    def _check_that_it_fits(self) -> None:
        """Show the network an empty volume: it must take what the bundle says and know as many labels."""
        shape = (1, self.info.channels, self.info.clip_len, *self.info.volume.size)
        try:
            with torch.inference_mode():
                answer = self._net(torch.zeros(shape, dtype=self._dtype, device=self.device))
        except RuntimeError as error:
            raise ModelError(f"{self.path}: its network does not take the volume {shape} that it describes") from error
        if not answer.isfinite().all():
            raise ModelError(f"{self.path}: its network gives no numbers (NaN or infinity); train or export it again")
        if answer.shape != (1, len(self.info.labels)):
            raise ModelError(
                f"{self.path}: its network gives {tuple(answer.shape)}, but it has {len(self.info.labels)} labels"
            )

    @property
    def drawn_as(self) -> Drawing:
        """How its volumes are drawn."""
        return self.info.volume, self.info.limbs, self._dtype

    @torch.inference_mode()
    def classify(self, keypoints: Tensor, scores: Tensor, image_size: Tensor, mirror: bool = False) -> Tensor:
        return self.classify_volume(self.volume(keypoints, scores, image_size), mirror)

    @torch.inference_mode()
    def volume(self, keypoints: Tensor, scores: Tensor, image_size: Tensor) -> Tensor:
        """What the network is shown of poses, which are as in `classify`: (N, K, C·clip_len, H, W)."""
        rule, limbs, dtype = self.drawn_as
        return heatmap_volume(keypoints, scores, image_size, rule, limbs or None, dtype=dtype)

    @torch.inference_mode()
    def classify_volume(self, volume: Tensor, mirror: bool = False) -> Tensor:
        """As `classify`, of a `volume`."""
        n = len(volume)
        clips = volume.unflatten(2, (-1, self.info.clip_len)).transpose(1, 2).flatten(0, 1)  # (N·C, K, T, H, W)
        views = [self._softmax(clips)]
        if mirror:
            views.append(self._softmax(clips[:, self._mirrored_channels()].flip(-1)))
        return torch.stack(views).unflatten(1, (n, -1)).mean(dim=(0, 2))

    def _mirrored_channels(self) -> list[int]:
        """The order of a mirror image's heatmaps. The bundle's limbs need not be those of the layout."""
        if not self.info.limbs:
            return list(self.layout.mirrored_order)
        try:
            return list(mirrored_limbs(self.layout, self.info.limbs))
        except ValueError as error:
            raise UsageError(f"{self.path} cannot be shown mirror images: {error}") from error

    def _softmax(self, volume: Tensor) -> Tensor:
        return (self._net(volume).float() / self.info.temperature).softmax(dim=1)


class Ensemble(ClipClassifier):
    """Several classifiers that are averaged, such as one of joints and one of limbs (J+L).

    The mean is that of the logarithms of their probabilities. Where classifiers disagree, the mean of probabilities
    is less sure than it is right; this one had the lower log loss and calibration error on all validation data.
    weights: of each, any positive numbers; None: all the same. The first one's window, sampling and
    rejection threshold hold. Raises UsageError if they do not know the same labels, layout and clip length.
    """

    def __init__(self, classifiers: Sequence[Classifier], weights: Sequence[float] | None = None):
        first = classifiers[0]
        weights = [1.0] * len(classifiers) if weights is None else list(weights)
        if len(weights) != len(classifiers) or not all(0 < weight < float("inf") for weight in weights):
            raise UsageError(f"{len(classifiers)} classifiers need as many weights above 0, got {weights}")
        for other in classifiers[1:]:
            if other.device != first.device:
                raise UsageError(f"{other.path} and {first.path} cannot be averaged: they are on different devices")
            for what in ("layout", "clip_len", "subjects"):
                if getattr(other.info, what) != getattr(first.info, what):
                    raise UsageError(f"{other.path} and {first.path} cannot be averaged: their {what} differs")
            if set(other.info.labels) != set(first.info.labels):
                odd = sorted(set(other.info.labels) ^ set(first.info.labels))
                raise UsageError(
                    f"{other.path} and {first.path} cannot be averaged: only one of them knows {', '.join(odd[:3])}"
                )
        self.classifiers = list(classifiers)
        self.info = first.info
        self.device = first.device
        self._weights = [weight / sum(weights) for weight in weights]
        # Those of a row are shown the same volumes, which need be drawn only once.
        drawn_alike: dict[Drawing, list[int]] = {}
        for row, classifier in enumerate(classifiers):
            drawn_alike.setdefault(classifier.drawn_as, []).append(row)
        self._drawn_alike = list(drawn_alike.values())
        orders = [[c.info.labels.index(label) for label in first.info.labels] for c in classifiers]
        self._orders = torch.tensor(orders, device=self.device)

    @torch.inference_mode()
    def classify(self, keypoints: Tensor, scores: Tensor, image_size: Tensor, mirror: bool = False) -> Tensor:
        found = []
        for rows in self._drawn_alike:
            volume = self.classifiers[rows[0]].volume(keypoints, scores, image_size)
            for row in rows:
                probabilities = self.classifiers[row].classify_volume(volume, mirror)
                likely = probabilities[:, self._orders[row]].clamp(min=torch.finfo(torch.float32).tiny)
                found.append(self._weights[row] * likely.log())
        return torch.stack(found).sum(dim=0).softmax(dim=1)


def load_classifier(
    paths: Sequence[Path], device: str, precision: Precision = "auto", weights: Sequence[float] | None = None
) -> Classifier | Ensemble:
    """One bundle, or several to be averaged. Raises ModelError and UsageError."""
    classifiers = [Classifier(path, device, precision) for path in paths]
    return classifiers[0] if len(classifiers) == 1 and weights is None else Ensemble(classifiers, weights)
