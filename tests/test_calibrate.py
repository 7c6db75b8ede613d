"""Calibration: the temperature of synthetic logits, and where the threshold of rejection lies."""

import numpy as np
import pytest

from poseact.training.calibrate import KEPT_WITHOUT_UNKNOWN, LEAST_KEPT, calibrate, calibrated


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def known_clips(n=4000, seed=0):
    """Logits that tell the truth, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 5))
    labels = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_synthetic_logits_is_found(temperature):
    logits, labels = known_clips()
    found, _ = calibrate(softmax(temperature * logits), labels, None)
    assert found == pytest.approx(temperature, rel=0.08)


def test_calibrated_probabilities_are_those_of_divided_logits():
    logits, _ = known_clips(50)
    np.testing.assert_allclose(calibrated(softmax(logits), 2.5), softmax(logits / 2.5), rtol=1e-6)
    np.testing.assert_allclose(calibrated(softmax(logits), 1.0), softmax(logits), rtol=1e-6)


def test_probabilities_of_nothing_stay_finite():
    found = calibrated(np.array([[1.0, 0.0, 0.0]]), 0.05)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)


def threshold_of(known, labels, unknown=None):
    """The threshold, and the confidences that it is held against, both at the temperature that was found."""
    temperature, threshold = calibrate(known, labels, unknown)
    others = np.zeros(0) if unknown is None else calibrated(unknown, temperature).max(axis=1)
    return threshold, calibrated(known, temperature).max(axis=1), others


@pytest.mark.parametrize("unknown", [None, np.zeros((0, 5))])
def test_without_unknown_clips_most_keep_their_label(unknown):
    logits, labels = known_clips(1000)
    threshold, known, _ = threshold_of(softmax(logits), labels, unknown)
    assert (known >= threshold).sum() == 1000 * KEPT_WITHOUT_UNKNOWN


def test_the_threshold_parts_known_from_unknown():
    logits, labels = known_clips(500)
    logits[np.arange(500), labels] += 4  # all but a few are sure
    unknown = np.random.default_rng(1).normal(0, 0.5, (300, 5))  # and these are not
    threshold, known, others = threshold_of(softmax(logits), labels, softmax(unknown))
    assert (others < threshold).mean() > 0.9
    assert (known >= threshold).mean() > 0.95
    # No other threshold parts them better.
    gain = (known >= threshold).mean() + (others < threshold).mean()
    assert all((known >= t).mean() + (others < t).mean() <= gain + 1e-9 for t in np.linspace(0, 0.9, 200))


def test_however_many_unknown_clips_most_known_ones_keep_their_label():
    logits, labels = known_clips(1000)
    sure = np.full((1000, 5), -9.0)
    sure[:, 0] = 9  # strangers that look like a class are not worth that class
    threshold, known, others = threshold_of(softmax(logits), labels, softmax(sure))
    assert (known >= threshold).mean() >= LEAST_KEPT
    assert (others < threshold).sum() == 0
    half = softmax(np.random.default_rng(2).normal(0, 2, (1000, 5)))  # as sure as the known
    threshold, known, _ = threshold_of(softmax(logits), labels, half)
    assert (known >= threshold).mean() >= LEAST_KEPT


def test_the_scores_of_few_who_are_all_right():
    """Whatever the temperature, no threshold may lie above all that is known."""
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    temperature, threshold = calibrate(probabilities, np.array([0, 1, 0]), None)
    assert threshold <= calibrated(probabilities, temperature).max(axis=1).min()
