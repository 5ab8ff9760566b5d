from pathlib import Path

import pytest

from palimpsest import slurm
from palimpsest.errors import StorageError


class Commands:
    """Folder of shell scripts, which are the only commands that can be found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, *lines: str, status: int = 0) -> None:
        """Add a command that prints these lines."""
        script = ["#!/bin/sh", *(f"echo '{line}'" for line in lines), f"exit {status}"]
        (self.folder / name).write_text("\n".join(script))
        (self.folder / name).chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Return the commands of a machine without SLURM."""
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm.gpus.cache_clear()
    return Commands(tmp_path)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["gpu:2"], 2),
        (["(null)", "gpu:a100:4(S:0-1),nvme:1", "gpu:v100:2"], 4),
        (["gpu:nvidia_h100_80gb_hbm3:8(S:0-1)"], 8),
        (["nvme:1,gpu:tesla.t4:1,gpu:a40:3"], 3),
        (["(null)", "lustre:1,cgpu:4"], 0),
        ([], 0),
    ],
)
def test_gpus_are_those_of_the_node_that_has_the_most(commands: Commands, lines: list[str], number: int) -> None:
    commands.add("sinfo", *lines)
    assert slurm.gpus() == number


def test_a_machine_without_slurm_has_no_gpus_of_nodes_and_no_queue(commands: Commands) -> None:
    assert slurm.gpus() == 0
    slurm.check_queue(commands.folder)


def test_a_scheduler_without_an_answer_stops_nothing(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    commands.add("squeue", "slurm_load_jobs error: Unable to contact slurm controller", status=1)
    slurm.check_queue(commands.folder)
    (commands.folder / "sinfo").write_text("#!/bin/sh\nwhile true; do :; done\n")
    (commands.folder / "sinfo").chmod(0o755)
    monkeypatch.setattr(slurm, "SECONDS", 0.1)
    assert slurm.gpus() == 0


def test_jobs_of_an_earlier_run_in_this_folder_are_refused(commands: Commands) -> None:
    folder = commands.folder / "with | sign"
    folder.mkdir()
    others = ["7|RUNNING|palimpsest_1234|/elsewhere", f"8|RUNNING|interactive|{folder}"]
    commands.add("squeue", *others)
    slurm.check_queue(folder)
    jobs = [f"{number}|{state}|palimpsest_1234|{folder}" for number, state in ((5, "PENDING"), (6, "RUNNING"))]
    commands.add("squeue", jobs[0], *others, jobs[1])
    with pytest.raises(
        StorageError, match=r"^squeue: jobs .* \(5 6\); wait for them, or run `scancel 5 6`; then run"
    ):
        slurm.check_queue(folder)


def test_a_run_waits_for_cancelled_jobs(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = f"5|COMPLETING|palimpsest_1234|{commands.folder}"
    commands.add("squeue")
    asked = commands.folder / "asked"
    (commands.folder / "squeue").write_text(f"#!/bin/sh\n[ -e {asked} ] || echo '{ending}'\n: > {asked}\n")
    slurm.check_queue(commands.folder)
    assert asked.exists()
    commands.add("squeue", ending)
    monkeypatch.setattr(slurm, "WAIT", 0)
    slurm.check_queue(commands.folder)  # a node that does not answer keeps its jobs in this state
