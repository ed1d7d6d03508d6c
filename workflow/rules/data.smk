"""Raw files and arrays of each dataset."""


rule download:
    """Fetch a dataset's raw files, each checked against its hash where one is known."""
    output:
        manifest=paths.RAW_MANIFEST,
    log:
        paths.log("download"),
    benchmark:
        paths.benchmark("download")
    priority: BEFORE_TRAINING
    localrule: True  # compute nodes often have no internet
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        **params_of("download"),
        options=lambda wildcards, output: CONFIG.datasets[wildcards.dataset].download_arguments(),
    message:
        "Download {wildcards.dataset}"
    shell:
        "exec {params.call:q} {params.options:q} --log {log:q}"


rule prepare:
    """Turn raw files into uint8 arrays that can be memory-mapped, and dataset.json."""
    input:
        raw=paths.RAW_MANIFEST,
    output:
        info=paths.DATASET_INFO,
        arrays=[*paths.ARRAYS["train"], *paths.ARRAYS["test"]],
    log:
        paths.log("prepare"),
    benchmark:
        paths.benchmark("prepare")
    priority: BEFORE_TRAINING
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: scale_by_attempt(2000, attempt),
        runtime=lambda wildcards, attempt: scale_by_attempt(30, attempt),
    params:
        **params_of("prepare"),
        processes=REQUESTS.prepare_processes,
        options=lambda wildcards, output: CONFIG.datasets[wildcards.dataset].prepare_arguments(),
    message:
        "Prepare the arrays of {wildcards.dataset}"
    shell:
        "exec {params.call:q} --processes {params.processes} {params.options:q} --log {log:q}"


rule audit:
    """Look at a dataset's images, and draw some of each class; no training run waits for it."""
    input:
        info=paths.DATASET_INFO,
        # dataset.json holds the arrays' hashes.
        arrays=ancient([*paths.ARRAYS["train"], *paths.ARRAYS["test"]]),
    output:
        samples=paths.SAMPLE_SHEET,
        audit=paths.AUDIT,
    log:
        paths.log("audit"),
    benchmark:
        paths.benchmark("audit")
    conda:
        CONDA
    resources:
        mem_mb=lambda wildcards, attempt: scale_by_attempt(2000, attempt),
        runtime=lambda wildcards, attempt: scale_by_attempt(60, attempt),
    params:
        **params_of("audit"),
    message:
        "Look at the images of {wildcards.dataset}"
    shell:
        "exec {params.call:q} --log {log:q}"
