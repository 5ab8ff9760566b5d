"""Settings of a method compared with one another: `snakemake sweep`, which `all` leaves out."""

EACH = Layout(SETTINGS.preset, "{variant}", own_base=True)


use rule train as train_variant with:
    output:
        EACH.stored("{seed}", "{method}", "{task}"),
    log:
        EACH.logs / "train-{seed}-{method}-{task}.log",
    wildcard_constraints:
        method="|".join([*BASES, *LEARNED]),


use rule evaluate as evaluate_variant with:
    output:
        metrics=EACH.evaluation("{seed}", "{method}") / "metrics.csv",
        sizes=EACH.evaluation("{seed}", "{method}") / "sizes.csv",
        growth=EACH.evaluation("{seed}", "{method}") / "growth.csv",
        figures=EACH.evaluation("{seed}", "{method}") / "figures.csv",
        costs=EACH.evaluation("{seed}", "{method}") / "costs.csv",  # of records that are no input
        zeros=EACH.evaluation("{seed}", "{method}") / "zeros.csv",
        similarity=EACH.evaluation("{seed}", "{method}") / "similarity.csv",
        origin=EACH.origin("{seed}", "{method}"),
        samples=directory(EACH.evaluation("{seed}", "{method}") / "samples"),
    log:
        EACH.logs / "evaluate-{seed}-{method}.log",


rule sweep:
    """Measure every variant of every sweep, beside all methods as they are set."""
    input:
        measured=rules.collect.input.measured,
        variants=lambda wildcards: [
            varied(name).layout.evaluation(seed, method) / "metrics.csv"
            for method, sweep in SWEEPS.items()
            for name in sweep
            for seed in SETTINGS.seeds
        ],
        code=code("sweep"),
    output:
        RESULTS / "sweep.csv",
    log:
        LOGS / "sweep.log",
    threads: claim(1)
    resources:
        mem_mb=1000,
    params:
        methods=SETTINGS.methods,
        seeds=SETTINGS.seeds,
        variants={method: list(sweep) for method, sweep in SWEEPS.items()},
    shell:
        "python -m pipeline.sweep --log {log}"
