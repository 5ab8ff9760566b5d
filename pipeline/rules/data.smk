"""Raw data sets, weights of perceptual networks, and prepared arrays of each task."""


rule raw:
    """Generate, download or list one data set; the manifest has the checksum of every file."""
    output:
        LAYOUT.manifest("{dataset}"),
    log:
        LOGS / "raw-{dataset}.log",
    localrule: True  # nodes of a cluster may have no network connection
    threads: claim(1)
    resources:
        mem_mb=growing(1000),
        runtime=growing(480),
    params:
        code=lambda wildcards: code("raw", datasets=[wildcards.dataset]),
        settings=lambda wildcards: SETTINGS.datasets[wildcards.dataset].model_dump_json(),
        format=lambda wildcards: format_of(wildcards.dataset),
    shell:
        "python -m pipeline.raw --dataset {wildcards.dataset} --log {log}"


rule weights:
    """Download the weights of a perceptual network, or copy them from the folder of data sets."""
    output:
        LAYOUT.perceptual_weights("{network}"),
    log:
        LOGS / "weights-{network}.log",
    wildcard_constraints:
        network="squeezenet|vgg16",
    localrule: True  # nodes of a cluster may have no network connection
    threads: claim(1)
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        code=code("weights"),
        data_root=str(SETTINGS.data_root),
    shell:
        "python -m pipeline.weights --network {wildcards.network} --log {log}"


rule encoder:
    """Download the published weights of an encoder."""
    output:
        LAYOUT.encoder_weights("{encoder}"),
    log:
        LOGS / "encoder-{encoder}.log",
    localrule: True  # nodes of a cluster may have no network connection
    threads: claim(1)
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        code=code("encoder"),
    shell:
        "python -m pipeline.encoder --encoder {wildcards.encoder} --log {log}"


rule prepare:
    """Turn a data set into the memory-mapped arrays of one task."""
    input:
        manifests=lambda wildcards: [LAYOUT.manifest(name) for name in SETTINGS.tasks[wildcards.task].datasets],
    output:
        picture=LAYOUT.prepared("{task}") / "picture.npy",
        index=LAYOUT.prepared("{task}") / "index.csv",
        info=LAYOUT.prepared("{task}") / "info.json",
    log:
        LOGS / "prepare-{task}.log",
    threads: claim(1)
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        code=lambda wildcards: code(
            "prepare", tasks=[wildcards.task], datasets=SETTINGS.tasks[wildcards.task].datasets
        ),
        settings=lambda wildcards: preparation_job(SETTINGS, wildcards.task).model_dump_json(),
        target=lambda wildcards: str(kind_of(wildcards.task).target),
        format=lambda wildcards: [format_of(name) for name in SETTINGS.tasks[wildcards.task].datasets],
    shell:
        "python -m pipeline.prepare --task {wildcards.task} --log {log}"
