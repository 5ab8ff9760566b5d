"""Compositions of two tasks of a method: `snakemake compositions`; not part of `all`."""


rule compose:
    """Compose two tasks in every way that the settings name; measure and paint the results."""
    input:
        tasks=composed_files,
        prepared=lambda wildcards: expand(rules.prepare.output.info, task=composition(wildcards).sequence),
        files=lambda wildcards: task_inputs(composition(wildcards).sequence),
    output:
        grid=reported(LAYOUT.composition("{composition}") / "grid.png", "composition", "Compositions"),
        metrics=LAYOUT.composition("{composition}") / "metrics.csv",
        origin=LAYOUT.composition("{composition}") / "origin.json",
    log:
        LOGS / "compose-{composition}.log",
    threads: claim(SETTINGS.training.threads)
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=gpus,
    params:
        code=lambda wildcards: code(
            "compose", methods=[composition(wildcards).method], tasks=composition(wildcards).sequence
        ),
        settings=lambda wildcards: composition(wildcards).model_dump_json(),
    shell:
        "python -m pipeline.compose --composition {wildcards.composition} --log {log}"


rule compositions:
    """Make every composition that the settings name."""
    input:
        expand(rules.compose.output, composition=SETTINGS.composed),
