"""SLURM on this machine: one node with its daemons, ports, files and key, beside any SLURM that is there."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue")
FOLDERS = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
"""Folders of the programs; those of daemons are not in the path of every user."""
STARTED = 30.0
"""Seconds for the daemons to start and to end."""
CORES, MEMORY = 2, 9000

CONFIGURATION = """
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES State=UP
"""


def missing() -> list[str]:
    """Return the programs of SLURM that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program, path=FOLDERS) is None]


@dataclass(frozen=True)
class Cluster:
    """Running SLURM of one node with two cores and, as far as SLURM knows, two GPUs."""

    configuration: Path

    def environment(self) -> dict[str, str]:
        """Return the variables with which commands of SLURM reach this cluster."""
        folder = self.configuration.parent
        return {"SLURM_CONF": str(self.configuration), "PATH": os.pathsep.join([str(folder / "bin"), FOLDERS])}

    def command(self, *command: str) -> str:
        """Return the output of a command of SLURM."""
        environment = {**os.environ, **self.environment()}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def jobs(self) -> dict[str, str]:
        """Return the active jobs: their numbers by the comments, as `rule_train_base_wildcards_0_base_coco-seg`."""
        lines = self.command("squeue", "--noheader", "--format=%k %i").splitlines()
        return dict(line.split() for line in lines)


def free_ports(number: int) -> list[int]:
    """Return ports that no program listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Start SLURM with all its files in ``folder``, yield it when its node is ready, and end its daemons.

    ``folder`` needs a short path, since a socket's path has at most 107 characters.
    """
    folder.chmod(0o755)  # munged refuses a private folder for its socket
    user, cores = getpass.getuser(), min(CORES, os.cpu_count() or 1)
    cluster = Cluster(folder / "slurm.conf")
    for name in ("bin", "state", "spool"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(folder=folder, user=user, ports=free_ports(2), cores=cores, memory=MEMORY)
    cluster.configuration.write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    # Snakemake's plugin removes SLURM_CONF from the environment of `srun`.
    srun = folder / "bin" / "srun"
    srun.write_text(
        f'#!/bin/sh\nSLURM_CONF={cluster.configuration} exec {shutil.which("srun", path=FOLDERS)} "$@"\n'
    )
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{ending}" for option, ending in files.items()]
    commands = [["munged", "--foreground", *munge], ["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"]]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "daemons.log").open("wb") as log:
            for command in commands:
                environment = {**os.environ, **cluster.environment()}
                daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
                daemons.append(daemon)
                if command[0] == "munged":
                    wait_for((folder / "munge.socket").exists, folder, daemons)
        wait_for(lambda: is_ready(cluster), folder, daemons)
        try:
            yield cluster
        finally:  # jobs do not end with the daemons
            cluster.command("scancel", "--user", user)
            wait_for(lambda: not cluster.jobs(), folder, daemons)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(STARTED)
            except subprocess.TimeoutExpired:
                daemon.kill()


def is_ready(cluster: Cluster) -> bool:
    """Return True if the node accepts jobs."""
    try:
        return cluster.command("sinfo", "--noheader", "--format=%t").strip() == "idle"
    except subprocess.CalledProcessError:  # the controller does not listen yet
        return False


def wait_for(condition: Callable[[], bool], folder: Path, daemons: "list[subprocess.Popen[bytes]]") -> None:
    """Wait until the condition holds; fail with the log if a daemon ends or the time is over."""
    latest = time.monotonic() + STARTED
    while not condition():
        ended = any(daemon.poll() is not None for daemon in daemons)
        assert not ended and time.monotonic() < latest, (folder / "daemons.log").read_text()[-4000:]
        time.sleep(0.1)
