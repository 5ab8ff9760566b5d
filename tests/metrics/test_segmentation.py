import numpy as np
import pytest

from palimpsest.errors import LabelError
from palimpsest.metrics.segmentation import confusion_matrix, intersection_over_union, mean_iou


def labels(*values):
    return np.array(values, dtype=np.uint8)


def test_four_pixels_are_counted_by_truth_and_prediction():
    truth = np.array([[0, 0], [1, 2]], dtype=np.uint8)
    prediction = np.array([[0, 1], [1, 1]], dtype=np.uint8)
    matrix = confusion_matrix(truth, prediction, 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert matrix.dtype == np.int64


def test_iou_of_four_pixels_by_hand():
    matrix = confusion_matrix(labels(0, 0, 1, 2), labels(0, 1, 1, 1), 3)
    # class 0: 1 hit of a union of 2; class 1: 1 of 3; class 2: 0 of 1
    assert intersection_over_union(matrix) == pytest.approx([1 / 2, 1 / 3, 0])
    assert mean_iou(matrix) == pytest.approx(100 * (1 / 2 + 1 / 3) / 3)


def test_ignored_pixels_do_not_count_even_if_the_prediction_is_255():
    assert confusion_matrix(labels(255, 255, 1), labels(0, 255, 1), 2).tolist() == [[0, 0], [0, 1]]


def test_the_mean_omits_classes_absent_from_the_truth_but_counts_their_false_positives():
    matrix = confusion_matrix(labels(0, 0, 0, 0), labels(0, 0, 0, 1), 2)
    iou = intersection_over_union(matrix)
    assert iou[0] == 0.75
    assert np.isnan(iou[1])
    assert mean_iou(matrix) == 75.0


def test_the_mean_over_a_split_is_not_the_mean_over_its_pictures():
    first = confusion_matrix(labels(0, 0, 0, 0), labels(0, 0, 0, 0), 2)
    second = confusion_matrix(labels(0, 1), labels(1, 1), 2)
    # class 0: 4 of 5; class 1: 1 of 2
    assert mean_iou(first + second) == pytest.approx(65.0)


def test_81_classes_do_not_overflow_the_bytes_of_the_labels():
    matrix = confusion_matrix(labels(80, 80), labels(80, 79), 81)
    assert (matrix[80, 80], matrix[80, 79], matrix.sum()) == (1, 1, 2)


def test_only_ignored_pixels_give_nan_and_no_warning():
    assert np.isnan(mean_iou(confusion_matrix(labels(255), labels(0), 2)))


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        (labels(2), labels(0), LabelError, "truth has labels 2 to 2, expected 0 to 1"),
        (labels(0), labels(7), ValueError, "prediction has labels 7 to 7"),
        (labels(0, 1), labels(0), ValueError, "differ in shape"),
    ],
)
def test_impossible_labels_are_refused(truth, prediction, error, message):
    with pytest.raises(error, match=message):
        confusion_matrix(truth, prediction, 2)
