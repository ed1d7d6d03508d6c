"""From weights to numbers: the stages that read the test split."""


rule evaluate:
    """Predict the test and validation images and compute all metrics."""
    input:
        # history.csv stands for the weights, which are too large for Snakemake to hash: both come from one job.
        model=ancient(paths.MODEL),
        history=paths.HISTORY,
        data=paths.DATASET_INFO,
        arrays=ancient([*paths.ARRAYS["train"], *paths.ARRAYS["test"]]),
        summary=paths.SUMMARY_JSON,
    output:
        metrics=paths.METRICS,
        predictions=paths.PREDICTIONS,
        table=paths.PREDICTION_TABLE,
    log:
        paths.log("evaluate"),
    benchmark:
        paths.benchmark("evaluate")
    priority: BEFORE_TRAINING
    conda:
        CONDA
    threads: exit_plainly(REQUESTS.train_threads)
    resources:
        mem_mb=exit_plainly(REQUESTS.evaluate_memory_mb),
        runtime=lambda wildcards, attempt: scale_by_attempt(30, attempt),
        gpu=GPUS_PER_JOB,
    params:
        **params_of("evaluate"),
    message:
        "Evaluate {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --threads {threads} --gpus {resources.gpu:q} --log {log:q}"


rule robustness:
    """Predict corrupted test images; only studies with `robustness: true` in an entry have it."""
    input:
        # history.csv stands for the weights, as for the evaluation.
        model=ancient(paths.MODEL),
        history=paths.HISTORY,
        data=paths.DATASET_INFO,
        arrays=ancient(paths.ARRAYS["test"]),
    output:
        robustness=paths.ROBUSTNESS,
    log:
        paths.log("robustness"),
    benchmark:
        paths.benchmark("robustness")
    conda:
        CONDA
    threads: exit_plainly(REQUESTS.train_threads)
    resources:
        mem_mb=exit_plainly(REQUESTS.evaluate_memory_mb),
        runtime=lambda wildcards, attempt: scale_by_attempt(60, attempt),
        gpu=GPUS_PER_JOB,
    params:
        **params_of("robustness"),
    message:
        "Corrupt the test images for {wildcards.model} on {wildcards.dataset},"
        " recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --threads {threads} --gpus {resources.gpu:q} --log {log:q}"
