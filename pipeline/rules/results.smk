"""Measurements of the trained networks, and the report."""


rule evaluate:
    """Measure one method on every task after every later task."""
    input:
        tasks=lambda wildcards: task_files(wildcards.seed, wildcards.method, settings_of(wildcards)).files(),
        predictions=lambda wildcards: task_files(
            wildcards.seed, wildcards.method, settings_of(wildcards)
        ).prediction_records(),
        prepared=expand(rules.prepare.output.info, task=SETTINGS.sequence),
        files=task_inputs(SETTINGS.sequence),
    output:
        metrics=LAYOUT.evaluation("{seed}", "{method}") / "metrics.csv",
        sizes=LAYOUT.evaluation("{seed}", "{method}") / "sizes.csv",
        growth=LAYOUT.evaluation("{seed}", "{method}") / "growth.csv",
        diagnostics=LAYOUT.evaluation("{seed}", "{method}") / "diagnostics.csv",
        costs=LAYOUT.evaluation("{seed}", "{method}") / "costs.csv",  # from records that are not inputs
        losses=LAYOUT.evaluation("{seed}", "{method}") / "losses.csv",
        zeros=LAYOUT.evaluation("{seed}", "{method}") / "zeros.csv",
        similarity=LAYOUT.evaluation("{seed}", "{method}") / "similarity.csv",
        verification=LAYOUT.evaluation("{seed}", "{method}") / "verification.csv",
        origin=LAYOUT.origin("{seed}", "{method}"),
        samples=directory(LAYOUT.evaluation("{seed}", "{method}") / "samples"),
    log:
        LOGS / "evaluate-{seed}-{method}.log",
    threads: claim(SETTINGS.training.threads)
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=gpus,
    params:
        code=lambda wildcards: code("evaluate", methods=[wildcards.method], tasks=SETTINGS.sequence),
        settings=lambda wildcards: evaluation_job(
            settings_of(wildcards), int(wildcards.seed), wildcards.method
        ).model_dump_json(),
        entry=entry,
        variant=of_variant,
    shell:
        "python -m pipeline.evaluate --seed {wildcards.seed} --method {wildcards.method}{params.variant}"
        " --log {log}"


rule floor:
    """Measure the trivial baseline of each task."""
    input:
        prepared=expand(rules.prepare.output.info, task=SETTINGS.sequence),
        files=task_inputs(SETTINGS.sequence),
    output:
        metrics=LAYOUT.evaluation("{seed}", FLOOR) / "metrics.csv",
        origin=LAYOUT.origin("{seed}", FLOOR),
        samples=directory(LAYOUT.evaluation("{seed}", FLOOR) / "samples"),
    log:
        LOGS / "floor-{seed}.log",
    threads: claim(SETTINGS.training.threads)
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=gpus,
    params:
        code=code("floor", tasks=SETTINGS.sequence),
        settings=lambda wildcards: evaluation_job(
            settings_of(wildcards), int(wildcards.seed), FLOOR
        ).model_dump_json(),
        variant=of_variant,
    shell:
        "python -m pipeline.floor --seed {wildcards.seed}{params.variant} --log {log}"


rule collect:
    """Collect all measurements into the tables of the preset."""
    input:
        measured=expand(rules.evaluate.output, seed=SETTINGS.seeds, method=SETTINGS.methods),
        floor=expand(rules.floor.output, seed=SETTINGS.seeds),
        prepared=expand(rules.prepare.output.info, task=SETTINGS.sequence),
    output:
        metrics=reported(RESULTS / "metrics.csv", "metrics", "Quality"),
        sizes=reported(RESULTS / "sizes.csv", "sizes", "Sizes and masks"),
        forgetting=reported(RESULTS / "forgetting.csv", "forgetting", "Forgetting"),
        quality=reported(RESULTS / "quality.csv", "quality", "Quality"),
        comparisons=reported(RESULTS / "comparisons.csv", "comparisons", "Quality"),
        diagnostics=reported(RESULTS / "diagnostics.csv", "diagnostics", "Trainings"),
        verification=reported(RESULTS / "verification.csv", "verification", "Forgetting"),
        growth=reported(RESULTS / "analysis" / "growth.csv", "growth", "Sizes and masks"),
        costs=reported(RESULTS / "analysis" / "costs.csv", "costs", "Trainings"),
        losses=reported(RESULTS / "analysis" / "losses.csv", "losses", "Trainings"),
        zeros=reported(RESULTS / "analysis" / "zeros.csv", "zeros", "Sizes and masks"),
        similarity=reported(RESULTS / "analysis" / "similarity.csv", "similarity", "Sizes and masks"),
        summary=reported(RESULTS / "summary.json", "summary", "Summary"),
        conditions=reported(RESULTS / "conditions.json", "conditions", "Summary"),
    log:
        LOGS / "collect.log",
    threads: claim(1)
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("collect"),
        sequence=SETTINGS.sequence,
        kinds=[str(kind_of(task)) for task in SETTINGS.sequence],
        methods=SETTINGS.methods,
        seeds=SETTINGS.seeds,
    shell:
        "python -m pipeline.collect --log {log}"


rule bundle:
    """Write one file with the network and every task of a method, which runs without this folder."""
    input:
        tasks=lambda wildcards: task_files(SETTINGS.seeds[0], SETTINGS.bundled_method).files(),
        metrics=str(rules.evaluate.output.metrics).format(seed=SETTINGS.seeds[0], method=SETTINGS.bundled_method),
    output:
        LAYOUT.bundle,
    log:
        LOGS / "bundle.log",
    threads: claim(1)
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=lambda wildcards: code("bundle", methods=[SETTINGS.bundled_method], tasks=SETTINGS.sequence),
        seed=SETTINGS.seeds[0],
        method=SETTINGS.bundled_method,
    shell:
        "python -m pipeline.bundle --seed {params.seed} --method {params.method} --log {log}"


rule report:
    """Write the report page, and record it with the bundle as an MLflow run."""
    input:
        bundle=rules.bundle.output,
        tables=rules.collect.output,
        samples=rules.collect.input.measured + rules.collect.input.floor,
        prepared=expand(rules.prepare.output.info, task=SETTINGS.sequence),
        templates=sorted(
            path for suffix in ("j2", "css", "js") for path in glob(f"src/palimpsest/report/templates/*.{suffix}")
        ),
    output:
        reported(RESULTS / "report.html", "report", "Summary"),
    log:
        LOGS / "report.log",
    threads: claim(1)
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("report"),
        settings=SETTINGS.model_dump_json(),
        kinds=[str(kind_of(task)) for task in SETTINGS.sequence],
        sweeps=digest("", sweep_tables(RESULTS)),  # the report shows existing sweeps and does not make them
        ablations=digest("", sorted((RESULTS / "ablation").glob("*.csv"))),
        explained=digest("", sorted(LAYOUT.explained.glob("metrics.csv"))),
    shell:
        "python -m pipeline.report --log {log}"
