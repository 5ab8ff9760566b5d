"""Mean intersection over union, from one confusion matrix over a whole split.

Matrices of several pictures are summed before the division; a mean of per-picture or per-batch IoU differs.
"""

import numpy as np
from numpy.typing import NDArray

from palimpsest.errors import LabelError

IGNORED = 255  # label of pixels excluded from the metric (Pascal VOC's "void")


def confusion_matrix(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return the number of pixels by true and predicted class.

    Args:
        truth: labels of any shape; pixels with label 255 are excluded.
        prediction: labels, the same shape.
        classes: number of classes.

    Returns:
        (classes, classes), int64: rows are the truth, columns the prediction. Matrices of several pictures can be
        summed.

    Raises:
        LabelError: a true label is outside 0 … classes − 1.
        ValueError: the shapes differ, or a predicted label is outside 0 … classes − 1.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    counted = truth != IGNORED
    rows = truth[counted].astype(np.int64)
    columns = prediction[counted].astype(np.int64)
    for labels, name, error in ((rows, "truth", LabelError), (columns, "prediction", ValueError)):
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise error(f"{name} has labels {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, as in Pascal VOC (Everingham et al., IJCV 2010).

    confusion: (classes, classes), rows are the truth. The result has shape (classes,) and values in [0, 1], NaN for
    classes absent from the ground truth.
    """
    hits = np.diag(confusion).astype(np.float64)
    true = confusion.sum(axis=1)
    union = true + confusion.sum(axis=0) - hits
    iou = np.full(len(hits), np.nan)
    np.divide(hits, union, out=iou, where=true > 0)
    return iou


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Return the mean IoU in per cent over the classes present in the ground truth; NaN if there is none."""
    iou = intersection_over_union(confusion)
    present = iou[~np.isnan(iou)]
    return 100 * float(present.mean()) if present.size else float("nan")
