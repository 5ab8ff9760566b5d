"""Settings, paths and functions that the rules share."""

import logging
import os
import re
import sys
import threading
import time
from functools import cache
from glob import glob
from pathlib import Path

import pipeline  # sets a higher threshold of garbage collection, which saves a tenth of the time

try:
    from palimpsest import adoption, machine, preflight, provenance, slurm, stage
    from palimpsest.code_digest import stage_digest
    from palimpsest.data.formats import FORMATS
    from palimpsest.errors import PalimpsestError
    from palimpsest.explaining import EXPERIMENTS, FIXED, MASKED, experiments_of
    from palimpsest.jobs import composition_job, evaluation_job, preparation_job, training_job
    from palimpsest.layout import CURRENT, SNAKEMAKE, Layout
    from palimpsest.methods import BASE, BASES, METHODS, entry_of
    from palimpsest.output import survive_any_output
    from palimpsest.params import read, resolve
    from palimpsest.processes.run_lock import hold_run_lock
    from palimpsest.progress import Progress, work_of
    from palimpsest.provenance import digest
    from palimpsest.settings import FLOOR, REFERENCE
    from palimpsest.variants import (
        ablations_of,
        changed_settings,
        sweep_tables,
        sweeps_of,
        takes_reference,
        variants_of,
        vary,
    )
    from palimpsest.task_files import TaskFiles
    from palimpsest.tasks import KINDS
    from palimpsest.tracking import database
    from palimpsest.tracking.server import server_uri, shown
    from palimpsest.tracking.service import open_store, start_service
except SyntaxError as error:
    sys.exit(f"error: {os.path.relpath(error.filename)}, line {error.lineno or 1}: {error.msg}; correct the file")

survive_any_output()
try:
    IS_RUN = workflow.is_main_process  # on a cluster, Snakemake starts itself again in each job
    CONTENT = read(Path("params.yaml")) if IS_RUN else stage.passed_settings({})[0]
    SETTINGS = resolve(CONTENT, config)
    SWEEPS = sweeps_of(CONTENT, config)
    ABLATIONS = ablations_of(CONTENT, config)
    VARIANTS = [CURRENT, *variants_of(CONTENT, config)]
    if IS_RUN:
        preflight.check_settings(SETTINGS)
        adoption.check_dates(SETTINGS.layout)
        database.check_database()
        IS_ONLY_RUN = hold_run_lock(SNAKEMAKE)
except PalimpsestError as error:
    sys.exit(f"error: {error}")

LAYOUT = SETTINGS.layout
RESULTS = LAYOUT.results
LOGS = LAYOUT.logs
stage.pass_settings(CONTENT, config)
logging.raiseExceptions = False  # on a full disk: no traceback for every line of Snakemake's log


def any_of(names):
    """Return a pattern that matches exactly these names; without names it matches nothing."""
    return "|".join(names) or "(?!)"


SEQUENTIAL = [name for name, entry in METHODS.items() if entry.starts_from == "previous"]
JOINT = [name for name, entry in METHODS.items() if entry.together]
INDEPENDENT = [name for name in METHODS if name not in (*SEQUENTIAL, *JOINT)]


wildcard_constraints:
    seed="|".join(map(str, SETTINGS.seeds)),
    method=any_of([*BASES, *METHODS]),
    task="|".join(SETTINGS.sequence),
    dataset="|".join(SETTINGS.datasets),
    variant=any_of(map(re.escape, VARIANTS)),
    ablation=any_of(map(re.escape, ABLATIONS)),
    composition=any_of(map(re.escape, SETTINGS.composed)),


def reported(path, caption, category):
    """Return an output that `snakemake --report` shows under a category, with a caption of `pipeline/captions`."""
    return report(path, f"../captions/{caption}.rst", category=category, labels={"file": path.name})


def on_cluster():
    """Return True if a cluster runs the jobs, or if this process is in such a job.

    Snakemake knows its executor only after it has read the rules; functions return resources for this reason. In a
    dry run the executor is another one, and the largest number of jobs in the queue shows that a cluster is meant.
    """
    return not IS_RUN or not workflow.local_exec or (workflow.dryrun and workflow.nodes is not None)


def gpus(wildcards):
    """Return the `gpu` resource of a job: 0 without a GPU or with `accelerator: cpu`.

    On a cluster, the nodes have the GPUs; `accelerator: cuda` asks for them even if SLURM lists none.
    """
    training = SETTINGS.training
    if training.accelerator == "cpu":
        return 0
    if not on_cluster():
        return min(machine.gpus(), training.devices)
    return training.devices if training.accelerator == "cuda" else min(slurm.gpus(), training.devices)


def growing(amount):
    """Return a resource of a job that grows with its attempts.

    SLURM ends a job that exceeds its memory or time. With `retries`, the next attempt gets more.
    """
    return lambda wildcards, attempt: amount * attempt


def refuse_earlier_jobs():
    """Stop before any work if jobs that a killed run left in SLURM's queue could make the same files."""
    if workflow.local_exec or not IS_ONLY_RUN:
        return
    try:
        slurm.check_queue(Path.cwd())
    except PalimpsestError as error:
        sys.exit(f"error: {error}")


def check_devices():
    """Stop before any work if a training needs more devices than this machine has."""
    if workflow.local_exec and any(job.rule.name.startswith("train") for job in workflow.dag.needrun_jobs()):
        try:
            preflight.check_devices(SETTINGS)
        except PalimpsestError as error:
            sys.exit(f"error: {error}")


def announce_downloads():
    """Print a line on stderr about the files that the run downloads, if any."""
    names = {"raw": [], "weights": [], "encoder": []}
    for job in workflow.dag.needrun_jobs():
        if job.rule.name in names:
            names[job.rule.name] += dict(job.wildcards_dict).values()
    if any(names.values()):
        from palimpsest.download_note import download_note  # here, since every job would wait for the import

        note = download_note(SETTINGS, *map(sorted, names.values()))
        if note:
            print(f"note: {note}", file=sys.stderr)


def send_runs():
    """Send the runs to the tracking server, if there is one, and print a line on stderr about it."""
    uri = server_uri(SETTINGS.tracking.uri)
    if uri is None:
        return
    try:
        with open_store() as store:
            note = f"{shown(uri)} has all runs of mlflow.db ({store.send(uri)} sent last)"
    except PalimpsestError as error:
        note = error
    print(f"note: {note}", file=sys.stderr)


def show_progress():
    """Start a thread that prints how much of the run is done and how long the rest takes; it ends with the process."""
    jobs = list(workflow.dag.needrun_jobs())
    work = [
        work_of(job.rule.name, job.params.get("settings", ""), Path(job.log[0]) if job.log else None)
        for job in jobs
    ]
    progress = Progress(work, lambda: [workflow.dag.finished(job) for job in jobs], time.time())
    threading.Thread(target=progress.show, args=[threading.Event()], daemon=True).start()


def claim(threads):
    """Return a function that returns the number of cores that a job with this number of threads reserves.

    `--cores 8` on a machine with two cores must not start more jobs than two cores can run. On a cluster, the
    scheduler has the cores.
    """

    def cores_of_job(wildcards):
        if on_cluster():
            return threads
        existing = machine.cores()
        return max(1, min(threads, existing) * max(1, workflow.cores // existing))

    return cores_of_job


def training_threads():
    """Return the number of CPU threads of a training in all its processes; each CPU device is one process."""
    training = SETTINGS.training
    return training.threads * (training.devices if training.accelerator == "cpu" else 1)


def code(stage, methods=(), tasks=(), kinds=(), datasets=(), modules=(), settings=SETTINGS):
    """Return the digest of the code that a stage runs for these methods, tasks, kinds of task and data sets.

    ``modules`` are others that the stage imports by name.
    """
    try:
        kinds = [*kinds, *(settings.tasks[name].kind for name in tasks)]
        networks = [settings.network_of(method).name for method in methods]
        formats = [settings.datasets[name].format for name in datasets]
        return stage_digest(stage, methods, kinds, networks, formats, modules)
    except PalimpsestError as error:
        sys.exit(f"error: {error}")


def code_of_training(wildcards):
    """Return the digest of the code that a training runs.

    The kinds of task come from the job, since the auto-encoder has a task of its own.
    """
    kinds = sorted({task.settings.kind for task in training(wildcards).tasks})
    return code("train", methods=[wildcards.method], kinds=kinds, settings=settings_of(wildcards))


def code_of_experiment(wildcards):
    """Return the digest of the code that an experiment runs."""
    experiment = EXPERIMENTS[wildcards.experiment]
    modules = [experiment.path.split(":")[0], *experiment.modules]
    return code("explain", methods=[MASKED, FIXED, REFERENCE, BASE], tasks=[wildcards.task], modules=modules)


def training(wildcards):
    """Return the settings that a training depends on."""
    return training_job(settings_of(wildcards), int(wildcards.seed), wildcards.method, wildcards.task)


def entry(wildcards):
    """Return the entry of a method in `METHODS` as text."""
    return str(entry_of(wildcards.method))


def task_files(seed, method, settings=SETTINGS):
    """Return the files of a method and seed along the sequence."""
    return TaskFiles(settings.layout, seed, method, settings.sequence)


def kind_of(task):
    """Return the row of a task's kind in the table of kinds."""
    return KINDS[SETTINGS.tasks[task].kind]


def format_of(dataset):
    """Return the row of a data set's format in the table of formats, as text."""
    return str(FORMATS[SETTINGS.datasets[dataset].format])


def task_inputs(tasks):
    """Return the files that the settings of these tasks name, each once."""
    return list(dict.fromkeys(path for name in tasks for path in SETTINGS.tasks[name].files()))


def fetched_weights(tasks):
    """Return the files of weights that the rules `weights` and `encoder` make for the network and these tasks."""
    files = [*task_inputs(tasks), SETTINGS.network.initial_weights]
    return [path for path in files if path and path.parent == LAYOUT.weights]


@cache
def varied(name):
    """Return the settings of a variant. The call is late, so that an invalid variant stops only its own table."""
    try:
        return vary(CONTENT, config, name)
    except PalimpsestError as error:
        sys.exit(f"error: {error}")


def settings_of(wildcards):
    """Return the settings of a job: of a variant, or of the preset."""
    return varied(wildcards.variant) if "variant" in wildcards.keys() else SETTINGS


def of_variant(wildcards):
    """Return the option `--variant` of a job, empty for jobs of the preset itself."""
    return f" --variant {wildcards.variant}" if "variant" in wildcards.keys() else ""


def composition(wildcards):
    """Return the settings that a composition depends on."""
    return composition_job(SETTINGS, wildcards.composition)


def composed_files(wildcards):
    """Return the stored tasks that a composition combines."""
    job = composition(wildcards)
    return task_files(job.seed, job.method).files(job.sequence)


def starting_points(wildcards):
    """Return the stored tasks that a training starts from."""
    return task_files(wildcards.seed, wildcards.method, settings_of(wildcards)).starting_files(wildcards.task)


def encoder_weights(wildcards):
    """Return the files of initial weights of a training's network."""
    return training(wildcards).initial_weights()
