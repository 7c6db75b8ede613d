"""Fitting a picture into the input of a network, grey around it, and what is found there back into the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What is around the picture, as YOLO was trained.
GREY = 114


@dataclass(frozen=True)
class Letterbox:
    """Ultralytics' rule, so that its weights see what they were trained on.

    picture: (H, W) of the picture. fitted: (H, W) that it is scaled to. corner: (top, left) of it in the input.
    size: (H, W) of the input.
    """

    picture: tuple[int, int]
    fitted: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]

    def put(self, image: np.ndarray) -> np.ndarray:
        """The input (H, W, 3) uint8 for a picture (H, W, 3) uint8."""
        import cv2

        height, width = self.fitted
        top, left = self.corner
        if self.fitted != self.picture:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.fitted == self.size:
            return image
        around = np.full((*self.size, 3), GREY, np.uint8)
        around[top : top + height, left : left + width] = image
        return around

    def take_back(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), (x, y) in pixels of the input, in pixels of the picture and inside it."""
        corner = np.array(self.corner[::-1], np.float32)
        scale = np.array([self.fitted[1] / self.picture[1], self.fitted[0] / self.picture[0]], np.float32)
        return ((points - corner) / scale).clip(0, np.array(self.picture[::-1], np.float32))


def fit(picture: tuple[int, int], side: int, stride: int, square: bool) -> Letterbox:
    """A picture (H, W) in a square of `side` pixels; unless the whole `square` is wanted, of the grey only so much is
    left that both sides are multiples of `stride`: 1080×1920 in 640 -> 384×640."""
    scale = min(side / picture[0], side / picture[1])
    height, width = (max(round(length * scale), 1) for length in picture)
    rest = [side - length if square else (side - length) % stride for length in (height, width)]
    top, left = (round(length / 2 - 0.1) for length in rest)
    return Letterbox(picture, (height, width), (top, left), (height + rest[0], width + rest[1]))
