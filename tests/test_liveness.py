import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palimpsest import liveness
from palimpsest.errors import StorageError
from tests.conftest import room_for

HOLDER = "from pathlib import Path; from palimpsest import liveness; liveness.take_over(Path('.snakemake')); "


@pytest.fixture(autouse=True)
def let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of the test's own, holding no lock from before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(liveness, "_held", [])


def locked() -> Path:
    """What Snakemake leaves when it is killed."""
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("results/mini/report.html")
    return lock


def test_locks_of_a_dead_run_are_removed() -> None:
    lock = locked()
    liveness.take_over(Path(".snakemake"))
    assert not lock.exists()


def test_a_run_is_not_started_without_room_for_what_snakemake_writes() -> None:
    locked()
    told = r"^\.snakemake: cannot be written \(.*\); make room and run the same command again$"
    with pytest.raises(StorageError, match=told), room_for(1000):
        liveness.take_over(Path(".snakemake"))
    liveness.take_over(Path(".snakemake"))
    assert [path.name for path in Path(".snakemake").iterdir()] == ["alive"]


def test_locks_of_a_living_run_stay_until_it_is_killed() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER + "print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    lock = locked()
    liveness.take_over(Path(".snakemake"))
    assert lock.exists()
    liveness._held.pop().close()
    holder.kill()
    holder.communicate()
    liveness.take_over(Path(".snakemake"))
    assert not lock.exists()


def test_a_process_has_a_start_and_one_that_is_gone_has_none() -> None:
    assert liveness.started(os.getpid()) == liveness.started(os.getpid()) > 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert liveness.started(ended.pid) == 0


class EndedError(Exception):
    """Raised in place of the end of the process."""


class Kill:
    """Takes the signals that a process sends to itself, the last of which ends it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int = 1) -> None:
        self.sent: list[int] = []
        self.last = last
        monkeypatch.setattr(os, "kill", self)

    def __call__(self, pid: int, number: int) -> None:
        assert pid == os.getpid()
        self.sent.append(number)
        if len(self.sent) == self.last:
            raise EndedError


def test_a_job_is_interrupted_when_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kill(monkeypatch)
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    when = liveness.started(parent.pid)
    monkeypatch.setattr(liveness.time, "sleep", lambda seconds: parent.communicate(b"\n"))
    with pytest.raises(EndedError):
        liveness.watch(parent.pid, when)
    assert parent.returncode is not None
    assert kill.sent == [signal.SIGTERM]


def test_a_number_that_was_given_to_another_process_is_not_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kill(monkeypatch)
    with pytest.raises(EndedError):
        liveness.watch(os.getpid(), liveness.started(os.getpid()) - 1)
    assert kill.sent == [signal.SIGTERM]


def test_an_interruption_that_is_lost_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Kill(monkeypatch, last=3)
    monkeypatch.setattr(liveness, "SECONDS", 0.01)
    with pytest.raises(EndedError):
        liveness.watch(os.getpid(), 0)
    assert kill.sent == [signal.SIGTERM] * 3


def test_who_trains_together_with_a_first_process_ends_with_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    kill = Kill(monkeypatch)
    with pytest.raises(EndedError):
        liveness.watch(os.getpid(), 0)
    assert kill.sent == [signal.SIGKILL]


@pytest.mark.parametrize("value", [None, "elsewhere 1 2.0"])
def test_a_job_by_hand_and_one_on_another_host_belong_to_nobody(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(liveness.PARENT, raising=False)
    if value is not None:
        monkeypatch.setenv(liveness.PARENT, value)
    monkeypatch.setattr(liveness, "watch", lambda pid, when: pytest.fail("watched"))
    liveness.end_with_parent()


def test_the_same_job_waits_until_the_one_before_has_ended() -> None:
    code = (
        "import sys, time; from pathlib import Path; from palimpsest import liveness\n"
        "liveness.alone(Path('job.log')); print('alone', time.time(), flush=True); time.sleep(0.3)\n"
        "print('done', time.time())"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = sorted(tuple(float(line.split()[1]) for line in job.communicate()[0].splitlines()) for job in jobs)
    assert times[1][0] >= times[0][0] + 0.3
