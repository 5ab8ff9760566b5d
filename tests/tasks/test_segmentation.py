import math

import numpy as np
import pytest
import torch
from torch import Tensor

from palimpsest.data.arrays import Prepared
from palimpsest.tasks import build_task
from palimpsest.tasks.segmentation import SegmentationTask
from palimpsest.tasks.segmentation_settings import SegmentationSettings

Batch = dict[str, Tensor]


@pytest.fixture
def task() -> SegmentationTask:
    settings = SegmentationSettings(kind="segmentation", data="a", classes={"cat": ["cat"], "dog": ["dog"]})
    built = build_task("pets", settings)
    assert isinstance(built, SegmentationTask)
    return built


@pytest.fixture
def batch() -> Batch:
    """Return one picture of four pixels: background, cat, dog, ignored."""
    return {
        "picture": torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        "target": torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8),
    }


def scores(*labels: int) -> Tensor:
    """Return scores (1, 3, 2, 2) that are 1 for these labels and 0 otherwise."""
    return torch.nn.functional.one_hot(torch.tensor(labels), 3).float().T.reshape(1, 3, 2, 2)


def test_the_background_comes_first_and_the_head_has_a_channel_per_class(task: SegmentationTask) -> None:
    assert task.classes == ["background", "cat", "dog"]
    assert task.head_channels == 3 and task.name == "pets"


def test_the_input_is_the_photograph_in_the_unit_range(task: SegmentationTask, batch: Batch) -> None:
    batch["picture"][0, 0, 0, 0] = 255
    inputs = task.inputs(batch)
    assert inputs.dtype == torch.float32 and inputs.sum() == 1 and inputs[0, 0, 0, 0] == 1


def test_the_loss_is_the_mean_cross_entropy_over_valid_pixels(task: SegmentationTask, batch: Batch) -> None:
    right, wrong = math.log(math.e + 2) - 1, math.log(math.e + 2)
    loss = task.losses(scores(0, 1, 0, 2), batch)["loss"]  # the dog is predicted as background
    assert loss.item() == pytest.approx((right + right + wrong) / 3, rel=1e-6)


def test_without_valid_pixels_loss_and_gradient_are_zero(task: SegmentationTask, batch: Batch) -> None:
    batch["target"][:] = 255
    prediction = torch.rand(1, 3, 2, 2, requires_grad=True)
    loss = task.losses(prediction, batch)["loss"]
    loss.backward()
    assert loss.item() == 0 and prediction.grad is not None and not prediction.grad.any()


def test_the_prediction_is_float32_under_16_bits_too(task: SegmentationTask, batch: Batch) -> None:
    assert task.prediction(scores(0, 1, 2, 0).bfloat16(), batch).dtype == torch.float32


def test_iou_is_over_the_full_split_and_not_a_mean_over_batches(task: SegmentationTask, batch: Batch) -> None:
    meter = task.meter()
    meter.update(scores(0, 1, 0, 1), batch)
    next_batch = {**batch, "target": torch.zeros_like(batch["target"])}
    meter.update(scores(0, 0, 0, 1), next_batch)
    # background: 4 hits of 5 true and 5 predicted; cat: 1 hit of 1 true and 2 predicted; dog: none of 1 true
    assert meter.compute() == pytest.approx(
        {"miou": 100 * (4 / 6 + 1 / 2 + 0) / 3, "iou/background": 400 / 6, "iou/cat": 50, "iou/dog": 0}
    )


def test_a_class_absent_from_the_truth_has_no_iou(task: SegmentationTask, batch: Batch) -> None:
    batch["target"][:] = 1
    meter = task.meter()
    meter.update(scores(1, 1, 1, 2), batch)
    assert meter.compute() == {"miou": 75, "iou/cat": 75}


def test_the_floor_is_the_most_frequent_class_of_the_training_pictures(
    task: SegmentationTask, batch: Batch
) -> None:
    targets = np.array([[[255, 255], [255, 2]], [[255, 2], [1, 0]]], np.uint8)
    answer = task.floor(targets)(batch)
    assert answer.shape == (1, 3, 2, 2)
    assert answer.argmax(1).unique().tolist() == [2]


def test_classes_and_ignored_pixels_are_painted_in_the_colours_of_voc(task: SegmentationTask, batch: Batch) -> None:
    painted = task.paint(scores(0, 1, 2, 0))
    assert painted.dtype == np.uint8
    assert painted[0].tolist() == [[[0, 0, 0], [128, 0, 0]], [[0, 128, 0], [0, 0, 0]]]
    assert task.paint_target(batch)[0].tolist() == [[[0, 0, 0], [128, 0, 0]], [[0, 128, 0], [224, 224, 192]]]


def test_no_photograph_is_refused(task: SegmentationTask) -> None:
    assert task.refuse(np.zeros((4, 4, 3), np.uint8)) is None


SHARES = {"background": 0.81, "cat": 0.09, "dog": 0.0}


def balanced(exponent: float) -> SegmentationTask:
    """Return a task whose classes are weighted by `SHARES`."""
    classes = {"cat": ["cat"], "dog": ["dog"]}
    settings = SegmentationSettings(kind="segmentation", data="a", classes=classes, class_balance=exponent)
    task = SegmentationTask("pets", settings)
    labels = {"labels": {"train": {"classes": SHARES}}}
    task.use_training_data(Prepared(np.zeros((0, 4, 4, 3), np.uint8), None, (), (), labels))
    return task


@pytest.mark.parametrize(("exponent", "ratio"), [(0.5, 3), (1, 9)])
def test_a_rare_class_weighs_more_and_a_missing_one_nothing(exponent: float, ratio: float) -> None:
    weights = balanced(exponent).class_weights
    assert weights is not None
    assert weights[1] / weights[0] == pytest.approx(ratio) and weights[2] == 0
    assert float(weights @ torch.tensor([0.81, 0.09, 0.0])) == pytest.approx(0.9)  # the mean weight of a pixel is 1


def test_without_balance_no_class_has_a_weight() -> None:
    assert balanced(0).class_weights is None


def test_the_balanced_loss_is_the_weighted_mean_of_pytorch(batch: Batch) -> None:
    task, prediction = balanced(0.5), torch.rand(1, 3, 2, 2)
    expected = torch.nn.functional.cross_entropy(
        prediction, batch["target"].long(), task.class_weights, ignore_index=255
    )
    assert torch.allclose(task.losses(prediction, batch)["loss"], expected)
    ignored = {**batch, "target": torch.full((1, 2, 2), 255, dtype=torch.uint8)}
    assert task.losses(prediction, ignored)["loss"] == 0


def test_a_loss_of_pictures_cannot_be_balanced() -> None:
    with pytest.raises(
        ValueError, match="class_balance: the loss 'l1' has no weights of classes; remove class_balance"
    ):
        SegmentationSettings(kind="segmentation", data="a", classes={"cat": ["cat"]}, loss="l1", class_balance=0.5)
