import os
import signal
import subprocess
import sys

import pytest

from palimpsest.processes import parent as parents
from palimpsest.processes.parent import PARENT, end_with_parent, start_time, watch


def test_a_process_has_a_start_time_until_it_ends() -> None:
    assert start_time(os.getpid()) == start_time(os.getpid()) > 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert start_time(ended.pid) == 0


class EndedError(Exception):
    """Exception that replaces the end of the process."""


class Kill:
    """Function that records the signals of a process to itself; the last signal ends the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int = 1) -> None:
        self.sent: list[int] = []
        self.last = last
        monkeypatch.setattr(os, "kill", self)

    def __call__(self, pid: int, number: int) -> None:
        assert pid == os.getpid()
        self.sent.append(number)
        if len(self.sent) == self.last:
            raise EndedError


def test_a_job_is_interrupted_when_its_parent_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kill(monkeypatch)
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    when = start_time(parent.pid)
    monkeypatch.setattr(parents.time, "sleep", lambda seconds: parent.communicate(b"\n"))
    with pytest.raises(EndedError):
        watch(parent.pid, when)
    assert parent.returncode is not None
    assert kill.sent == [signal.SIGTERM]


def test_a_reused_process_id_is_not_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kill(monkeypatch)
    with pytest.raises(EndedError):
        watch(os.getpid(), start_time(os.getpid()) - 1)
    assert kill.sent == [signal.SIGTERM]


def test_a_lost_interruption_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kill(monkeypatch, last=3)
    monkeypatch.setattr(parents, "SECONDS", 0.01)
    with pytest.raises(EndedError):
        watch(os.getpid(), 0)
    assert kill.sent == [signal.SIGTERM] * 3


def test_a_process_of_distributed_training_ends_with_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    kill = Kill(monkeypatch)
    with pytest.raises(EndedError):
        watch(os.getpid(), 0)
    assert kill.sent == [signal.SIGKILL]


@pytest.mark.parametrize("value", [None, "elsewhere 1 2.0"])
def test_a_job_by_hand_and_one_on_another_host_have_no_parent(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    if value is not None:
        monkeypatch.setenv(PARENT, value)
    monkeypatch.setattr(parents, "watch", lambda pid, when: pytest.fail("watched"))
    end_with_parent()
