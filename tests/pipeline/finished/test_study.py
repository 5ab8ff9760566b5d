"""Small study: outputs of `snakemake all`, and the jobs that run again after a change."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from palimpsest.analysis.tables import columns_of
from palimpsest.code_digest import TABLES, file_of
from palimpsest.data.encoding import write_picture
from palimpsest.data.formats import FORMATS
from palimpsest.devices import precision_for
from palimpsest.groups import TrainingSettings
from palimpsest.methods import METHODS as TABLE
from palimpsest.networks import NETWORKS
from palimpsest.storage.task_file import load_task, save_task
from palimpsest.tasks import KINDS
from tests.pipeline.conftest import Job, Study

pytestmark = pytest.mark.slow

SEQUENCE = ["coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch"]
RESIDUAL = ["resblock6", "resblock9"]
METHODS = ["scratch", "fine-tune", "decoder", "piggyback", *RESIDUAL]
MODELS = "models/mini/seed-0"
BASES = {"base/coco-seg", "autoencoder/coco-seg"}


def jobs(method: str) -> set[str]:
    """Return the trainings of a method as method/task; residual networks learn the base task too."""
    return {f"{method}/{task}" for task in (SEQUENCE if method in RESIDUAL else SEQUENCE[1:])}


LEARNED = BASES.union(*map(jobs, METHODS))


def test_a_second_run_has_nothing_to_do(finished: Study) -> None:
    assert "Nothing to be done" in finished.snakemake("all")


def test_more_cores_than_those_of_the_machine_rerun_nothing(finished: Study) -> None:
    assert "Nothing to be done" in finished.snakemake("all", "--cores", "8")


def test_every_cell_of_the_forgetting_matrix_is_measured(finished: Study) -> None:
    metrics = pd.read_csv(finished.folder / "results/mini/metrics.csv")
    assert list(metrics) == columns_of("metrics")
    for method in METHODS:
        cells = metrics[metrics.method == method].drop_duplicates(["task", "after"])
        expected = {(task, after) for n, after in enumerate(SEQUENCE) for task in SEQUENCE[: n + 1]}
        assert set(zip(cells.task, cells.after, strict=True)) == expected
    floor = metrics[metrics.method == "floor"]
    assert set(floor.task) == set(SEQUENCE) and (floor.task == floor.after).all()


def test_only_fine_tune_changes_the_predictions_of_earlier_tasks(finished: Study) -> None:
    metrics = pd.read_csv(finished.folder / "results/mini/metrics.csv")
    checksums = metrics.groupby(["method", "task"]).checksum.nunique()
    for method in set(METHODS) - {"fine-tune"}:
        assert (checksums[method] == 1).all()
    assert (checksums["fine-tune"][SEQUENCE[:-1]] == [5, 4, 3, 2]).all()


def test_every_cell_is_verified_unless_fine_tune_overwrote_it(finished: Study) -> None:
    verification = pd.read_csv(finished.folder / "results/mini/verification.csv", keep_default_na=False)
    assert list(verification) == ["seed", "method", "task", "after", "outcome", "reason"]
    assert len(verification) == len(METHODS) * 15
    forgotten = (verification.method == "fine-tune") & (verification.task != verification.after)
    assert set(verification[forgotten].outcome) == {"changed"}
    assert set(verification[~forgotten].outcome) == {"verified"}
    since_learned = json.loads((finished.folder / "results/mini/summary.json").read_text())["fine-tune"][
        "since_learned"
    ]
    assert since_learned == {"changed": 10, "not comparable": 0, "verified": 5}


def test_a_stored_task_overwritten_with_noise_is_measured_again_and_reported_as_changed(
    finished: Study, tmp_path: Path
) -> None:
    study = Study(Path(shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)))
    path = study.folder / MODELS / "scratch/voc-seg.safetensors"
    file = load_task(path)
    noise = [
        replace(part, tensors={name: torch.rand(tensor.shape) for name, tensor in part.tensors.items()})
        for part in file.components
    ]
    save_task(path, noise, file.provenance)
    study.snakemake("all")
    verification = pd.read_csv(study.folder / "results/mini/verification.csv", keep_default_na=False)
    changed = verification[(verification.method == "scratch") & (verification.task == "voc-seg")]
    assert list(changed.outcome) == ["changed"] * 4
    assert changed.reason.str.startswith("the stored task was altered: ").all()
    unchanged = verification[(verification.method == "scratch") & (verification.task != "voc-seg")]
    assert set(unchanged.outcome) == {"verified"}
    page = (study.folder / "results/mini/report.html").read_text("utf-8")
    assert "<b>A fault:</b> scratch cannot forget by construction." in page


def test_sizes_are_those_of_the_files(finished: Study) -> None:
    sizes = pd.read_csv(finished.folder / "results/mini/sizes.csv")
    mask_sizes = sizes[(sizes.method == "piggyback") & (sizes.task == "voc-seg")]
    assert mask_sizes["bytes"].sum() == (finished.folder / MODELS / "piggyback/voc-seg.safetensors").stat().st_size
    stored = load_file(finished.folder / MODELS / "piggyback/voc-seg.safetensors")
    bits = [tensor for name, tensor in stored.items() if name.endswith(".mask")]  # packed, or as codes
    assert mask_sizes.set_index("component")["bytes"]["mask"] == sum(tensor.nbytes for tensor in bits)


def test_the_base_networks_are_stored_once(finished: Study) -> None:
    files = {str(path.relative_to(finished.folder / MODELS)) for path in (finished.folder / MODELS).rglob("*.*")}
    assert {f"{MODELS}/{file}" for file in files} == left_by(LEARNED)


def test_the_summary_has_the_rows_of_the_studys_table(finished: Study) -> None:
    summary = json.loads((finished.folder / "results/mini/summary.json").read_text())
    assert list(summary) == ["floor", *METHODS]
    metrics = ("ssim", "mse", "ciede2000", "colourfulness")
    assert set(summary["piggyback"]["task 3 colorize"]) == {*metrics, *(f"{name}_se" for name in metrics)}
    assert "coco-seg after voc-seg" in summary["fine-tune"]["forgetting"]


def test_the_report_needs_no_other_file(finished: Study) -> None:
    page = (finished.folder / "results/mini/report.html").read_text("utf-8")
    assert "<img" in page and "data:image/" in page
    assert 'src="http' not in page and "<script src" not in page and '<link rel="stylesheet"' not in page


def test_every_training_is_a_finished_run_with_curves_and_final_figures(finished: Study) -> None:
    client, runs = finished.tracked()
    assert len(runs) == len(LEARNED)
    assert {run.info.status for run in runs} == {"FINISHED"}
    (run,) = [r for r in runs if (r.data.tags["method"], r.data.tags["task"]) == ("piggyback", "colorize")]
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [2, 4]
    assert {
        "final/coco-seg/miou",
        "final/voc-seg/miou",
        "final/colorize/ssim",
        "size/bytes/mask",
        "zeros/all",
    } <= set(run.data.metrics)
    counts = {
        key: run.data.metrics[f"pictures/{key}"] for key in ("train/pictures", "dev/pictures", "train/broken")
    }
    assert counts == {"train/pictures": 7, "dev/pictures": 1, "train/broken": 0}
    assert 0 < run.data.metrics["size/bits_per_weight/mask"] < 1.1
    assert run.data.metrics["size/bits_per_weight"] > run.data.metrics["size/bits_per_weight/mask"]
    assert client.list_artifacts(run.info.run_id, "samples")


def test_a_tracking_server_has_every_run(finished: Study) -> None:
    local, trainings = finished.tracked()
    team = type(local)(f"sqlite:///{finished.folder.with_name('team.db')}")
    experiment = team.get_experiment_by_name("palimpsest-mini")
    copies = {run.data.tags["source_run"]: run for run in team.search_runs([experiment.experiment_id])}
    assert {run.info.run_id for run in trainings} < copies.keys()
    for run_id, copy in copies.items():
        run = local.get_run(run_id)
        assert copy.info.status == run.info.status == "FINISHED"
        assert (copy.data.metrics, copy.data.params) == (run.data.metrics, run.data.params)
    names = sorted(copy.info.run_name for copy in copies.values() if copy.data.tags["rule"] != "train")
    assert names == sorted(
        [*(f"{method} · seed 0" for method in (*METHODS, "base", "autoencoder")), "report · mini"]
    )
    (version,) = team.search_model_versions("name = 'mini'")
    assert copies[local.search_model_versions("name = 'mini'")[0].run_id].info.run_id == version.run_id


@pytest.fixture(scope="module")
def inspected(finished: Study) -> dict[str, dict[str, Any]]:
    """Return the output of `palimpsest inspect` for every file of the study, and one picture per method."""
    below = [path for folder in ("models", "results") for path in (finished.folder / folder).rglob("[!.]*.*")]
    pictures = {path.parents[1]: path for path in below if path.suffix == ".png"}
    files_but_pictures = [path for path in below if path.suffix != ".png"]
    files = [str(path.relative_to(finished.folder)) for path in (*files_but_pictures, *pictures.values())]
    printed = finished.run("palimpsest", "inspect", *files).stdout
    reports = {entry["file"]: entry for entry in yaml.load_all(printed, yaml.CSafeLoader)}
    assert set(reports) == set(files)
    return reports


def test_every_file_has_settings_seed_commit_data_and_run(
    finished: Study, inspected: dict[str, dict[str, Any]]
) -> None:
    commit = finished.run("git", "rev-parse", "HEAD").stdout.strip()
    data = {}
    for task in SEQUENCE:
        info = (finished.folder / "data/mini/prepared" / task / "info.json").read_bytes()
        data[task] = hashlib.sha256(info).hexdigest()
    for file, report in inspected.items():
        if file == "results/mini/bundle.safetensors":
            assert {task["method"] for task in report["tasks"].values()} == {"base", "piggyback"}
            continue
        trainings = [report] if file.startswith("models/") else report["measures"].values()
        assert len(trainings) or "/floor/" in file
        for training in trainings:
            assert (training["seed"], training["commit"]) == (0, commit)
            assert training["data_sha256"] == data[training["task"]]
            assert [task["name"] for task in training["settings"]["tasks"]] == [training["task"]]
            assert training["settings"]["training"]["precision"] == precision_for(TrainingSettings())
            assert len(training["mlflow_run"]) == 32
        if file.startswith("results/"):
            assert report["measured_with"]
            for measuring in report["measured_with"].values():
                assert (measuring["commit"], measuring["data_sha256"]) == (commit, data)
                assert measuring["settings"]["sequence"] == SEQUENCE
    assert len(inspected["results/mini/report.html"]["measured_with"]) == 1 + len(METHODS)
    shown = LEARNED - {"autoencoder/coco-seg"}  # the auto-encoder is no task
    assert set(inspected["results/mini/report.html"]["measures"]) == {f"{MODELS}/{m}.safetensors" for m in shown}


def test_every_run_names_its_file_and_the_file_its_run(
    finished: Study, inspected: dict[str, dict[str, Any]]
) -> None:
    commit = finished.run("git", "rev-parse", "HEAD").stdout.strip()
    _, runs = finished.tracked()
    files = {file for file in inspected if file.startswith("models/") and file.endswith(".safetensors")}
    assert {run.data.tags["file"] for run in runs} == files
    for run in runs:
        file = inspected[run.data.tags["file"]]
        assert file["mlflow_run"] == run.info.run_id
        for tag in ("sha256", "data_sha256", "preset", "method", "task"):
            assert run.data.tags[tag] == file[tag]
        assert (run.data.tags["seed"], run.data.tags["rule"]) == ("0", "train")
        assert run.data.tags["mlflow.source.git.commit"] == commit
        assert run.data.tags["code_changed"] == "false"


def test_every_module_that_a_job_imports_triggers_its_rerun(finished: Study) -> None:
    (jobs,) = finished.graphs(("all", {}))
    maker = {path: job for job in jobs for path in job.output}
    rows = [*TABLE.values(), *KINDS.values(), *NETWORKS.values(), *FORMATS.values()]
    settings = {row.settings.partition(":")[0] for row in rows if row.settings}
    in_parameters = {
        str(file_of(module)) for module in {*TABLES, *settings}
    }  # a job's rows of the tables are among its parameters

    def noticed(job: Job) -> set[str]:
        """Return the code of a job and of the jobs before it."""
        return {*job.code}.union(*(noticed(maker[path]) for path in job.input if path in maker))

    for job in jobs:
        imported = set((finished.imports / Path(job.log).name).read_text().splitlines())
        assert f"pipeline/{job.rule.split('_')[0]}.py" in imported
        assert imported - in_parameters <= noticed(job), job.log


def test_logs_have_a_line_per_epoch(finished: Study) -> None:
    lines = (finished.folder / "logs/mini/train-0-piggyback-voc-seg.log").read_text().splitlines()
    assert [line.split("step ")[1].split()[0] for line in lines if "step " in line] == ["2/4", "4/4"]


def stored(paths: set[str]) -> set[str]:
    """Return the stored tasks among planned outputs as method/task."""
    files = {Path(path) for path in paths if path.endswith(".safetensors") and path.startswith("models/")}
    return {"/".join(path.with_suffix("").parts[-2:]) for path in files}


def left_by(trainings: set[str]) -> set[str]:
    """Return the files of trainings, which are method/task."""
    return {
        f"{MODELS}/{training}{suffix}" for training in trainings for suffix in (".safetensors", ".predictions.json")
    }


def measured(methods: list[str]) -> set[str]:
    """Return the outputs of evaluating these methods and the floor, and the tables and page of all methods."""
    evaluation = "results/mini/evaluation/seed-0"
    in_detail = ("growth", "costs", "losses", "zeros", "similarity")
    written = ("metrics", "sizes", "diagnostics", "verification", *in_detail)
    files = (*(f"{table}.csv" for table in written), "origin.json", "samples")
    of_floor = {f"{evaluation}/floor/{file}" for file in ("metrics.csv", "origin.json", "samples")}
    tables = ("metrics.csv", "sizes.csv", "diagnostics.csv", "forgetting.csv", "verification.csv", "summary.json")
    tables += ("quality.csv", "comparisons.csv", "conditions.json")
    tables += tuple(f"analysis/{table}.csv" for table in in_detail)
    return {
        *(f"{evaluation}/{method}/{file}" for method in methods for file in files),
        *(of_floor if methods == METHODS else ()),
        *(f"results/mini/{file}" for file in (*tables, "report.html")),
        *(["results/mini/bundle.safetensors"] if "piggyback" in methods else []),
    }


def test_the_weight_of_a_style_reruns_its_trainings_and_their_evaluations_alone(
    finished: Study,
) -> None:
    planned = finished.planned("--config", "tasks={style-munch: {style_weight: 9}}")
    trainings = {f"{method}/style-munch" for method in METHODS}
    assert planned == left_by(trainings) | measured(METHODS)


def test_methods_that_start_from_the_previous_task_are_retrained_with_it(finished: Study) -> None:
    planned = finished.planned("--config", "tasks={colorize: {loss: l2}}")
    colorize = {f"{method}/colorize" for method in METHODS}
    assert stored(planned) == colorize | {f"fine-tune/{task}" for task in SEQUENCE[2:]}


def test_a_methods_setting_reruns_that_method_alone(finished: Study) -> None:
    planned = finished.planned("--config", "method_settings={piggyback: {score_learning_rate: 0.5}}")
    assert planned == left_by(jobs("piggyback")) | measured(["piggyback"])


def test_a_task_of_the_user_reruns_no_other_training(finished: Study, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for side in ("input", "target"):
            (tmp_path / "edges" / split / side).mkdir(parents=True)
    added = "edges: {kind: paired, data: edges}"
    data = f"edges: {{format: paired, source: directory, root: {tmp_path / 'edges'}}}"
    planned = finished.planned(
        "--config", f"tasks={{{added}}}", f"datasets={{{data}}}", f"sequence=[{','.join([*SEQUENCE, 'edges'])}]"
    )
    new = left_by({f"{method}/edges" for method in METHODS})
    new |= {f"data/mini/prepared/edges/{file}" for file in ("picture.npy", "index.csv", "info.json")}
    assert planned == new | {"data/mini/raw/edges/manifest.json"} | measured(METHODS)


def test_a_task_of_the_user_is_learned_and_is_in_every_table(finished: Study, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "project")
    study = Study(tmp_path / "project")
    pairs = tmp_path / "edges"
    random = np.random.default_rng(0)
    for split, count in {"train": 8, "val": 4}.items():
        for number in range(count):
            picture = random.integers(0, 256, (40, 44, 3), np.uint8)
            write_picture(pairs / split / "target" / f"{number}.png", picture)
            write_picture(pairs / split / "input" / f"{number}.png", 255 - picture)
    params = study.params()
    params["presets"]["mini"]["datasets"]["edges"] = {"format": "paired", "source": "directory", "root": str(pairs)}
    params["presets"]["mini"]["tasks"]["edges"] = {"kind": "paired", "data": "edges"}
    params["defaults"]["sequence"].append("edges")
    study.write_params(params)
    before = {path: path.read_bytes() for path in (study.folder / "models").rglob("*.safetensors")}
    study.snakemake("all")
    assert {path: path.read_bytes() for path in before} == before
    results = study.folder / "results/mini"
    metrics = pd.read_csv(results / "metrics.csv")
    assert set(metrics[metrics.task == "edges"].method) == {"floor", *METHODS}
    assert set(pd.read_csv(results / "sizes.csv").query("task == 'edges'").method) == set(METHODS)
    assert "task 6 edges" in json.loads((results / "summary.json").read_text())["piggyback"]
    assert "edges" in (results / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("methods/piggyback.py", jobs("piggyback")),
        ("methods/resblock.py", jobs("resblock6") | jobs("resblock9")),
        ("report/page.py", set()),
        ("metrics/perceptual.py", {f"{m}/{task}" for m in METHODS for task in ("style-gogh", "style-munch")}),
    ],
)
def test_editing_a_module_reruns_the_jobs_that_import_it(finished: Study, module: str, again: set[str]) -> None:
    path = finished.folder / "src/palimpsest" / module
    before = path.read_text()
    try:
        path.write_text(before + "\nEDITED = True\n")
        planned = finished.planned()
        assert stored(planned) == again
        assert "results/mini/report.html" in planned
    finally:
        path.write_text(before)


def test_the_report_of_snakemake_has_every_table_with_its_caption(finished: Study, tmp_path: Path) -> None:
    finished.run("snakemake", "--report", str(tmp_path / "report.html"))
    html = (tmp_path / "report.html").read_text("utf-8")
    for category in ("Quality", "Forgetting", "Sizes and masks", "Trainings", "Summary"):
        assert f'"{category}"' in html
    assert "Mean of each part of the training loss in each epoch" in html
    assert not re.search(r'(src|href)="https?:', html)


def test_every_training_of_one_task_has_its_losses(finished: Study) -> None:
    losses = pd.read_csv(finished.folder / "results/mini/analysis/losses.csv").query("name == 'loss'")
    assert losses.groupby(["method", "task"])["step"].apply(list).to_dict() == {
        (method, task): [2, 4] for method in METHODS for task in SEQUENCE
    }


def test_a_wrong_setting_gives_one_line_before_any_work(finished: Study) -> None:
    printed = finished.snakemake("all", "--config", "training={stepz: 3}", check=False)
    assert "training.stepz: unknown setting; did you mean 'steps'?" in printed
    assert "Traceback" not in printed
