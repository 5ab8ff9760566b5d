"""Sweeps over settings of a method: `snakemake sweep`; not part of `all`."""

EACH = Layout(SETTINGS.preset, "{variant}", own_base=True)


use rule train as train_variant with:
    output:
        task=EACH.stored("{seed}", "{method}", "{task}"),
        predictions=EACH.prediction_record("{seed}", "{method}", "{task}"),
    log:
        EACH.logs / "train-{seed}-{method}-{task}.log",
    wildcard_constraints:
        method=any_of([*BASES, *METHODS]),


use rule evaluate as evaluate_variant with:
    output:
        metrics=EACH.evaluation("{seed}", "{method}") / "metrics.csv",
        sizes=EACH.evaluation("{seed}", "{method}") / "sizes.csv",
        growth=EACH.evaluation("{seed}", "{method}") / "growth.csv",
        diagnostics=EACH.evaluation("{seed}", "{method}") / "diagnostics.csv",
        costs=EACH.evaluation("{seed}", "{method}") / "costs.csv",  # from records that are not inputs
        zeros=EACH.evaluation("{seed}", "{method}") / "zeros.csv",
        similarity=EACH.evaluation("{seed}", "{method}") / "similarity.csv",
        verification=EACH.evaluation("{seed}", "{method}") / "verification.csv",
        origin=EACH.origin("{seed}", "{method}"),
        samples=directory(EACH.evaluation("{seed}", "{method}") / "samples"),
    log:
        EACH.logs / "evaluate-{seed}-{method}.log",


rule compare:
    """Collect every variant of one method and the method with its current settings."""
    input:
        measured=lambda wildcards: expand(rules.evaluate.output, seed=SETTINGS.seeds, method=wildcards.method),
        variants=lambda wildcards: [
            varied(name).layout.evaluation(seed, wildcards.method) / "metrics.csv"
            for name in SWEEPS[wildcards.method]
            for seed in SETTINGS.seeds
        ],
    output:
        measured=LAYOUT.sweep("{method}"),
        settings=LAYOUT.varied("{method}"),
    log:
        LOGS / "sweep-{method}.log",
    wildcard_constraints:
        method=any_of(SWEEPS),
    threads: claim(1)
    resources:
        mem_mb=1000,
    params:
        code=code("sweep"),
        seeds=SETTINGS.seeds,
        variants=lambda wildcards: list(SWEEPS[wildcards.method]),
    shell:
        "python -m pipeline.sweep --method {wildcards.method} --log {log}"


rule sweep:
    """Make every sweep of the preset; `snakemake results/mini/sweep/ewc.csv` makes one."""
    input:
        expand(rules.compare.output, method=SWEEPS),
