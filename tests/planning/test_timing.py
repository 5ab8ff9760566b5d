"""Times of short trainings, with a clock that the tests set."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from palimpsest.data.targets import LABELS, TARGETS, Target
from palimpsest.errors import PalimpsestError, TrainingError
from palimpsest.jobs import training_job
from palimpsest.methods import BASES, METHODS, entry_of
from palimpsest.networks.perceptual import PERCEPTUAL_NETWORKS
from palimpsest.planning import timing
from palimpsest.planning.timing import (
    MeasurementRequest,
    MeasurementTime,
    Pictures,
    TrainingRequest,
    job_environment,
    random_arrays,
    random_target,
    result_of,
    time_measurement,
    time_training,
)
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
    assert time_training(request_of(trained, method, job.task_names[0]), tmp_path).stored == real


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
    task = timing.without_downloads(study.settings.tasks["painted"], tmp_path)
    assert study.settings.tasks["painted"].files()[1].exists() is False
    assert all(path.is_absolute() and path.exists() for path in task.files())
    assert PERCEPTUAL_NETWORKS["squeezenet"](task.files()[1])(torch.zeros(1, 3, 32, 32)).style


def test_processes_have_the_threads_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with job_environment(2):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "2"
    assert os.environ["OMP_NUM_THREADS"] == "5" and "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BrokenProcessPool(), "training of scratch on colour: the measuring process ended"),
        (TrainingError("step 3: the loss is nan"), "training of scratch on colour: step 3: the loss is nan"),
    ],
)
def test_errors_name_the_training(error: Exception, message: str, new_study: Callable[..., Study]) -> None:
    future: Future[tuple[timing.Timed, float]] = Future()
    future.set_exception(error)
    with pytest.raises(PalimpsestError, match=f"^{message}"):
        result_of(future, request_of(new_study(), "scratch", "colour"))
    future = Future()
    future.set_exception(KeyError("bug"))
    with pytest.raises(KeyError):
        result_of(future, request_of(new_study(), "scratch", "colour"))
