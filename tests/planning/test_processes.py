"""Processes that time trainings, and errors in them."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from palimpsest.errors import PalimpsestError, TrainingError
from palimpsest.planning.processes import job_environment, result_of
from palimpsest.planning.requests import Pictures, Timed, TrainingRequest
from tests.conftest import Study


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
    request = TrainingRequest(new_study().settings, "scratch", "colour", {"colour": Pictures(8, 2)})
    future: Future[tuple[Timed, float]] = Future()
    future.set_exception(error)
    with pytest.raises(PalimpsestError, match=f"^{message}"):
        result_of(future, request)
    future = Future()
    future.set_exception(KeyError("bug"))
    with pytest.raises(KeyError):
        result_of(future, request)
