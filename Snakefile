"""The whole study. `snakemake --cores 8 all` makes everything; `snakemake -n all` lists the missing outputs.

Settings are in params.yaml; the command line overrides them: `--config preset=real data_root=/path`.
"""


container: "docker://palimpsest"  # from the Dockerfile; used only with `--software-deployment-method apptainer`


include: "pipeline/rules/common.smk"
include: "pipeline/rules/data.smk"
include: "pipeline/rules/training.smk"
include: "pipeline/rules/results.smk"
include: "pipeline/rules/variants.smk"
include: "pipeline/rules/compositions.smk"
include: "pipeline/rules/explain.smk"


onstart:
    check_devices()
    refuse_earlier_jobs()
    provenance.warn_without_commit()
    announce_downloads()
    show_progress()
    start_service(server_uri(SETTINGS.tracking.uri))
    if workflow.local_exec:
        # The limit on job starts per second is for clusters. Snakemake 9 implements it by a timer per finished job,
        # which reschedules all jobs every second; after sixty jobs this takes a fifth of a core.
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    send_runs()


onerror:
    send_runs()


rule all:
    """Make everything: prepared data, stored tasks, tables and the report."""
    default_target: True
    input:
        RESULTS / "report.html",


rule data:
    """Make every data set and the arrays of every task."""
    input:
        expand(rules.prepare.output, task=SETTINGS.sequence),
        fetched_weights(SETTINGS.sequence),


rule models:
    """Make every stored task of every method and seed."""
    input:
        [task_files(seed, method).files() for seed in SETTINGS.seeds for method in SETTINGS.methods],
