"""Trainings. A method starts from scratch, from the base network or from the previous task."""


rule train:
    """Train one method on one task; this rule covers methods whose tasks are independent."""
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
        method=any_of(INDEPENDENT),
    threads: claim(training_threads())
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        gpu=gpus,
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
    # These trainings run one after the other. An early start avoids that they run alone at the end.
    wildcard_constraints:
        method=any_of(SEQUENTIAL),
    priority: 1


use rule train as train_base with:
    # Most other jobs depend on these networks.
    wildcard_constraints:
        method=any_of(BASES),
    priority: 2


use rule train as train_together with:
    # One training takes as long as all trainings of another method. An early start avoids that it runs alone at the end.
    input:
        prepared=expand(rules.prepare.output, task=SETTINGS.sequence),
        files=task_inputs(SETTINGS.sequence),
        encoder=[path for path in [SETTINGS.network.initial_weights] if path],
    output:
        task=[LAYOUT.stored("{seed}", "{method}", task) for task in SETTINGS.sequence],
        predictions=[LAYOUT.prediction_record("{seed}", "{method}", task) for task in SETTINGS.sequence],
    log:
        LOGS / "train-{seed}-{method}.log",
    wildcard_constraints:
        method=any_of(JOINT),
    priority: 1
    params:
        code=lambda wildcards: code("train", methods=[wildcards.method], tasks=SETTINGS.sequence),
        settings=lambda wildcards: training_job(
            SETTINGS, int(wildcards.seed), wildcards.method, SETTINGS.base_task
        ).model_dump_json(),
        entry=entry,
        task=SETTINGS.base_task,
        variant="",
