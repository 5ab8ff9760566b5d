"""Record of a training's time and memory over all its attempts."""

import argparse
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from palimpsest.methods import BASE
from palimpsest.storage.task_file import load_task
from palimpsest.tracking import runs
from palimpsest.training.cost import load_cost, save_cost
from pipeline import train
from tests.conftest import Study

pytestmark = pytest.mark.slow

OPTIONS = argparse.Namespace(seed=0, method=BASE, task="shapes")


def test_a_resumed_training_adds_to_its_cost(prepared_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study = prepared_study
    metrics: list[dict[str, float]] = []
    monkeypatch.setattr(runs, "training_run", lambda *arguments: nullcontext(runs.NoRun()))
    monkeypatch.setattr(runs.NoRun, "metrics", lambda self, values: metrics.append(values))

    def interrupt(self: Any, history: Any) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs.NoRun, "epochs", interrupt)
        train.main(study.settings, study.layout, OPTIONS)
    path = study.layout.cost(0, BASE, "shapes")
    begun = load_cost(path)
    assert begun is not None and begun.seconds > 0 and begun.sha256 == ""
    save_cost(path, replace(begun, seconds=1000.0))
    train.main(study.settings, study.layout, OPTIONS)
    done = load_cost(path)
    assert done is not None and 1000 < done.seconds < 1100
    assert done.sha256 == load_task(study.layout.stored(0, BASE, "shapes")).sha256
    assert metrics[-1]["seconds"] == done.seconds and metrics[-1]["peak_memory"] == done.peak_memory
    train.main(study.settings, study.layout, OPTIONS)  # a new training, since none was interrupted
    again = load_cost(path)
    assert again is not None and again.seconds < 100
