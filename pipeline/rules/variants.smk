"""Sweeps over settings of a method and ablations of several methods; not part of `all`."""

VARIANT = Layout(SETTINGS.preset, "{variant}", shares="none")


use rule train as train_variant with:
    output:
        task=VARIANT.stored("{seed}", "{method}", "{task}"),
        predictions=VARIANT.prediction_record("{seed}", "{method}", "{task}"),
    log:
        VARIANT.logs / "train-{seed}-{method}-{task}.log",
    wildcard_constraints:
        method=any_of([*BASES, *METHODS]),


use rule evaluate as evaluate_variant with:
    output:
        metrics=VARIANT.evaluation("{seed}", "{method}") / "metrics.csv",
        sizes=VARIANT.evaluation("{seed}", "{method}") / "sizes.csv",
        growth=VARIANT.evaluation("{seed}", "{method}") / "growth.csv",
        diagnostics=VARIANT.evaluation("{seed}", "{method}") / "diagnostics.csv",
        costs=VARIANT.evaluation("{seed}", "{method}") / "costs.csv",  # from records that are not inputs
        losses=VARIANT.evaluation("{seed}", "{method}") / "losses.csv",
        zeros=VARIANT.evaluation("{seed}", "{method}") / "zeros.csv",
        similarity=VARIANT.evaluation("{seed}", "{method}") / "similarity.csv",
        verification=VARIANT.evaluation("{seed}", "{method}") / "verification.csv",
        origin=VARIANT.origin("{seed}", "{method}"),
        samples=directory(VARIANT.evaluation("{seed}", "{method}") / "samples"),
    log:
        VARIANT.logs / "evaluate-{seed}-{method}.log",


use rule floor as floor_of_variant with:
    output:
        metrics=VARIANT.evaluation("{seed}", FLOOR) / "metrics.csv",
        origin=VARIANT.origin("{seed}", FLOOR),
        samples=directory(VARIANT.evaluation("{seed}", FLOOR) / "samples"),
    log:
        VARIANT.logs / "floor-{seed}.log",


rule compare:
    """Collect every variant of one method and the method with its current settings."""
    input:
        lambda wildcards: [
            varied(name).layout.evaluation(seed, wildcards.method) / "metrics.csv"
            for name in (CURRENT, *SWEEPS[wildcards.method])
            for seed in SETTINGS.seeds
        ],
        lambda wildcards: [
            varied(CURRENT).layout.evaluation(seed, method) / "metrics.csv"
            for seed in SETTINGS.seeds
            for method in (FLOOR, REFERENCE)
            if method != wildcards.method
        ],
    output:
        measured=reported(LAYOUT.sweep("{method}"), "sweep", "Sweeps"),
        settings=LAYOUT.varied("{method}"),
    log:
        LOGS / "sweep-{method}.log",
    wildcard_constraints:
        method=any_of(SWEEPS),
    threads: claim(1)
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("sweep"),
        seeds=SETTINGS.seeds,
        variants=lambda wildcards: list(SWEEPS[wildcards.method]),
    shell:
        "python -m pipeline.sweep --method {wildcards.method} --log {log}"


rule ablation:
    """Collect the measurements of all methods of one ablation, with those of the trivial baseline."""
    input:
        lambda wildcards: [
            varied(wildcards.ablation).layout.evaluation(seed, method) / "metrics.csv"
            for seed in SETTINGS.seeds
            for method in (FLOOR, *ABLATIONS[wildcards.ablation].methods)
        ],
        lambda wildcards: [
            LAYOUT.evaluation(seed, REFERENCE) / "metrics.csv"
            for seed in SETTINGS.seeds
            if takes_reference(SETTINGS, varied(wildcards.ablation), ABLATIONS[wildcards.ablation].methods)
        ],
    output:
        measured=reported(LAYOUT.ablation("{ablation}"), "ablation", "Ablations"),
        settings=LAYOUT.ablation_settings("{ablation}"),
    log:
        LOGS / "ablation-{ablation}.log",
    threads: claim(1)
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("ablation"),
        seeds=SETTINGS.seeds,
        ablation=lambda wildcards: str(ABLATIONS[wildcards.ablation]),
        changed=lambda wildcards: str(changed_settings(CONTENT, config, wildcards.ablation)),
    shell:
        "python -m pipeline.ablation --variant {wildcards.ablation} --log {log}"


rule ablations:
    """Make every ablation of the preset."""
    input:
        expand(rules.ablation.output, ablation=ABLATIONS),


rule sweep:
    """Make every sweep of the preset; `snakemake results/mini/sweep/ewc.csv` makes one."""
    input:
        expand(rules.compare.output, method=SWEEPS),
