"""From weights to numbers: the one stage that reads the test part."""


rule evaluate:
    """Predict the test and validation parts and compute all metrics."""
    input:
        # history.csv stands for the weights, which are too large for Snakemake to hash: both come from one job.
        model=ancient(f"{EXPERIMENT}/model.safetensors"),
        history=f"{EXPERIMENT}/history.csv",
        data="data/{dataset}/dataset.json",
        arrays=ancient(expand("data/{{dataset}}/{part}_{kind}.npy", part=["train", "test"], kind=["images", "labels"])),
        summary="results/{dataset}/{model}/summary.json",
        script=ancient(in_repository("scripts/evaluate.py")),
        code=ancient(code("evaluate")),
    output:
        metrics=f"{EXPERIMENT}/metrics.json",
        predictions=f"{EXPERIMENT}/predictions.safetensors",
    log:
        f"{LOGS}/evaluate.log",
    benchmark:
        f"{LOGS}/evaluate.benchmark.tsv"
    priority: BEFORE_TRAINING
    conda:
        CONDA
    threads: train_threads
    resources:
        mem_mb=evaluate_memory_mb,
        runtime=growing(30),
        gpu=GPUS_PER_JOB,
    params:
        job=job("evaluate"),
        folder=subpath(output.metrics, parent=True),
    message:
        "Evaluate {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec python {input.script:q} --job {params.job:q} --data {input.data:q} --summary {input.summary:q}"
        " --output {params.folder:q} --threads {threads} --gpus {resources.gpu:q} --log {log:q}"
