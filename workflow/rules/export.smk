"""A trained network for other programs and people, when they are asked for: no study has them among its results."""


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


rule card:
    """Write MODEL_CARD.md from an experiment's results."""
    input:
        # It also reads the dataset's audit.json, if it is there: see the report.
        metrics=paths.METRICS,
        history=paths.HISTORY,
        timing=paths.TIMING,
    output:
        card=paths.CARD,
    log:
        paths.log("card"),
    benchmark:
        paths.benchmark("card")
    localrule: True
    conda:
        CONDA
    resources:
        **SMALL,
    params:
        **params_of("card"),
    message:
        "Write the model card of {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --log {log:q}"


rule bundle:
    """Pack card, weights, model.onnx and an example into one zip."""
    input:
        card=paths.CARD,
        # model.onnx is made from the weights.
        model=ancient(paths.MODEL),
        onnx=paths.ONNX,
    output:
        bundle=paths.BUNDLE,
    log:
        paths.log("bundle"),
    benchmark:
        paths.benchmark("bundle")
    localrule: True
    conda:
        CONDA
    resources:
        **SMALL,
    params:
        **params_of("bundle"),
    message:
        "Pack {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --log {log:q}"
