"""What a score is worth: the temperature that makes probabilities true, and the score below which none is a label."""

from __future__ import annotations

import numpy as np

from .metrics import fit_temperature, threshold_at

# Of the clips of known actions at least this share must keep their label.
LEAST_KEPT = 0.9
# Without clips of unknown actions nothing tells where to refuse; this share keeps its label.
KEPT_WITHOUT_UNKNOWN = 0.95
_TINY = 1e-12


def calibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What probabilities (N, n_labels) would have been, had the logits been divided by `temperature`."""
    powers = np.log(np.clip(probabilities, _TINY, 1)) / temperature
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def calibrate(probabilities: np.ndarray, truth: np.ndarray, unknown: np.ndarray | None) -> tuple[float, float]:
    """The temperature and the rejection threshold.

    probabilities: (N, n_labels) at temperature 1 of validation clips whose labels are truth (N,); unknown:
    (M, n_labels), of clips of other actions, or None. The threshold is the one that parts both best (the shares
    kept and refused add up to the most), yet keeps LEAST_KEPT of the known.
    """
    # As if one more clip had been wrong (Laplace's rule): a few clips that are all right prove no certainty.
    smoothing = 1 / (len(truth) + 2)
    temperature = fit_temperature(np.log(np.clip(probabilities, _TINY, 1)), truth, smoothing)
    known = calibrated(probabilities, temperature).max(axis=1)
    if unknown is None or not len(unknown):
        return temperature, threshold_at(known, KEPT_WITHOUT_UNKNOWN)
    others = calibrated(unknown, temperature).max(axis=1)
    highest = threshold_at(known, LEAST_KEPT)
    candidates = [t for t in np.unique(np.concatenate([known, others])) if t <= highest]
    gains = [(known >= t).mean() + (others < t).mean() for t in candidates]
    return temperature, float(candidates[int(np.argmax(gains))])
