"""Augmentation: make annotated poses look like those that an estimator finds in anybody's video.

Each function takes a batch of keypoints (N, M, T, K, 2) in body units (see `normalise`) or scores
(N, M, T, K), and a random generator on the same device. All draw one set of random numbers for a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..skeleton import PARTS, Layout
from .dataset import PoseBatch, PoseDataset

# Of those sequences whose frames repeat, the most steps that are added from one frame to the next that is there.
_SLOWEST = 2.5
# Keypoints that stay of a person where parts are hidden, on average of the frames with that person: fewer tell nothing.
_FEWEST_SEEN = 5


@dataclass(frozen=True)
class Augmentation:
    """How strongly each thing varies; 0 turns it off. Lengths are in body units, the size of the pose.

    shortest_part: least share of a sequence that is cut out. least_frames: but never fewer than these.
    whole: probability of the whole sequence. hold: probability that frames repeat as at a lower frame rate, which
    is anything down to 2/7 of the sequence's.
    flip: probability of a mirrored body. sides: probability that left is taken for right throughout, as some
    annotators (all of Penn Action's) and now and then estimators do. rotation: degrees (sigma). stretch: log of
    the aspect (range). drift, zoom: probability that the camera pans or zooms over the clip. jitter: largest sigma
    of noise in each frame. bias: sigma of a constant offset of each keypoint. wander: largest sigma of an offset that
    changes slowly. confused: largest share of frames in which a left arm or leg is taken for the right one.
    outlier: share of far-off keypoints.
    drop_points, drop_frames: largest share of single keypoints or whole frames that are lost.
    drop_limb: probability that an arm or leg is lost for a while.
    drop_part: probability that a picture's edge or the body itself hides a part throughout: the feet, the legs, all
    below the waist, or one side. borrowed: probability that what another sequence lacks is absent in this one too: in
    annotations it goes with the action (in whichever of Penn Action's training clips nothing is to be seen below the
    waist, nearly all play the guitar).
    least_score: scores fall to this. crop: least share of the volume's area that is shown.
    still, spliced: probability that a sequence becomes no action at all, by holding one frame, or by the legs of
    another sequence under its body; its label is then -1.
    """

    shortest_part: float = 0.2
    least_frames: int = 40
    whole: float = 0.4
    hold: float = 0.6
    flip: float = 0.5
    sides: float = 0.5
    rotation: float = 5.0
    stretch: float = 0.15
    drift: float = 0.2
    zoom: float = 0.15
    jitter: float = 0.02
    bias: float = 0.018
    wander: float = 0.02
    confused: float = 0.15
    outlier: float = 0.01
    drop_points: float = 0.12
    drop_frames: float = 0.2
    drop_limb: float = 0.15
    drop_part: float = 0.4
    borrowed: float = 0.5
    least_score: float = 0.45
    crop: float = 0.56
    still: float = 0.0
    spliced: float = 0.0

    def scaled(self, strength: float) -> Augmentation:
        """Everything that imitates estimated poses, stronger or weaker; the paper's own flip and crop stay."""
        amounts = ["hold", "rotation", "stretch", "drift", "zoom", "jitter", "bias", "wander"]
        amounts += ["confused", "outlier", "drop_points", "drop_frames", "drop_limb", "drop_part", "borrowed"]
        return replace(
            self,
            **{name: strength * getattr(self, name) for name in amounts},
            sides=min(0.5, strength * self.sides),
            shortest_part=max(0.1, 1 - strength * (1 - self.shortest_part)),
            whole=max(0.0, 1 - strength * (1 - self.whole)),
            least_score=max(0.2, 1 - strength * (1 - self.least_score)),
        )


class Augmenter:
    """Draws augmented batches from a data set. One generator makes them repeatable.

    least_score: a keypoint with a lower score is not drawn, so it is absent.
    """

    def __init__(self, options: Augmentation, layout: Layout, generator: torch.Generator, least_score: float):
        self.options = options
        self.layout = layout
        self.generator = generator
        self.device = generator.device
        self.least_score = least_score
        self._parts = torch.tensor(_part_masks(layout), device=self.device)

    def batch(self, dataset: PoseDataset, sequences: Tensor, clip_len: int) -> PoseBatch:
        """One augmented clip of `clip_len` frames from each of these sequences (N,)."""
        frames = self.sample_frames(dataset.lengths[sequences], clip_len)
        still = self._chance(self.options.still, len(sequences))
        frames = torch.where(still[:, None], frames[:, clip_len // 2, None], frames)
        batch = dataset.batch(sequences, frames)
        keypoints, center, size = normalise(batch.keypoints, batch.scores)
        keypoints, scores, spliced = self.splice(keypoints, batch.scores, batch.labels)
        scores = self.lose_keypoints(self.hide(scores))
        keypoints, scores = self.confuse(keypoints, scores)
        keypoints = self.disturb(self.film(keypoints))
        keypoints, scores = self.mirror(keypoints, scores)
        keypoints = keypoints * size + center
        labels = torch.where(still | spliced, -1, batch.labels)
        return PoseBatch(keypoints, scores, batch.image_size, labels)

    def sample_frames(self, lengths: Tensor, clip_len: int) -> Tensor:
        """Uniform sampling (section 3.2) from a random part of each sequence: (N,) to (N, clip_len)."""
        o, n = self.options, len(lengths)
        length = lengths.float()[:, None]
        least = torch.clamp(o.least_frames / length, max=1.0).clamp(min=o.shortest_part)
        share = torch.exp(torch.log(least) * self._uniform(n, 1))
        share = torch.where(self._chance(o.whole, n, 1), 1.0, share)
        start = (1 - share) * length * self._uniform(n, 1)
        steps = torch.arange(clip_len, device=self.device) + self._uniform(n, clip_len)
        frames = start + steps * (share * length / clip_len)
        period, phase = 1 + _SLOWEST * self._uniform(n, 1), self._uniform(n, 1)
        held = (torch.round(frames / period - phase) + phase) * period
        frames = torch.where(self._chance(o.hold, n, 1), held.round(), frames)
        return frames.long().clamp(min=0).minimum(lengths[:, None] - 1)

    def splice(self, keypoints: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Some bodies on the legs of the sequence before them: (keypoints, scores, (N,) bool which).

        Where the hips of either are absent, nothing tells where the legs belong, and they are lost.
        """
        legs = [i for i, name in enumerate(self.layout.keypoints) if name.endswith(("hip", "knee", "ankle"))]
        hips = [i for i, name in enumerate(self.layout.keypoints) if name.endswith("hip")]
        spliced = self._chance(self.options.spliced, len(labels)) & (labels != labels.roll(1))
        pelvis = keypoints[:, :, :, hips].mean(dim=3, keepdim=True)
        others = (keypoints - pelvis).roll(1, 0)[:, :, :, legs] + pelvis
        fits = (scores[..., hips] > 0).all(dim=3, keepdim=True)
        other_scores = torch.where(fits & fits.roll(1, 0), scores.roll(1, 0)[..., legs], 0)
        chosen = spliced[:, None, None, None]
        keypoints, scores = keypoints.clone(), scores.clone()
        keypoints[:, :, :, legs] = torch.where(chosen[..., None], others, keypoints[:, :, :, legs])
        scores[:, :, :, legs] = torch.where(chosen, other_scores, scores[:, :, :, legs])
        return keypoints, scores, spliced

    def film(self, keypoints: Tensor) -> Tensor:
        """Another camera: turned, stretched, panning and zooming."""
        o, n, frames = self.options, len(keypoints), keypoints.shape[2]
        angle = torch.deg2rad(o.rotation * self._normal(n))
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        keypoints = torch.einsum("nmtkc,ndc->nmtkd", keypoints, turn)
        stretch = torch.exp(o.stretch * self._signed(n))
        keypoints = keypoints * torch.stack([stretch, 1 / stretch], -1)[:, None, None, None]
        way = torch.linspace(-0.5, 0.5, frames, device=self.device)[None, :, None]
        reach = torch.tensor([1.0, 0.25], device=self.device)
        pan = way * (self._signed(n, 2) * reach * self._chance(o.drift, n, 1))[:, None]
        zoom = torch.exp(way[..., 0] * 0.5 * self._signed(n, 1) * self._chance(o.zoom, n, 1))
        return keypoints * zoom[:, None, :, None, None] + pan[:, None, :, None]

    def disturb(self, keypoints: Tensor) -> Tensor:
        """An estimator's errors: noise in each frame, a constant offset of each keypoint, outliers."""
        o, (n, m, t, k, _) = self.options, keypoints.shape
        sigma = o.jitter * self._uniform(n, 1, 1, 1, 1)
        keypoints = keypoints + sigma * self._normal(n, m, t, k, 2)
        # Annotators mark the middle of the head, an estimator the nose.
        spread = torch.ones(k, 1, device=self.device)
        spread[0] = 2.0
        keypoints = keypoints + o.bias * spread * self._normal(n, m, 1, k, 2)
        keypoints = keypoints + o.wander * self._uniform(n, 1, 1, 1, 1) * self._slow_noise(n, m, t, k)
        far = self._chance(o.outlier, n, m, t, k, 1)
        return keypoints + 0.15 * far * self._normal(n, m, t, k, 2)

    def _slow_noise(self, n: int, m: int, t: int, k: int) -> Tensor:
        """(n, m, t, k, 2) of about unit variance, from five values along the time with straight lines between."""
        values = self._normal(n, m * k * 2, 5)
        between = nn.functional.interpolate(values, t, mode="linear", align_corners=True)
        return between.unflatten(1, (m, k, 2)).permute(0, 1, 4, 2, 3)

    def confuse(self, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Arms or legs whose sides an estimator exchanges for some frames."""
        n, m, t, _, _ = keypoints.shape
        order = torch.tensor(self.layout.mirrored_order, device=self.device)
        for names in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
            part = torch.tensor([name.endswith(names) for name in self.layout.keypoints], device=self.device)
            # Each mistake lasts three frames.
            begun = self._chance(self.options.confused / 3 * self._uniform(n, 1, 1) ** 2, n, m, t)
            confused = begun | begun.roll(1, 2) | begun.roll(2, 2)
            exchanged = confused[..., None] & part
            keypoints = torch.where(exchanged[..., None], keypoints[:, :, :, order], keypoints)
            scores = torch.where(exchanged, scores[..., order], scores)
        return keypoints, scores

    def mirror(self, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The mirror image, whose left is the right of the body; and the names of the sides exchanged."""
        order = list(self.layout.mirrored_order)
        flip = self._chance(self.options.flip, len(keypoints), 1, 1, 1)
        mistaken = self._chance(self.options.sides, len(keypoints), 1, 1, 1)
        keypoints = torch.where(flip[..., None], keypoints * keypoints.new_tensor([-1.0, 1.0]), keypoints)
        exchange = flip ^ mistaken
        keypoints = torch.where(exchange[..., None], keypoints[:, :, :, order], keypoints)
        return keypoints, torch.where(exchange, scores[..., order], scores)

    def hide(self, scores: Tensor) -> Tensor:
        """Parts of bodies that no picture shows, whatever the action."""
        o, n = self.options, len(scores)
        seen = scores >= self.least_score
        others = seen.roll(1, 0)
        others |= ~others.any(dim=3, keepdim=True)  # a frame without anybody lacks nothing of a body
        hidden = ~others & self._chance(o.borrowed, n, 1, 1, 1)
        which = torch.floor(len(self._parts) * self._uniform(n)).long()
        hidden |= self._parts[which][:, None, None] & self._chance(o.drop_part, n, 1, 1, 1)
        present = seen.any(dim=3, keepdim=True).sum(dim=2, keepdim=True)
        remaining = (seen & ~hidden).sum(dim=(2, 3), keepdim=True)
        return torch.where(hidden & (remaining >= _FEWEST_SEEN * present), 0.0, scores)

    def lose_keypoints(self, scores: Tensor) -> Tensor:
        """Keypoints, frames and limbs that were not found; the rest get an estimator's scores."""
        o, (n, m, t, k) = self.options, scores.shape
        lost = self._chance(o.drop_points * self._uniform(n, 1, 1, 1) ** 2, n, m, t, k)
        lost |= self._chance(o.drop_frames * self._uniform(n, 1, 1, 1) ** 2, n, m, t, 1)
        limb = torch.tensor(_limb_masks(self.layout), device=self.device)
        which = torch.floor(len(limb) * self._uniform(n)).long()
        start, length = self._uniform(n, 1), self._uniform(n, 1)
        time = torch.linspace(0, 1, t, device=self.device)
        while_lost = (time >= start * (1 - length)) & (time <= start * (1 - length) + length)
        while_lost &= self._chance(o.drop_limb, n, 1)
        lost |= while_lost[:, None, :, None] & limb[which][:, None, None]
        floor = o.least_score + (1 - o.least_score) * self._uniform(n, 1, 1, 1)
        seen = floor + (1 - floor) * self._uniform(n, m, 1, k) ** 0.5
        return torch.where(lost, 0.0, scores * seen)

    def crop(self, boxes: Tensor) -> Tensor:
        """A random part of each box (N, 4): the paper's random resized crop."""
        o, n = self.options, len(boxes)
        area = o.crop + (1 - o.crop) * self._uniform(n, 1)
        aspect = torch.exp((0.2 if o.crop < 1 else 0.0) * self._signed(n, 1))
        share = torch.cat([torch.sqrt(area * aspect), torch.sqrt(area / aspect)], dim=1).clamp(max=1.0)
        size = boxes[:, 2:] - boxes[:, :2]
        low = boxes[:, :2] + (1 - share) * self._uniform(n, 2) * size
        return torch.cat([low, low + share * size], dim=1)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device)

    def _signed(self, *shape: int) -> Tensor:
        return 2 * self._uniform(*shape) - 1

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def _chance(self, probability: float | Tensor, *shape: int) -> Tensor:
        return self._uniform(*shape) < probability


def normalise(keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keypoints in body units about their centre: (keypoints, center, size), so that
    keypoints = normalised * size + center. The unit is the mean over frames of a pose's longer side."""
    there = (scores > 0)[..., None]
    low = torch.where(there, keypoints, torch.inf).amin(dim=3)  # (N, M, T, 2)
    high = torch.where(there, keypoints, -torch.inf).amax(dim=3)
    side = (high - low).amax(dim=-1)
    found = torch.isfinite(side)
    size = torch.where(found, side, 0).sum(dim=(1, 2)) / found.sum(dim=(1, 2)).clamp(min=1)
    size = size.clamp(min=1.0)[:, None, None, None, None]
    center = (there * keypoints).sum(dim=(1, 2, 3)) / there.sum(dim=(1, 2, 3)).clamp(min=1)
    center = center[:, None, None, None]
    return (keypoints - center) / size, center, size


def _part_masks(layout: Layout) -> list[list[bool]]:
    """For each part that may not be in the picture, which keypoints it has."""
    return [[i in part for i in range(len(layout))] for part in map(layout.part, PARTS)]


def _limb_masks(layout: Layout) -> list[list[bool]]:
    """For each arm and leg, which keypoints go when it is hidden."""
    parts = (("elbow", "wrist"), ("knee", "ankle"))
    hidden = [{f"{side}_{name}" for name in part} for side in ("left", "right") for part in parts]
    return [[name in names for name in layout.keypoints] for names in hidden]
