import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from palimpsest import interruption
from palimpsest.interruption import CLOSING, Interruption, is_interruption


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interruption]:
    """Yield the signal handler before any signal."""
    handler = Interruption()
    monkeypatch.setattr(interruption, "_interruption", handler)
    yield handler
    signal.setitimer(signal.ITIMER_REAL, 0)


def output_of(code: str) -> str:
    """Return the output of a separate process."""
    return subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)


def test_a_hanging_shutdown_can_be_interrupted_too(handle: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.0 + CLOSING / 2, 100.0 + CLOSING])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with pytest.raises(KeyboardInterrupt):
        handle(signal.SIGINT, None)
    handle(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        handle(signal.SIGINT, None)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_lost_interruption_is_repeated(number: str) -> None:
    code = f"""
import os, signal, time
from palimpsest import interruption

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.{number})

interruption.CLOSING = 0.2
interruption.take_interruptions()
Deaf()
print("lost", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("come again")
"""
    assert output_of(code) == "lost\ncome again\n"


def test_any_error_of_an_interrupted_job_is_its_interruption(handle: Interruption) -> None:
    made_of_it = ValueError("could not determine the shape of object type 'torch.storage.UntypedStorage'")
    assert not is_interruption(made_of_it)
    assert is_interruption(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        handle(signal.SIGINT, None)
    assert is_interruption(made_of_it)


def test_a_job_started_with_ctrl_c_ignored_still_ignores_it() -> None:
    code = (
        "import signal; from palimpsest import interruption; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "interruption.take_interruptions(); print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    assert output_of(code) == "True\n"
