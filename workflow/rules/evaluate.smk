"""From weights to numbers: the one stage that reads the test part."""


rule evaluate:
    """Predict the test and validation parts and compute all metrics."""
    input:
        # history.csv stands for the weights, which are too large for Snakemake to hash: both come from one job.
        model=ancient(EXPERIMENT + "/model.safetensors"),
        history=EXPERIMENT + "/history.csv",
        data="data/{dataset}/dataset.json",
        arrays=ancient(
            expand("data/{{dataset}}/{part}_{kind}.npy", part=["train", "test"], kind=["images", "labels"])
        ),
        summary="results/{dataset}/{model}/summary.json",
        code=ancient(code("evaluate")),
    output:
        metrics=EXPERIMENT + "/metrics.json",
        predictions=EXPERIMENT + "/predictions.safetensors",
    log:
        LOGS + "/evaluate.log",
    benchmark:
        LOGS + "/evaluate.benchmark.tsv"
    params:
        job=job("evaluate", experiment=experiment_names, spec=experiment_spec),
        folder=subpath(output.metrics, parent=True),
    message:
        "Evaluate {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        "exec python {SCRIPTS}/evaluate.py --job {params.job:q} --data {input.data:q} --summary {input.summary:q}"
        " --output {params.folder:q} --threads {threads} --log {log:q}"
