"""Networks and their training."""


rule summarize:
    """Check that a network can be trained; count its parameters, operations and memory."""
    input:
        # Only where config.yaml leaves out the size of the images or the number of classes.
        data=lambda wildcards: paths.DATASET_INFO if JOBS.needs_images(**wildcards) else [],
    output:
        json=paths.SUMMARY_JSON,
        text=report(
            paths.SUMMARY_TEXT,
            caption="../report/summary.rst",
            category="Networks",
            labels={"dataset": "{dataset}", "model": "{model}"},
        ),
    log:
        paths.log("summarize"),
    benchmark:
        paths.benchmark("summarize")
    priority: BEFORE_TRAINING
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=1600,  # of VGG-16, the largest
        runtime=10,
    params:
        **params_of("summarize"),
        weights=exit_plainly(lambda wildcards, output: weights_arguments(CONFIG.models[wildcards.model].weights)),
    message:
        "Summarize {wildcards.model} for {wildcards.dataset}"
    shell:
        "exec {params.call:q} {params.weights:q} --log {log:q}"


rule latency:
    """Measure how fast a network predicts; only studies with `latency: true` in an entry have it."""
    input:
        data=lambda wildcards: paths.DATASET_INFO if JOBS.needs_images(**wildcards) else [],
    output:
        latency=paths.LATENCY,
    log:
        paths.log("latency"),
    benchmark:
        paths.benchmark("latency")
    conda:
        CONDA
    threads: ALL_CORES
    resources:
        mem_mb=lambda wildcards, attempt: scale_by_attempt(4000, attempt),
        runtime=lambda wildcards, attempt: scale_by_attempt(10, attempt),
        gpu=GPUS_PER_JOB,
    params:
        **params_of("latency"),
    message:
        "Measure the latency of {wildcards.model} for {wildcards.dataset}"
    shell:
        "exec {params.call:q} --threads {threads} --gpus {resources.gpu:q} --log {log:q}"


rule fetch_weights:
    """Fetch the weights that a library publishes of a network, and check their hash."""
    output:
        info=paths.WEIGHTS_INFO,
        weights=paths.PUBLISHED_WEIGHTS,
    log:
        paths.log("fetch_weights"),
    benchmark:
        paths.benchmark("fetch_weights")
    priority: BEFORE_TRAINING
    localrule: True  # compute nodes often have no internet
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        **params_of("fetch_weights"),
    message:
        "Fetch the weights of {wildcards.library}/{wildcards.network}"
    shell:
        "exec {params.call:q} --log {log:q}"


rule train:
    """Train one experiment; its lines go to the terminal and to the log."""
    input:
        data=paths.DATASET_INFO,
        # dataset.json holds the arrays' hashes: their own times say nothing, and Snakemake hashes no file this large.
        arrays=ancient(paths.ARRAYS["train"]),
        # Of the experiment or the library whose weights it starts from; a user's own file is in `job`, by its hash.
        weights=ancient(exit_plainly(lambda wildcards: start_weights(JOBS.experiment(**wildcards)))),
        start=exit_plainly(lambda wildcards: start_records(JOBS.experiment(**wildcards))),
    output:
        model=paths.MODEL,
        history=paths.HISTORY,
        timing=paths.TIMING,
    log:
        paths.log("train"),
    benchmark:
        paths.benchmark("train")
    priority: exit_plainly(REQUESTS.train_priority)
    conda:
        CONDA
    threads: exit_plainly(REQUESTS.train_threads)
    resources:
        mem_mb=exit_plainly(REQUESTS.train_memory_mb),
        runtime=exit_plainly(REQUESTS.train_runtime),
        gpu=GPUS_PER_JOB,
        processes=1,  # of one training run without a GPU; with several GPUs, there is one for each
    params:
        **params_of("train"),
        weights=exit_plainly(lambda wildcards, output: weights_arguments(CONFIG.models[wildcards.model].weights)),
        options=lambda wildcards, output: ["--tensorboard"] if CONFIG.tensorboard else [],
    message:
        "Train {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} {params.weights:q}"
        " --threads {threads} --gpus {resources.gpu:q} --processes {resources.processes:q}"
        " {params.options:q} --log {log:q} --parent $PPID"
