import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from palimpsest import interruption
from palimpsest.interruption import CLOSING, Interruption, is_interruption


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interruption]:
    """What signals do, with no signal come yet."""
    own = Interruption()
    monkeypatch.setattr(interruption, "_interruption", own)
    yield own
    signal.setitimer(signal.ITIMER_REAL, 0)


def output_of(code: str) -> str:
    """What a process of its own prints."""
    return subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)


def test_a_closing_that_hangs_can_be_interrupted_too(told: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.0 + CLOSING / 2, 100.0 + CLOSING])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with pytest.raises(KeyboardInterrupt):
        told(signal.SIGINT, None)
    told(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        told(signal.SIGINT, None)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_what_gets_lost_comes_again(number: str) -> None:
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


def test_any_error_of_a_job_that_was_told_to_end_is_its_interruption(told: Interruption) -> None:
    made_of_it = ValueError("could not determine the shape of object type 'torch.storage.UntypedStorage'")
    assert not is_interruption(made_of_it)
    assert is_interruption(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        told(signal.SIGINT, None)
    assert is_interruption(made_of_it)


def test_who_starts_a_job_without_ctrl_c_keeps_it_so() -> None:
    code = (
        "import signal; from palimpsest import interruption; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "interruption.take_interruptions(); print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    assert output_of(code) == "True\n"
