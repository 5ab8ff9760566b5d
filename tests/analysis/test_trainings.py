import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from palimpsest.analysis.trainings import cost_rows, diagnostic_rows, loss_rows
from palimpsest.methods import BASE
from palimpsest.storage.prediction_record import load_record, save_record
from palimpsest.storage.task_file import load_task, save_task
from palimpsest.training.cost import Cost, save_cost

Study = Any


def stored(study: Study, method: str) -> Any:
    first, *later = study.settings.sequence
    study.store_untrained(BASE, first)
    for task in later:
        study.store_untrained(method, task)
    return study.stored(method)


def record(study: Study, method: str, task: str, seconds: float, sha256: str | None = None) -> None:
    sha256 = load_task(study.layout.stored(0, method, task)).sha256 if sha256 is None else sha256
    save_cost(study.layout.cost(0, method, task), Cost("key", seconds, 10 * seconds, sha256))


def test_every_diagnostic_of_a_stored_task_has_a_row(new_study: Callable[..., Study]) -> None:
    study = new_study()
    tasks = stored(study, "piggyback")
    assert diagnostic_rows(tasks) == []
    file = load_task(tasks.path("halves"))
    save_task(file.path, file.components, replace(file.provenance, diagnostics={"free": 0.25, "spare": 3.0}))
    assert diagnostic_rows(tasks) == [
        {"task": "halves", "name": "free", "value": 0.25},
        {"task": "halves", "name": "spare", "value": 3.0},
    ]


def test_losses_are_those_of_the_prediction_records(new_study: Callable[..., Study]) -> None:
    study = new_study()
    tasks = stored(study, "piggyback")
    assert loss_rows(tasks) == []
    for method, task, losses in (
        (BASE, "shapes", [{"step": 4.0, "loss": 0.5}]),
        ("piggyback", "colour", [{"step": 2.0, "loss": 3.0, "penalty": 1.0}, {"step": 4.0, "loss": 2.0}]),
    ):
        path = study.layout.prediction_record(0, method, task)
        save_record(path, replace(load_record(path), losses=losses))
    assert loss_rows(tasks) == [
        {"task": "shapes", "step": 4, "name": "loss", "value": 0.5},
        {"task": "colour", "step": 2, "name": "loss", "value": 3.0},
        {"task": "colour", "step": 2, "name": "penalty", "value": 1.0},
        {"task": "colour", "step": 4, "name": "loss", "value": 2.0},
    ]


def test_a_record_without_losses_is_read(new_study: Callable[..., Study]) -> None:
    study = new_study()
    study.store_untrained(BASE, "shapes")
    path = study.layout.prediction_record(0, BASE, "shapes")
    content = json.loads(path.read_text())
    del content["losses"]  # as in records of earlier versions
    path.write_text(json.dumps(content))
    assert load_record(path).losses == ()


def test_costs_are_those_of_the_trainings_that_wrote_the_files(new_study: Callable[..., Study]) -> None:
    study = new_study()
    tasks = stored(study, "piggyback")
    assert cost_rows(tasks) == []
    record(study, BASE, "shapes", 5.0)
    record(study, "piggyback", "halves", 2.0, sha256="another")  # as after a checkout of an older state
    record(study, "piggyback", "colour", 3.0)
    assert cost_rows(tasks) == [
        {"task": "shapes", "seconds": 5.0, "peak_memory": 50.0},
        {"task": "colour", "seconds": 3.0, "peak_memory": 30.0},
    ]
    record(study, "piggyback", "halves", 2.0, sha256="")  # as of a running training
    assert len(cost_rows(tasks)) == 2


@pytest.mark.slow
def test_a_joint_training_counts_in_full_for_each_task(new_study: Callable[..., Study]) -> None:
    study = new_study()
    study.learn_all("joint")
    record(study, "joint", "shapes", 6.0)
    rows = cost_rows(study.stored("joint"))
    assert [(row["task"], row["seconds"]) for row in rows] == [("shapes", 6.0), ("halves", 6.0), ("colour", 6.0)]
    assert {row["peak_memory"] for row in rows} == {60.0}
