"""Raw files and arrays of each dataset."""


rule download:
    """Fetch a dataset's raw files, each checked against its hash where one is known."""
    input:
        script=ancient(in_repository("scripts/download.py")),
        code=ancient(code("download")),
    output:
        manifest="data/{dataset}/raw.json",
    log:
        "logs/{dataset}/download.log",
    benchmark:
        "logs/{dataset}/download.benchmark.tsv"
    priority: BEFORE_TRAINING
    localrule: True  # compute nodes often have no internet
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        job=job("download"),
        mirror=mirror_option,
    message:
        "Download {wildcards.dataset}"
    shell:
        "exec python {input.script:q} --dataset {wildcards.dataset:q} --job {params.job:q}"
        " {params.mirror:q} --output {output.manifest:q} --log {log:q}"


rule prepare:
    """Turn raw files into uint8 arrays that can be memory-mapped, and dataset.json; progress goes to the terminal."""
    input:
        raw="data/{dataset}/raw.json",
        script=ancient(in_repository("scripts/prepare.py")),
        code=ancient(code("prepare")),
    output:
        info="data/{dataset}/dataset.json",
        arrays=expand("data/{{dataset}}/{part}_{kind}.npy", part=["train", "test"], kind=["images", "labels"]),
    log:
        "logs/{dataset}/prepare.log",
    benchmark:
        "logs/{dataset}/prepare.benchmark.tsv"
    priority: BEFORE_TRAINING
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        job=job("prepare"),
        processes=prepare_processes,
    message:
        "Prepare the arrays of {wildcards.dataset}"
    shell:
        "exec python {input.script:q} --dataset {wildcards.dataset:q} --job {params.job:q}"
        " --raw {input.raw:q} --output {output.info:q} --processes {params.processes:q} --log {log:q}"
