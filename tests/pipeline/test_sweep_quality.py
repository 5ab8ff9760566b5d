"""Quality of the variants of a sweep, from measurements on `dev`."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from palimpsest.analysis.tables import columns_of
from pipeline import sweep

MIOU = {  # of `first` and `second` after their own training, and of `first` in the end
    "floor": (10.0, 20.0, 10.0),
    "scratch": (90.0, 60.0, 90.0),
    "": (80.0, 40.0, 50.0),
    "slow": (90.0, 60.0, 90.0),
}


def measured(settings: Any, method: str, variant: str, seed: int) -> pd.DataFrame:
    first, second, final = MIOU[variant if method == "ewc" else method]
    rows = [("first", "first", first), ("first", "second", final), ("second", "second", second)]
    if variant != "slow":
        rows.append(("third", "third", 1.0))  # a task that not every variant trained
    table = pd.DataFrame(rows, columns=["task", "after", "value"]).assign(metric="miou")
    return table.reindex(columns=[name for name in columns_of("metrics") if name not in ("seed", "method")])


def test_quality_is_the_mean_over_common_tasks_after_the_last_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {name: SimpleNamespace(kind="segmentation") for name in ("first", "second", "third")}
    settings: Any = SimpleNamespace(seeds=[0], sequence=[*kinds], tasks=kinds)
    monkeypatch.setattr(sweep, "metrics_of", measured)
    rows = sweep.qualities(settings, "ewc", ("", "slow")).set_index("variant")
    assert dict(rows.value) == {"": pytest.approx((40 / 80 + 20 / 40) / 2), "slow": 1.0}
    assert set(rows.task) == set(rows.after) == {"second"}


def test_without_a_scale_there_is_no_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = SimpleNamespace(
        seeds=[0], sequence=["first"], tasks={"first": SimpleNamespace(kind="segmentation")}
    )
    monkeypatch.setattr(sweep, "metrics_of", measured)
    monkeypatch.setitem(MIOU, "scratch", (5.0, 60.0, 90.0))  # worse than the trivial baseline
    assert sweep.qualities(settings, "ewc", ("",)).empty
