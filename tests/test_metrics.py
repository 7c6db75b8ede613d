"""Measures, each worked out by hand; what must always hold, on random arrays."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from poseact.training.metrics import (
    auroc,
    calibration_error_by_chance,
    class_accuracies,
    confusion_matrix,
    confusion_pairs,
    expected_calibration_error,
    fit_temperature,
    mean_class_accuracy,
    threshold_at,
    top_k_accuracy,
)

SHARES = st.floats(0, 1, width=32)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_top_k_by_hand():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    labels = [0, 1, 2, 2]
    assert [top_k_accuracy(probabilities, labels, k) for k in (1, 2, 3, 5)] == [0.5, 0.75, 1, 1]
    assert top_k_accuracy(torch.from_numpy(probabilities), torch.tensor(labels), 2) == 0.75


def test_of_equal_probabilities_the_first_is_the_answer_as_argmax_has_it():
    equal = np.full((2, 4), 0.25)
    assert top_k_accuracy(equal, [0, 1], 1) == 0.5
    assert top_k_accuracy(equal, [1, 2], 2) == 0.5


@given(arrays(np.float32, (6, 5), elements=SHARES), arrays(np.int64, 6, elements=st.integers(0, 4)))
def test_top_1_is_argmax_and_more_guesses_are_never_worse(probabilities, labels):
    shares = [top_k_accuracy(probabilities, labels, k) for k in range(1, 6)]
    assert shares[0] == (probabilities.argmax(axis=1) == labels).mean()
    assert shares == sorted(shares)
    assert shares[-1] == 1


# Three of class 0, one taken for 1; two of class 1, both right; none of class 2; four of class 3, three taken for 0.
PREDICTED = [0, 0, 1, 1, 1, 0, 0, 0, 3]
LABELS = [0, 0, 0, 1, 1, 3, 3, 3, 3]
MATRIX = np.array([[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [3, 0, 0, 1]])


def test_confusion_matrix_by_hand():
    assert confusion_matrix(PREDICTED, LABELS, 4).tolist() == MATRIX.tolist()
    assert confusion_matrix(torch.tensor(PREDICTED), torch.tensor(LABELS), 4).tolist() == MATRIX.tolist()


def test_each_class_that_occurs_counts_once():
    assert class_accuracies(MATRIX) == {0: pytest.approx(2 / 3), 1: 1.0, 3: 0.25}
    assert mean_class_accuracy(MATRIX) == pytest.approx((2 / 3 + 1 + 0.25) / 3)


def test_confusion_pairs_count_both_ways():
    matrix = np.array([[5, 2, 0, 1], [3, 5, 1, 0], [0, 0, 5, 0], [0, 0, 0, 5]])
    assert confusion_pairs(matrix) == [(0, 1, 5), (0, 3, 1), (1, 2, 1)]
    assert confusion_pairs(matrix, count=1) == [(0, 1, 5)]
    assert confusion_pairs(np.diag([3, 4])) == []


@given(arrays(np.int64, 20, elements=st.integers(0, 3)), arrays(np.int64, 20, elements=st.integers(0, 3)))
def test_the_matrix_counts_all_and_its_pairs_all_mistakes(predicted, labels):
    matrix = confusion_matrix(predicted, labels, 4)
    assert matrix.sum() == 20
    assert sum(score for *_, score in confusion_pairs(matrix, count=6)) == (predicted != labels).sum()


def test_calibration_error_by_hand():
    # Bin ]0.8, 0.9333]: two sequences at 0.9, one right: off by 0.4; bin ]0.5333, 0.6]: one at 0.6, right: off by 0.4.
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]]
    assert expected_calibration_error(probabilities, [0, 1, 1, 0]) == pytest.approx((2 * 0.4 + 0.4 + 0) / 4)
    # One bin: mean confidence 0.85, accuracy 0.75.
    assert expected_calibration_error(probabilities, [0, 1, 1, 0], bins=1) == pytest.approx(0.1)


def test_the_calibration_error_by_chance_is_known_of_a_coin():
    """Of one sequence it is 2p(1 - p); of many it falls as the square root of their number."""
    for p in (0.5, 0.8):
        assert calibration_error_by_chance([[p, 1 - p]], draws=20000) == pytest.approx(2 * p * (1 - p), abs=0.01)
    few, many = (calibration_error_by_chance([[0.5, 0.5]] * count) for count in (100, 10000))
    assert few == pytest.approx(math.sqrt(2 / math.pi) * 0.05, rel=0.1)
    assert many == pytest.approx(few / 10, rel=0.1)
    assert calibration_error_by_chance(np.eye(3)) == 0


def test_what_is_sure_and_right_is_calibrated():
    assert expected_calibration_error(np.eye(3), [0, 1, 2]) == 0
    assert expected_calibration_error(np.eye(3), [1, 2, 0]) == 1


@given(arrays(np.float64, (7, 3), elements=SHARES), arrays(np.int64, 7, elements=st.integers(0, 2)))
def test_the_calibration_error_is_at_least_the_gap_of_the_means(logits, labels):
    probabilities = softmax(4 * logits)
    gap = abs(probabilities.max(axis=1).mean() - (probabilities.argmax(axis=1) == labels).mean())
    assert gap - 1e-9 <= expected_calibration_error(probabilities, labels) <= 1


def test_auroc_by_hand():
    assert auroc([0.9, 0.8], [0.1, 0.2, 0.3]) == 1
    assert auroc([0.1], [0.1, 0.1]) == 0.5
    # Of six pairs, 0.5 beats 0.2 and 0.4, 0.4 beats 0.2 and equals 0.4.
    assert auroc([0.5, 0.4], [0.2, 0.4, 0.6]) == pytest.approx((2 + 1.5) / 6)


@given(arrays(np.float32, 5, elements=SHARES), arrays(np.float32, 8, elements=SHARES))
def test_auroc_turned_round_is_the_rest_and_only_ranks_count(known, unknown):
    area = auroc(known, unknown)
    assert area == pytest.approx(1 - auroc(unknown, known))
    ranks = np.unique(np.concatenate([known, unknown]), return_inverse=True)[1]
    assert area == pytest.approx(auroc(ranks[:5], ranks[5:]))


def test_temperature_by_hand():
    # Three of four are class 0 at logit 2a to 0: the best softmax says 3/4, so 2a / T = log 3.
    logits = np.array([[4.0, 0.0]] * 4)
    assert fit_temperature(logits, [0, 0, 0, 1]) == pytest.approx(4 / math.log(3), rel=1e-5)


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40_000, 5)) * 2
    labels = (softmax(logits).cumsum(axis=1) < rng.random((40_000, 1))).sum(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.09)
    log_probabilities = np.log(softmax(3 * logits))
    assert fit_temperature(log_probabilities, labels) == pytest.approx(fit_temperature(3 * logits, labels), rel=1e-4)


def test_temperature_of_extremes_is_finite():
    assert fit_temperature(np.eye(2), [0, 1]) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(np.eye(2), [1, 0]) == pytest.approx(20, rel=1e-3)
    with pytest.raises(ValueError, match="finite"):
        fit_temperature([[0.0, -math.inf]], [0])


def test_threshold_by_hand():
    confidences = [0.9, 0.2, 0.5, 0.7]
    assert [threshold_at(confidences, kept) for kept in (1, 0.75, 0.6, 0.5, 0.01)] == [0.2, 0.5, 0.5, 0.7, 0.9]
    assert threshold_at(np.arange(100), 0.07) == 93


@given(arrays(np.float32, 9, elements=SHARES), st.floats(0.01, 1))
def test_the_threshold_keeps_enough_and_a_higher_one_would_not(confidences, kept):
    threshold = threshold_at(confidences, kept)
    assert (confidences >= threshold).mean() >= kept - 1e-9
    assert (confidences > threshold).mean() < kept


@pytest.mark.parametrize("kept", [0, -1, 1.5])
def test_a_share_that_is_none(kept):
    with pytest.raises(ValueError, match="share to keep"):
        threshold_at([0.5], kept)


@pytest.mark.parametrize(
    "measure",
    [
        lambda: top_k_accuracy(np.zeros((0, 3)), np.zeros(0, int), 1),
        lambda: expected_calibration_error(np.zeros((0, 3)), np.zeros(0, int)),
        lambda: calibration_error_by_chance(np.zeros((0, 3))),
        lambda: mean_class_accuracy(np.zeros((2, 2), int)),
        lambda: auroc([], [1.0]),
        lambda: auroc([1.0], []),
        lambda: fit_temperature(np.zeros((0, 3)), np.zeros(0, int)),
        lambda: threshold_at([], 0.9),
    ],
)
def test_nothing_has_no_measure(measure):
    with pytest.raises(ValueError, match="empty"):
        measure()
