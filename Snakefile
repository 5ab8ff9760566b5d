"""The study from end to end. `snakemake --cores 8 all` does everything; `snakemake -n all` says what is missing.

Settings are in params.yaml; values on the command line win: `--config preset=real data_root=/path`.
"""


container: "docker://palimpsest"  # from the Dockerfile; used only where Snakemake is told to


include: "pipeline/rules/common.smk"
include: "pipeline/rules/data.smk"
include: "pipeline/rules/training.smk"
include: "pipeline/rules/results.smk"
include: "pipeline/rules/sweep.smk"
include: "pipeline/rules/compositions.smk"


onstart:
    check_devices()
    provenance.warn_without_commit()
    # A limit to how many jobs start in a second is for clusters. To keep it, Snakemake 9 has every job that ended
    # start a timer each second from then on, and weighs all jobs anew at each: a fifth of a core after sixty jobs.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


rule all:
    """Everything: prepared data, every stored task, all tables and the report."""
    default_target: True
    input:
        RESULTS / "report.html",


rule data:
    """Every data set and the arrays of every task."""
    input:
        expand(rules.prepare.output, task=SETTINGS.sequence),
        fetched_weights(SETTINGS.sequence),


rule models:
    """Every stored task of every method and seed."""
    input:
        [task_files(seed, method).files() for seed in SETTINGS.seeds for method in SETTINGS.methods],
