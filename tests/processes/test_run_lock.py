import subprocess
import sys
from pathlib import Path

import pytest

from palimpsest.errors import StorageError
from palimpsest.processes import run_lock
from palimpsest.processes.run_lock import hold_run_lock
from tests.conftest import room_for

HOLDER = (
    "from pathlib import Path; from palimpsest.processes.run_lock import hold_run_lock;"
    " hold_run_lock(Path('.snakemake')); "
)


@pytest.fixture(autouse=True)
def let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a new folder, without the lock of an earlier test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_lock, "_held", [])


def locked() -> Path:
    """Return the lock that a killed Snakemake leaves."""
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("results/mini/report.html")
    return lock


def test_locks_of_a_dead_run_are_removed() -> None:
    lock = locked()
    assert hold_run_lock(Path(".snakemake"))
    assert not lock.exists()


def test_a_run_does_not_start_without_disk_space_for_snakemake() -> None:
    locked()
    message = r"^\.snakemake: cannot be written \(.*\); make room and run the same command again$"
    with pytest.raises(StorageError, match=message), room_for(1000):
        hold_run_lock(Path(".snakemake"))
    hold_run_lock(Path(".snakemake"))
    assert [path.name for path in Path(".snakemake").iterdir()] == ["alive"]


def test_locks_of_a_running_snakemake_stay_until_it_is_killed() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER + "print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    lock = locked()
    assert not hold_run_lock(Path(".snakemake"))
    assert lock.exists()
    run_lock._held.pop().close()
    holder.kill()
    holder.communicate()
    assert hold_run_lock(Path(".snakemake"))
    assert not lock.exists()
