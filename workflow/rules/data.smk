"""Raw files and arrays of each dataset."""


rule download:
    """Fetch a dataset's raw files, each checked against its hash."""
    input:
        code=ancient(code("download")),
    output:
        manifest="data/{dataset}/raw.json",
    log:
        "logs/{dataset}/download.log",
    params:
        job=job("download", spec=raw_spec),
        mirror=mirror_option,
    message:
        "Download {wildcards.dataset}"
    conda:
        CONDA
    threads: 1
    localrule: True  # compute nodes often have no internet
    shell:
        "exec python {SCRIPTS}/download.py --dataset {wildcards.dataset:q} --job {params.job:q}"
        " {params.mirror:q} --output {output.manifest:q} > {log:q} 2>&1"


rule prepare:
    """Turn raw files into uint8 arrays that can be memory-mapped, and dataset.json."""
    input:
        raw="data/{dataset}/raw.json",
        code=ancient(code("prepare")),
    output:
        info="data/{dataset}/dataset.json",
        arrays=expand(
            "data/{{dataset}}/{part}_{kind}.npy", part=["train", "test"], kind=["images", "labels"]
        ),
    log:
        "logs/{dataset}/prepare.log",
    params:
        job=job("prepare", spec=prepared_spec),
    message:
        "Prepare the arrays of {wildcards.dataset}"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "exec python {SCRIPTS}/prepare.py --dataset {wildcards.dataset:q} --job {params.job:q}"
        " --raw {input.raw:q} --output {output.info:q} --threads {threads} > {log:q} 2>&1"
