import subprocess
import sys
from pathlib import Path

import pytest

from palimpsest.processes.file_locks import exclusive


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_job_waits_for_the_same_job() -> None:
    code = (
        "import sys, time; from pathlib import Path; from palimpsest.processes.file_locks import hold_log\n"
        "hold_log(Path('job.log')); print('alone', time.time(), flush=True); time.sleep(0.3)\n"
        "print('done', time.time())"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = sorted(tuple(float(line.split()[1]) for line in job.communicate()[0].splitlines()) for job in jobs)
    assert times[1][0] >= times[0][0] + 0.3


def test_a_block_waits_until_another_process_leaves_it_or_is_killed() -> None:
    code = (
        "from pathlib import Path; from palimpsest.processes.file_locks import exclusive\n"
        "with exclusive(Path('lock')): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    second = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=1)
    holder.kill()
    holder.communicate()
    assert second.communicate("\n")[0] == "held\n"
    with exclusive(Path("lock")):
        pass
