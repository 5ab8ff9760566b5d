"""Trainings. The graph's one decision: a method starts from nothing, from the base or from the task before."""


rule train:
    """One method learns one task, all tasks side by side."""
    input:
        start=starting_points,
        prepared=rules.prepare.output,
        weights=lambda wildcards: perceptual_weights([wildcards.task]),
        painting=lambda wildcards: paintings([wildcards.task]),
        encoder=encoder_weights,
        code=lambda wildcards: code("train", methods=[wildcards.method], tasks=[wildcards.task]),
    output:
        LAYOUT.stored("{seed}", "{method}", "{task}"),
    log:
        LOGS / "train-{seed}-{method}-{task}.log",
    wildcard_constraints:
        method=any_of(SIDE_BY_SIDE),
    threads: claim(training_threads())
    resources:
        mem_mb=2000,
        gpu=gpus(),
    params:
        settings=lambda wildcards: settings_of(wildcards)
        .lesson(int(wildcards.seed), wildcards.method, wildcards.task)
        .model_dump_json(),
        variant=of_variant,
    shell:
        "python -m pipeline.train --seed {wildcards.seed} --method {wildcards.method}"
        " --task {wildcards.task}{params.variant} --log {log}"


use rule train as train_in_turn with:
    # What waits for the task before goes first, or it is still running when all else is done.
    wildcard_constraints:
        method=any_of(IN_TURN),
    priority: 1


use rule train as train_base with:
    # The network that all share; nearly everything waits for it.
    wildcard_constraints:
        method=BASE,
    priority: 2
