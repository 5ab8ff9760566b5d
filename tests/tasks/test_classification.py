import math

import numpy as np
import pytest
import torch
from torch import Tensor

from palimpsest.tasks import build_task
from palimpsest.tasks.classification import ClassificationTask
from palimpsest.tasks.classification_settings import ClassificationSettings

Batch = dict[str, Tensor]


@pytest.fixture
def task() -> ClassificationTask:
    settings = ClassificationSettings(kind="classification", data="a", classes={"cat": ["cat"], "dog": ["dog"]})
    built = build_task("pets", settings)
    assert isinstance(built, ClassificationTask)
    return built


LABELS = torch.tensor(
    [
        [[0, 0], [0, 2]],  # a dog before much background
        [[1, 2], [1, 255]],  # more cat than dog
        [[0, 255], [0, 0]],  # neither
    ],
    dtype=torch.uint8,
)


@pytest.fixture
def batch() -> Batch:
    """Return three photographs of four pixels, whose classes are dog, cat and background."""
    return {"picture": torch.zeros(3, 3, 2, 2, dtype=torch.uint8), "target": LABELS}


def test_the_class_is_that_of_the_largest_labelled_area(task: ClassificationTask) -> None:
    assert task.classes == ["background", "cat", "dog"] and task.head_channels == 3
    assert task.targets(LABELS).tolist() == [2, 1, 0]


def test_scores_are_means_over_the_pixels(task: ClassificationTask, batch: Batch) -> None:
    output = torch.arange(36, dtype=torch.float32).view(3, 3, 2, 2)
    prediction = task.prediction(output, batch)
    assert prediction.shape == (3, 3, 2, 2)
    assert torch.equal(prediction[..., 1, 0], output.mean((2, 3)))


def test_the_loss_is_the_mean_cross_entropy_of_photographs(task: ClassificationTask, batch: Batch) -> None:
    scores = torch.tensor([[0.0, 0, 1], [0, 1, 0], [0, 1, 0]])[:, :, None, None].expand(3, 3, 2, 2)
    right, wrong = math.log(math.e + 2) - 1, math.log(math.e + 2)
    assert task.losses(scores, batch)["loss"].item() == pytest.approx((2 * right + wrong) / 3)


def test_accuracy_in_all_by_class_and_of_a_sample(task: ClassificationTask, batch: Batch) -> None:
    meter = task.meter()
    scores = torch.tensor([[0.0, 0, 1], [0, 1, 0], [0, 1, 0]])[:, :, None, None].expand(3, 3, 2, 2)
    meter.update(scores, batch)
    assert meter.units == 3
    expected = {"accuracy/background": 0, "accuracy/cat": 100, "accuracy/dog": 100}
    assert meter.compute() == pytest.approx({"accuracy": 200 / 3, **expected})
    assert meter.compute(np.array([1, 1, 0]))["accuracy"] == 100


def test_the_baseline_predicts_the_most_frequent_class(task: ClassificationTask, batch: Batch) -> None:
    targets = torch.cat([LABELS, LABELS[:1]]).numpy()  # two dogs
    prediction = task.floor(targets)(batch)
    assert prediction.shape == (3, 3, 2, 2) and (prediction.argmax(1) == 2).all()


def test_pictures_have_the_colour_of_the_class(task: ClassificationTask, batch: Batch) -> None:
    painted = task.paint_target(batch)
    assert painted.shape == (3, 2, 2, 3) and not painted[2].any()
    assert (painted[0] == painted[0, 0, 0]).all() and (painted[0] != painted[1]).any()
    scores = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])[:, :, None, None].expand(3, 3, 2, 2)
    assert np.array_equal(task.paint(scores), painted)


def test_losses_for_ewc_and_lwf_depend_on_photographs(task: ClassificationTask, batch: Batch) -> None:
    certain = torch.tensor([[0.0, 0, 99], [0, 99, 0], [99, 0, 0]])[:, :, None, None].expand(3, 3, 2, 2)
    assert task.sampled_loss(certain, batch).item() == pytest.approx(0, abs=1e-6)
    assert task.distillation(certain, certain, 2.0).item() == pytest.approx(0, abs=1e-6)
    assert task.distillation(torch.zeros_like(certain), certain, 2.0) > 1


def test_background_is_no_other_class() -> None:
    with pytest.raises(ValueError, match="'background' is class 0 already"):
        ClassificationSettings(kind="classification", data="a", classes={"background": ["cat"]})
