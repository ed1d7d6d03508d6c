"""Networks and their training."""


rule summarize:
    """Count a network's parameters, operations and memory; needs no data, but torch, as one cannot count without."""
    input:
        script=ancient(in_repository("scripts/summarize.py")),
        code=ancient(code("summarize")),
    output:
        json="results/{dataset}/{model}/summary.json",
        text=report(
            "results/{dataset}/{model}/summary.txt",
            caption="../report/summary.rst",
            category="Networks",
            labels={"dataset": "{dataset}", "model": "{model}"},
        ),
    log:
        "logs/{dataset}/{model}/summarize.log",
    benchmark:
        "logs/{dataset}/{model}/summarize.benchmark.tsv"
    priority: BEFORE_TRAINING
    localrule: True
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        job=job("summarize"),
    message:
        "Summarize {wildcards.model} for {wildcards.dataset}"
    shell:
        "exec python {input.script:q} --job {params.job:q}"
        " --json {output.json:q} --text {output.text:q} > {log:q} 2>&1"


rule train:
    """Train one experiment; its lines go to the terminal and to the log."""
    input:
        data="data/{dataset}/dataset.json",
        # dataset.json holds the arrays' hashes: their own times say nothing, and Snakemake hashes no file this large.
        arrays=ancient(expand("data/{{dataset}}/train_{kind}.npy", kind=["images", "labels"])),
        script=ancient(in_repository("scripts/train.py")),
        code=ancient(code("train")),
    output:
        model=f"{EXPERIMENT}/model.safetensors",
        history=f"{EXPERIMENT}/history.csv",
        timing=f"{EXPERIMENT}/timing.json",
    log:
        f"{LOGS}/train.log",
    benchmark:
        f"{LOGS}/train.benchmark.tsv"
    priority: train_priority
    conda:
        CONDA
    threads: train_threads
    resources:
        mem_mb=train_memory_mb,
        runtime=train_runtime,
        gpu=GPUS_PER_JOB,
        processes=1,  # of one training, without a GPU; with several, there is one for each
    params:
        job=job("train"),
        folder=subpath(output.model, parent=True),
    message:
        "Train {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec python {input.script:q} --job {params.job:q} --data {input.data:q} --output {params.folder:q}"
        " --threads {threads} --gpus {resources.gpu:q} --processes {resources.processes:q}"
        " --log {log:q} --parent $PPID"
