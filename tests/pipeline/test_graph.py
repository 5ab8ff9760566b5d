"""Dependencies between jobs of the real Snakefile and stages of the real dvc.yaml, without outputs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from palimpsest.adoption import INPUTS
from tests.methods.test_documented import BLOCKS
from tests.pipeline.conftest import ROOT, Job, Study, copied

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
Stages = dict[str, list[Job]]

EVERYTHING: dict[str, Any] = {
    "preset": "real",
    "methods": "all",
    "datasets": {"edges": {"format": "paired", "source": "directory", "root": "edges"}},
    "tasks": {"edges": {"kind": "paired", "data": "edges"}},
    "sequence": ["coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch", "edges"],
}
"""Settings with all kinds of tasks and with networks of downloaded weights, so that every rule has a job."""

CHANGES: dict[str, dict[str, Any]] = {
    "data_root": {"data_root": "elsewhere"},
    "seeds": {"seeds": [1]},
    "defaults": {"pictures": {"size": 240}},
    "presets.${preset}": {"pictures": {"size": 240}},
}
"""Parameters that DVC may name, each with a changed value of it or of a setting below it."""


@pytest.fixture(scope="module")
def graphs(unmade: Study) -> list[Stages]:
    """Return the jobs of each DVC stage with the settings as they are and after each change.

    A stage runs the jobs of its target that no earlier stage runs.
    """
    for name in ("edges", *(f"elsewhere/coco/{split}2017" for split in ("train", "val", "unlabeled"))):
        (unmade.folder / name).mkdir(parents=True)
    annotations = unmade.folder / "elsewhere/coco/annotations"
    annotations.mkdir()
    for split in ("train", "val"):
        (annotations / f"instances_{split}2017.json").touch()
    (unmade.folder / "elsewhere/voc").mkdir()
    targets = [stage["cmd"].removeprefix("snakemake ") for stage in STAGES.values()]
    configs = [EVERYTHING, *({**EVERYTHING, **change} for change in CHANGES.values())]
    planned = iter(unmade.graphs(*((target, config) for config in configs for target in targets)))
    stages_of_configs = []
    for _ in configs:
        done: set[str] = set()
        stages = {}
        for name in STAGES:
            jobs = next(planned)
            stages[name] = [job for job in jobs if job.log not in done]
            done |= {job.log for job in jobs}
        stages_of_configs.append(stages)
    return stages_of_configs


@pytest.fixture
def stages(graphs: list[Stages]) -> Stages:
    """Return the jobs of each stage with the settings as they are."""
    return graphs[0]


@pytest.fixture
def jobs(stages: Stages) -> list[Job]:
    """Return all jobs."""
    return [job for jobs in stages.values() for job in jobs]


def test_every_script_of_the_pipeline_affects_its_rule_alone(jobs: list[Job]) -> None:
    for job in jobs:
        entries = {file for file in job.code if file.startswith("pipeline/")}
        assert entries == {"pipeline/__init__.py", f"pipeline/{job.rule.split('_')[0]}.py"}


def test_a_new_method_affects_its_jobs_and_the_tables_alone(tmp_path: Path) -> None:
    study = copied(tmp_path / "study")
    methods = study.folder / "src/palimpsest/methods"
    code, entry = BLOCKS
    chosen = ["scratch", "piggyback"]
    (before,) = study.graphs(("all", {"methods": chosen}))
    (methods / "gain.py").write_text(code, "utf-8")
    table = (methods / "__init__.py").read_text("utf-8")
    first = "METHODS: dict[str, Entry] = {\n"
    (methods / "__init__.py").write_text(table.replace(first, first + entry), "utf-8")
    (after,) = study.graphs(("all", {"methods": [*chosen, "gain"]}))
    assert "src/palimpsest/methods/__init__.py" not in {file for job in after for file in job.code}
    new = [job for job in after if job not in before]
    assert {job.rule for job in new if job.wildcards.get("method") != "gain"} == {"collect", "report"}
    assert len(new) == 2 + 4 + 1  # the tables and the page, four trainings, one evaluation


COMPOSITIONS = [
    {"first": "colorize", "second": "voc-seg", "method": "resblock6", "ways": ["two-stage"]},
    {"first": "style-gogh", "second": "style-munch", "method": "piggyback", "ways": ["blend"]},
]


def test_a_composition_depends_on_its_tasks_and_no_other_job_on_it(unmade: Study) -> None:
    config = {"preset": "real", "compositions": COMPOSITIONS}
    changed = {"preset": "real", "compositions": [COMPOSITIONS[0], {**COMPOSITIONS[1], "steps": 9}]}
    before, after, without, default = unmade.graphs(
        ("compositions", config), ("compositions", changed), ("all", config), ("all", {"preset": "real"})
    )
    assert without == default
    assert {job.log for job in before if job not in after} == {
        "logs/real/compose-piggyback-style-gogh+style-munch.log"
    }
    blocks, masks = (job for job in before if job.rule == "compose")
    folder = "results/real/compositions"
    for job, name in ((blocks, "resblock6-colorize+voc-seg"), (masks, "piggyback-style-gogh+style-munch")):
        assert job.output == tuple(f"{folder}/{name}/{file}" for file in ("grid.png", "metrics.csv", "origin.json"))
        assert {"pipeline/compose.py", "src/palimpsest/composition.py"} <= {*job.code}
    models, arrays = "models/real/seed-0", "data/real/prepared"
    assert {*blocks.input} == {
        f"{models}/autoencoder/coco-seg.safetensors",
        *(f"{models}/resblock6/{task}.safetensors" for task in ("colorize", "voc-seg")),
        *(f"{arrays}/{task}/info.json" for task in ("colorize", "voc-seg")),
    }
    assert {*masks.input} == {
        f"{models}/base/coco-seg.safetensors",
        *(f"{models}/piggyback/{task}.safetensors" for task in ("style-gogh", "style-munch")),
        *(f"{arrays}/{task}/info.json" for task in ("style-gogh", "style-munch")),
        *("styles/starry-night.jpg", "styles/the-scream.jpg", "data/real/raw/weights/squeezenet.pth"),
    }
    assert "src/palimpsest/methods/resblock.py" in {*blocks.code} - {*masks.code}
    assert {"src/palimpsest/methods/piggyback.py", "src/palimpsest/tasks/style.py"} <= {*masks.code} - {
        *blocks.code
    }


def names(entries: list[Any]) -> set[str]:
    """Return the paths of entries of dvc.yaml, with or without options."""
    return {name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)}


def summed_up(paths: set[str], by: set[str]) -> set[str]:
    """Replace paths by DVC's names of them or of a parent folder; other paths stay."""
    general = {path.replace(f"/{EVERYTHING['preset']}/", "/${preset}/") for path in paths}
    return {next((name for name in by if f"{path}/".startswith(f"{name}/")), path) for path in general}


def test_checked_dates_are_those_of_inputs_and_not_of_source_files(jobs: list[Job]) -> None:
    outputs = {path for job in jobs for path in job.output}
    inputs = {path for job in jobs for path in job.input} - outputs
    assert summed_up(inputs, {*INPUTS}) == {*INPUTS}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_of_dvc_has_the_inputs_and_outputs_of_the_rules_it_runs(stages: Stages, stage: str) -> None:
    outputs = {path for job in stages[stage] for path in job.output}
    inputs = {path for job in stages[stage] for path in (*job.input, *job.code)} - outputs
    deps = names(STAGES[stage]["deps"])
    outs = names(STAGES[stage]["outs"]) | names(STAGES[stage].get("metrics", []))
    assert summed_up(inputs, deps) | {"Snakefile"} == deps
    assert summed_up(outputs, outs) == outs


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_of_dvc_has_the_settings_of_the_rules_it_runs(graphs: list[Stages], stage: str) -> None:
    before, *after = (stages[stage] for stages in graphs)
    changing = {key for key, jobs in zip(CHANGES, after, strict=True) if jobs != before}
    assert set(STAGES[stage]["params"]) == changing | {"preset"}  # every path holds the preset's name
