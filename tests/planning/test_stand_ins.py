"""Arrays and weights in place of those that a run has yet to make."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from palimpsest.data.targets import LABELS, TARGETS, Target
from palimpsest.networks.perceptual import PERCEPTUAL_NETWORKS
from palimpsest.planning.requests import Pictures
from palimpsest.planning.stand_ins import random_arrays, random_target, without_downloads
from tests.conftest import Study


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_random_targets_have_the_types_of_prepared_ones(target: Target) -> None:
    values = random_target(np.random.default_rng(0), target, 32, 3)
    assert (values.shape, values.dtype) == (target.shape(32), np.dtype(target.dtype))
    assert target is not LABELS or set(np.unique(values)) == {0, 1, 2}


def test_random_arrays_have_the_rows_of_prepared_ones(new_study: Callable[..., Study]) -> None:
    arrays = random_arrays("halves", new_study().settings.tasks["halves"], 32, Pictures(100_000, 3))
    assert arrays.picture.shape == (100_003, 32, 32, 3) and arrays.picture.dtype == np.uint8
    assert len(arrays.rows("train")) == 100_000 and len(arrays.rows("val")) == 3
    assert arrays.target is not None and set(np.unique(arrays.target[0])) == {0, 1}


def test_weights_that_a_run_downloads_are_random(new_study: Callable[..., Study], tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "orange").save("painting.png")
    style = {"kind": "style", "data": "drawn", "picture": "painting.png", "perceptual": "squeezenet"}
    study = new_study(tasks={"painted": style}, sequence=["shapes", "painted"])
    task = without_downloads(study.settings.tasks["painted"], tmp_path)
    assert study.settings.tasks["painted"].files()[1].exists() is False
    assert all(path.is_absolute() and path.exists() for path in task.files())
    assert PERCEPTUAL_NETWORKS["squeezenet"](task.files()[1])(torch.zeros(1, 3, 32, 32)).style
