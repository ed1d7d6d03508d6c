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
    message:
        "Summarize {wildcards.model} for {wildcards.dataset}"
    shell:
        "exec {params.call:q} --log {log:q}"


rule train:
    """Train one experiment; its lines go to the terminal and to the log."""
    input:
        data=paths.DATASET_INFO,
        # dataset.json holds the arrays' hashes: their own times say nothing, and Snakemake hashes no file this large.
        arrays=ancient(paths.ARRAYS["train"]),
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
    message:
        "Train {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q}"
        " --threads {threads} --gpus {resources.gpu:q} --processes {resources.processes:q}"
        " --log {log:q} --parent $PPID"
