"""Trainings. The graph's one decision: a method starts from nothing, from the base or from the task before."""


rule database:
    """Make the MLflow database once, before the jobs that would race for it."""
    output:
        touch(LOGS / "database.created"),
    log:
        LOGS / "database.log",
    threads: claim(1)
    resources:
        mem_mb=1000,
    shell:
        "python -m pipeline.database --log {log}"


rule train:
    """One method learns one task; the method `base` makes the network that all share."""
    input:
        start=starting_points,
        prepared=rules.prepare.output,
        weights=lambda wildcards: perceptual_weights([wildcards.task]),
        painting=lambda wildcards: paintings([wildcards.task]),
        encoder=encoder_weights,
        database=ancient(rules.database.output),
        code=lambda wildcards: code("train", methods=[wildcards.method], tasks=[wildcards.task]),
    output:
        LAYOUT.stored("{seed}", "{method}", "{task}"),
    log:
        LOGS / "train-{seed}-{method}-{task}.log",
    threads: claim(SETTINGS.training.threads)
    resources:
        mem_mb=2000,
        gpu=gpus(),
    params:
        settings=lambda wildcards: SETTINGS.lesson(
            int(wildcards.seed), wildcards.method, wildcards.task
        ).model_dump_json(),
    shell:
        "python -m pipeline.train --seed {wildcards.seed} --method {wildcards.method}"
        " --task {wildcards.task} --log {log}"
