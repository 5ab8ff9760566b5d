"""Profiles of Snakemake, and the resources that rules ask of a cluster, without a cluster."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_args

from palimpsest.slurm import PREFIX
from tests.pipeline.conftest import ROOT, Job, Study
from tests.pipeline.test_graph import EVERYTHING

PROFILE = ROOT / "profiles" / "slurm" / "profile.yaml"
TARGETS = ("all", "sweep", "ablations", "compositions", "explain")
RULE = re.compile(r"^(?:use rule \w+ as|rule) (\w+)", re.MULTILINE)
TRAININGS = {"train", "train_base", "train_in_turn"}

Parse = Callable[..., Any]


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Return a function that parses a command line of Snakemake with a profile of the repository."""
    monkeypatch.chdir(ROOT)
    return lambda profile, *arguments: parse_args(["--workflow-profile", profile, *arguments])[1]


def test_snakemake_accepts_every_option_of_the_profile(parse: Parse) -> None:
    options = parse("profiles/slurm", "all")
    assert (options.executor, options.slurm_status_command, options.slurm_requeue) == ("slurm", "squeue", True)
    assert (options.jobs, options.retries, options.rerun_incomplete) == (100, 3, True)
    assert options.slurm_jobname_prefix == PREFIX  # the search for jobs of an earlier run
    assert not options.resources  # no limit of GPUs, as one machine has
    assert {option.name.lower().replace("_", "-") for option in options.shared_fs_usage} == {
        *yaml.safe_load(PROFILE.read_text("utf-8"))["shared-fs-usage"]
    }


def test_snakemake_refuses_an_unknown_option_of_a_profile(parse: Parse, tmp_path: Path) -> None:
    text = PROFILE.read_text("utf-8")
    (tmp_path / "profile.yaml").write_text(f"{text}\nslurm-request: true\n", "utf-8")
    with pytest.raises(SystemExit):
        parse(str(tmp_path), "all")


def test_the_commented_options_of_the_profile_are_resources_of_the_plugin(parse: Parse, tmp_path: Path) -> None:
    text = re.sub(r"^(  )# (slurm_\w+: )", r"\1\2", PROFILE.read_text("utf-8"), flags=re.MULTILINE)
    (tmp_path / "profile.yaml").write_text(text, "utf-8")
    resources = parse(str(tmp_path), "all").default_resources
    assert {"nodes", "slurm_account", "slurm_partition"} <= {*resources.keys()}


@pytest.fixture(scope="module")
def jobs(unmade: Study) -> list[Job]:
    """Return the jobs of all targets, with settings in which every rule has a job."""
    (unmade.folder / "edges").mkdir(exist_ok=True)
    graphs = unmade.graphs(("all", EVERYTHING), *((target, {}) for target in TARGETS))
    return [job for graph in graphs for job in graph]


def test_every_rule_with_a_job_asks_for_memory_and_time(jobs: list[Job]) -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "pipeline" / "rules").glob("*.smk")]
    targets = {"sweep", "ablations", "compositions"}
    assert {job.rule for job in jobs} == {name for text in texts for name in RULE.findall(text)} - targets
    for job in jobs:
        assert job.resources["mem_mb"] >= 1000, job.rule
        assert job.resources["runtime"] >= 30, job.rule


@dataclass(frozen=True)
class WithSlurm(Study):
    """Study on a machine whose `sinfo` lists GPUs; the machine itself has none."""

    commands: Path

    def environment(self) -> dict[str, str]:
        before = super().environment()
        return {**before, "PATH": os.pathsep.join([str(self.commands), before["PATH"]])}


def asked(study: Study, *options: str) -> dict[str, dict[str, int]]:
    """Return the resources of each rule in a dry run with the profile."""
    printed = study.run("snakemake", "--workflow-profile", "profiles/slurm", "-n", "all", *options).stdout
    rules = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)\n", printed, re.MULTILINE)
    return {
        rule: {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)\b", resources)}
        for rule, resources in rules
    }


def test_resources_grow_with_the_attempts_and_can_be_set(unmade: Study, jobs: list[Job]) -> None:
    first = {job.rule: job.resources for job in jobs}
    second = asked(unmade, "--attempt", "2", "--set-resources", "train:mem_mb=32000", "train:runtime=2880")
    for resource in ("mem_mb", "runtime"):
        assert second["train_base"][resource] == 2 * first["train_base"][resource]
    assert (second["train"]["mem_mb"], second["train"]["runtime"]) == (32000, 2880)


def test_trainings_ask_for_a_gpu_where_the_nodes_have_one(unmade: Study, tmp_path: Path) -> None:
    study = WithSlurm(unmade.folder, tmp_path)
    for name, lines in {"sinfo": "echo '(null)'\necho 'gpu:a100:4(S:0-1)'\n", "squeue": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}")
        (tmp_path / name).chmod(0o755)
    two = {
        rule: resources.get("gpu") for rule, resources in asked(study, "--config", "training={devices: 2}").items()
    }
    assert {rule for rule, number in two.items() if number is not None} == {*TRAININGS, "evaluate", "floor"}
    assert two["train"] == 2
    none = asked(study, "--config", "training={accelerator: cpu}")
    assert {resources.get("gpu", 0) for resources in none.values()} == {0}
