"""Measures of a classifier, as plain functions of arrays.

probabilities: (N, n_labels) float; labels, predicted: (N,) int, class indices; all numpy arrays, or tensors on the
CPU. Nothing may be empty: an average over no sequence raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

# Temperatures beyond these say that a model is always right, or knows nothing; neither is worth an infinity.
_LEAST_TEMPERATURE, _GREATEST_TEMPERATURE = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2


def top_k_accuracy(probabilities: ArrayLike, labels: ArrayLike, k: int) -> float:
    """The share of rows whose label is among the k most probable; of equals, the first counts as more probable."""
    p, wanted = _filled(probabilities), np.asarray(labels)[:, None]
    own = np.take_along_axis(p, wanted, axis=1)
    earlier = np.arange(p.shape[1]) < wanted
    ahead = (p > own) | ((p == own) & earlier)
    return float((ahead.sum(axis=1) < k).mean())


def class_accuracies(matrix: np.ndarray) -> dict[int, float]:
    """Of a confusion matrix, the share that is right of each class that occurs."""
    counts = matrix.sum(axis=1)
    return {int(c): float(matrix[c, c] / counts[c]) for c in np.flatnonzero(counts)}


def mean_class_accuracy(matrix: np.ndarray) -> float:
    """Of a confusion matrix, the mean of the classes' accuracies, each class that occurs counting once."""
    return float(np.mean(_filled(list(class_accuracies(matrix).values()))))


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """How far confidence is from accuracy: the mean over sequences of the difference between the two in each
    of `bins` bins of equal width, ]0, 1/bins], ]1/bins, 2/bins] and so on, of the greatest probability."""
    p = _filled(probabilities)
    confidence = p.max(axis=1)
    return _gap_in_bins(confidence, p.argmax(axis=1) == np.asarray(labels), bins)


def calibration_error_by_chance(probabilities: ArrayLike, bins: int = 15, draws: int = 1000) -> float:
    """The expected calibration error that is measured on average where there is none: of a model that is right exactly
    as often as it is sure to be, on as few sequences. Mean of `draws` drawn truths, always the same ones."""
    confidence, rng = _filled(probabilities).max(axis=1), np.random.default_rng(0)
    return float(
        np.mean([_gap_in_bins(confidence, rng.random(len(confidence)) < confidence, bins) for _ in range(draws)])
    )


def _gap_in_bins(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """confidence: (N,); right: (N,) bool."""
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    surplus = np.bincount(which, weights=confidence - right, minlength=bins)
    return float(np.abs(surplus).sum() / len(confidence))


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, n_labels: int) -> np.ndarray:
    """(n_labels, n_labels) int64: how many of class i (row) were taken for class j (column)."""
    flat = np.asarray(labels, dtype=np.int64) * n_labels + np.asarray(predicted, dtype=np.int64)
    return np.bincount(flat, minlength=n_labels**2).reshape(n_labels, n_labels)


def confusion_pairs(matrix: np.ndarray, count: int = 5) -> list[tuple[int, int, int]]:
    """The most confused pairs of classes (i, j, S), i < j, by the paper's confusion score S = n_ij + n_ji
    (appendix D.6); at most `count`, none with S = 0, the greatest first and of equals the first classes'."""
    scores = np.triu(matrix + matrix.T, k=1)
    order = np.argsort(-scores, axis=None, kind="stable")[:count]
    pairs = zip(*np.unravel_index(order, scores.shape), strict=True)
    return [(int(i), int(j), int(scores[i, j])) for i, j in pairs if scores[i, j]]


def auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """The probability that a random one of `known` (N,) scores above a random one of `unknown` (M,), equal
    scores counting half: the area under the ROC curve. 1: fully apart; 0.5: no difference."""
    high, low = _filled(known), np.sort(_filled(unknown))
    below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(below.mean() / (2 * len(low)))


def fit_temperature(logits: ArrayLike, labels: ArrayLike, smoothing: float = 0.0) -> float:
    """The temperature T in [0.05, 20] by which to divide `logits` (N, n_labels), or log-probabilities, so that their
    softmax gives the labels the least negative log-likelihood. smoothing: share of each label that is spread over
    all, without which T falls to its bound where all labels are right."""
    z, wanted = _filled(logits), np.asarray(labels)
    own = z[np.arange(len(z)), wanted]
    if not np.isfinite(z).all():
        raise ValueError("logits must be finite; keep probabilities of 0 from the logarithm")

    def loss(log_temperature: float) -> float:
        t = math.exp(log_temperature)
        highest = z.max(axis=1)
        log_sum = np.log(np.exp((z - highest[:, None]) / t).sum(axis=1))
        wanted_logit = (1 - smoothing) * own + smoothing * z.mean(axis=1)
        return float((log_sum + (highest - wanted_logit) / t).mean())

    return math.exp(_lowest(loss, math.log(_LEAST_TEMPERATURE), math.log(_GREATEST_TEMPERATURE)))


def threshold_at(confidences: ArrayLike, kept: float) -> float:
    """The greatest threshold that at least the share `kept` of these confidences (N,) of known clips reaches."""
    if not 0 < kept <= 1:
        raise ValueError(f"the share to keep must be in ]0, 1], got {kept}")
    falling = np.sort(_filled(confidences))[::-1]
    # The rounding of e.g. 0.07 * 100 must not ask for one more.
    return float(falling[math.ceil(kept * len(falling) - 1e-9) - 1])


def _lowest(loss: Callable[[float], float], low: float, high: float, precision: float = 1e-6) -> float:
    """Golden section search for the minimum of a function that falls and then rises between `low` and `high`."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > precision:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2


def _filled(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise ValueError("there is nothing to measure: the array is empty")
    return array
