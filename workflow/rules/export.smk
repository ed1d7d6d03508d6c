"""A trained network for other programs, made when it is asked for: no study has it among its results."""


rule export:
    """Write model.onnx, and compare it with the network on test images."""
    input:
        # history.csv stands for the weights, as for the evaluation.
        model=ancient(paths.MODEL),
        history=paths.HISTORY,
        data=paths.DATASET_INFO,
        arrays=ancient(paths.ARRAYS["test"]),
    output:
        onnx=paths.ONNX,
    log:
        paths.log("export"),
    benchmark:
        paths.benchmark("export")
    conda:
        CONDA
    threads: exit_plainly(REQUESTS.train_threads)
    resources:
        mem_mb=exit_plainly(REQUESTS.export_memory_mb),
        runtime=lambda wildcards, attempt: scale_by_attempt(30, attempt),
    params:
        **params_of("export"),
    message:
        "Export {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --threads {threads} --log {log:q}"
