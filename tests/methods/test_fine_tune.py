"""Shared and task-specific tensors of fine-tuning."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

from palimpsest.analysis.sizes import size_rows

Study = Any
STATISTIC = "encoder.stages.0.1.running_mean"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fine-tune", "ewc", "lwf"])
def test_a_shared_batchnorm_changes_with_the_network_and_counts_once(
    new_study: Callable[..., Study], method: str
) -> None:
    study = new_study(methods=[method], method_settings={method: {"batchnorm": "shared"}})
    study.learn_all(method)
    stored = study.stored(method)
    statistics = [stored.network("shapes", after).state_dict()[STATISTIC] for after in study.settings.sequence]
    files = [stored.open(task).tensors()[STATISTIC] for task in study.settings.sequence]
    assert all(torch.equal(*pair) for pair in zip(statistics, files, strict=True))
    assert not any(torch.equal(statistics[0], later) for later in statistics[1:])
    sizes = pd.DataFrame(size_rows(stored))
    assert sizes.loc[sizes["component"] == "batchnorm", "task"].tolist() == ["colour"]
    assert sorted(sizes.loc[sizes["component"] == "head", "task"]) == ["colour", "halves", "shapes"]
