"""Fitting a picture into the input of a network, grey around it, and what is found there back into the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# What is around the picture, as YOLO was trained.
GREY = 114


@dataclass(frozen=True)
class Letterbox:
    """Ultralytics' rule, so that its weights see what they were trained on.

    picture: (H, W) of the picture. fitted: (H, W) that it is scaled to. corner: (top, left) of it in the input, below
    0 where the input begins further on. size: (H, W) of the input, which may show but a part of the picture.
    """

    picture: tuple[int, int]
    fitted: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]

    def put(self, image: np.ndarray) -> np.ndarray:
        """The input (H, W, 3) uint8 for a picture (H, W, 3) uint8, which may be scaled to `fitted` already."""
        import cv2

        height, width = self.fitted
        top, left = self.corner
        if image.shape[:2] != self.fitted:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        image = image[max(-top, 0) : max(self.size[0] - top, 0), max(-left, 0) : max(self.size[1] - left, 0)]
        if image.shape[:2] == self.size:
            return np.ascontiguousarray(image)
        top, left = min(max(top, 0), self.size[0]), min(max(left, 0), self.size[1])
        around = np.full((*self.size, 3), GREY, np.uint8)
        around[top : top + image.shape[0], left : left + image.shape[1]] = image
        return around

    def bring(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), (x, y) in pixels of the picture, in pixels of the input."""
        return points * self._scale + np.array(self.corner[::-1], np.float32)

    def take_back(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), (x, y) in pixels of the input, in pixels of the picture and inside it."""
        corner = np.array(self.corner[::-1], np.float32)
        return ((points - corner) / self._scale).clip(0, np.array(self.picture[::-1], np.float32))

    def window(self, place: np.ndarray) -> Letterbox:
        """What shows but a part of the input, `place` (4,) int xyxy, as it stands there."""
        left, top, right, bottom = place.tolist()
        return replace(self, corner=(self.corner[0] - top, self.corner[1] - left), size=(bottom - top, right - left))

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.fitted[1] / self.picture[1], self.fitted[0] / self.picture[0]], np.float32)


def fit(picture: tuple[int, int], side: int, stride: int, square: bool) -> Letterbox:
    """A picture (H, W) in a square of `side` pixels; unless the whole `square` is wanted, of the grey only so much is
    left that both sides are multiples of `stride`: 1080×1920 in 640 -> 384×640."""
    scale = min(side / picture[0], side / picture[1])
    height, width = (max(round(length * scale), 1) for length in picture)
    rest = [side - length if square else (side - length) % stride for length in (height, width)]
    top, left = (round(length / 2 - 0.1) for length in rest)
    return Letterbox(picture, (height, width), (top, left), (height + rest[0], width + rest[1]))
