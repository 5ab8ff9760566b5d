"""Times of short trainings, with a clock that the tests set."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from palimpsest.jobs import training_job
from palimpsest.methods import BASES, METHODS, entry_of
from palimpsest.planning import timing
from palimpsest.planning.requests import MeasurementRequest, MeasurementTime, Pictures, TrainingRequest
from palimpsest.planning.timing import time_measurement, time_training
from palimpsest.storage.task_file import load_task
from tests.conftest import Study

PICTURES = {name: Pictures(8, 2) for name in ("shapes", "halves", "colour")}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass at each look at the clock."""
    seconds = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(seconds)))


def request_of(study: Study, method: str, task: str) -> TrainingRequest:
    return TrainingRequest(study.settings, method, task, PICTURES)


@pytest.mark.parametrize("method", [*BASES, *METHODS])
@pytest.mark.usefixtures("clock")
def test_every_method_is_timed_without_data(
    method: str, new_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "BUDGET", 4.0)
    study, entry = new_study(), entry_of(method)
    task = "shapes" if entry.together or method in BASES else "halves"
    folder = tmp_path / "measured"
    folder.mkdir()
    timed = time_training(request_of(study, method, task), folder)
    # A second passes in an epoch of four steps, and two between two epochs.
    assert timed.step == pytest.approx(2 / 6 if entry.together else 1 / 4) and timed.epoch == 2.0
    assert timed.rest > 0 and timed.stored > 0 and timed.checkpoint > 0
    assert Path.cwd() == tmp_path and not list(folder.rglob("*.resume"))


@pytest.mark.slow
@pytest.mark.parametrize("method", [*BASES, *METHODS])
def test_the_bytes_are_those_of_the_real_training(method: str, trained: Study, tmp_path: Path) -> None:
    job = training_job(trained.settings, 0, method, "shapes" if method in BASES else "halves")
    real = sum(
        tensor.nbytes
        for name in job.task_names
        for part in load_task(trained.layout.stored(0, method, name)).components
        for tensor in part.tensors.values()
    )
    stored = time_training(request_of(trained, method, job.task_names[0]), tmp_path).stored
    # The code of `coded` has a length that depends on what was learned.
    assert stored == (pytest.approx(real, rel=0.5) if method == "coded" else real)


@pytest.mark.usefixtures("clock")
def test_a_training_without_steps_takes_no_time_per_step(new_study: Callable[..., Study], tmp_path: Path) -> None:
    timed = time_training(request_of(new_study(), "ewc", "shapes"), tmp_path)
    assert (timed.step, timed.epoch, timed.checkpoint) == (0.0, 0.0, 0) and timed.rest > 0


@pytest.mark.usefixtures("clock")
def test_slow_steps_are_measured_once(
    new_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    run_steps = timing.run_steps
    monkeypatch.setattr(
        timing, "run_steps", lambda *given, **one: taken.append(given[-1]) or run_steps(*given, **one)
    )
    monkeypatch.setattr(timing, "BUDGET", 1.5)
    study = new_study()
    assert time_training(request_of(study, "scratch", "colour"), tmp_path).step == 1.0
    monkeypatch.setattr(timing, "BUDGET", 6.0)
    time_training(request_of(study, "scratch", "colour"), tmp_path)
    monkeypatch.setattr(timing, "BUDGET", 100.0)
    time_training(request_of(study, "scratch", "colour"), tmp_path)
    assert taken == [2, 2, 6, 2, timing.MOST]


@pytest.mark.usefixtures("clock")
def test_a_measurement_is_in_proportion_to_the_pictures(
    new_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "MEASURED_PICTURES", 4)
    job = training_job(new_study().settings, 0, "scratch", "halves")
    few, many = (
        time_measurement(MeasurementRequest(job, "halves", Pictures(8, number)), tmp_path) for number in (4, 40)
    )
    assert few == MeasurementTime(1.0, 1.0)
    assert many == MeasurementTime(10.0, 10.0)
