"""Experiments on masks: `snakemake explain`; not part of `all`."""


rule experiment:
    """Run one experiment on one task, with trainings and measurements of its own."""
    input:
        masks=lambda wildcards: task_files(wildcards.seed, MASKED).files(),
        reference=lambda wildcards: task_files(wildcards.seed, REFERENCE).files(),
        scale=[LAYOUT.evaluation("{seed}", method) / "metrics.csv" for method in (FLOOR, REFERENCE)],
        prepared=[LAYOUT.prepared(name) / "info.json" for name in ("{task}", SETTINGS.base_task)],
        files=lambda wildcards: task_inputs([wildcards.task]),
    output:
        metrics=LAYOUT.experiment("{seed}", "{experiment}", "{task}"),
        origin=LAYOUT.experiment("{seed}", "{experiment}", "{task}").with_suffix(".json"),
    log:
        LOGS / "explain-{seed}-{experiment}-{task}.log",
    wildcard_constraints:
        experiment=any_of(EXPERIMENTS),
    threads: claim(training_threads())
    resources:
        mem_mb=growing(4000),
        runtime=lambda wildcards, attempt: attempt * 240 * (1 + EXPERIMENTS[wildcards.experiment].trainings),
        gpu=gpus,
    params:
        code=code_of_experiment,
        entries=[str(entry_of(method)) for method in (MASKED, FIXED)],
        settings=lambda wildcards: [
            training_job(SETTINGS, int(wildcards.seed), method, task).model_dump_json()
            for method, task in ((MASKED, wildcards.task), (FIXED, wildcards.task), (BASE, SETTINGS.base_task))
        ],
    shell:
        "python -m pipeline.explain --seed {wildcards.seed} --experiment {wildcards.experiment}"
        " --task {wildcards.task} --log {log}"


rule explain:
    """Collect the results of all experiments, and write the page that explains masks."""
    input:
        tables=[
            LAYOUT.experiment(seed, name, task)
            for seed in SETTINGS.seeds
            for name, task in experiments_of(SETTINGS.sequence)
        ],
        prepared=expand(rules.prepare.output.info, task=SETTINGS.sequence),
    output:
        metrics=reported(LAYOUT.explained / "metrics.csv", "explain", "Sizes and masks"),
        conditions=LAYOUT.explained / "conditions.json",
        page=LAYOUT.explained / "why-it-works.md",
        figures=directory(LAYOUT.explained / "why-it-works"),
    log:
        LOGS / "explain.log",
    threads: claim(1)
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("explained"),
        seeds=SETTINGS.seeds,
        sequence=SETTINGS.sequence,
    shell:
        "python -m pipeline.explained --log {log}"
