"""Trainings. The graph's one decision: a method starts from nothing, from the base or from the task before."""


rule train:
    """One method learns one task; here the methods whose tasks do not wait for one another."""
    input:
        start=starting_points,
        prepared=rules.prepare.output,
        files=lambda wildcards: task_inputs([wildcards.task]),
        encoder=encoder_weights,
    output:
        task=LAYOUT.stored("{seed}", "{method}", "{task}"),
        predictions=LAYOUT.prediction_record("{seed}", "{method}", "{task}"),
    log:
        LOGS / "train-{seed}-{method}-{task}.log",
    wildcard_constraints:
        method=any_of(SIDE_BY_SIDE),
    threads: claim(training_threads())
    resources:
        mem_mb=2000,
        gpu=gpus(),
    params:
        code=code_of_training,
        settings=lambda wildcards: training(wildcards).model_dump_json(),
        entry=entry,
        task=lambda wildcards: wildcards.task,
        variant=of_variant,
    shell:
        "python -m pipeline.train --seed {wildcards.seed} --method {wildcards.method}"
        " --task {params.task}{params.variant} --log {log}"


use rule train as train_in_turn with:
    # What waits for the task before goes first, or it is still running when all else is done.
    wildcard_constraints:
        method=any_of(IN_TURN),
    priority: 1


use rule train as train_base with:
    # The networks that methods share; nearly everything waits for them.
    wildcard_constraints:
        method=any_of(BASES),
    priority: 2


use rule train as train_together with:
    # One training for all tasks: as long as all of another method's, and begun last it would be alone in the end.
    input:
        prepared=expand(rules.prepare.output, task=SETTINGS.sequence),
        files=task_inputs(SETTINGS.sequence),
    output:
        task=[LAYOUT.stored("{seed}", "{method}", task) for task in SETTINGS.sequence],
        predictions=[LAYOUT.prediction_record("{seed}", "{method}", task) for task in SETTINGS.sequence],
    log:
        LOGS / "train-{seed}-{method}.log",
    wildcard_constraints:
        method=any_of(TOGETHER),
    priority: 1
    params:
        code=lambda wildcards: code("train", methods=[wildcards.method], tasks=SETTINGS.sequence),
        settings=lambda wildcards: training_job(
            SETTINGS, int(wildcards.seed), wildcards.method, SETTINGS.base_task
        ).model_dump_json(),
        entry=entry,
        task=SETTINGS.base_task,
        variant="",
