"""A trained network for other programs and people, when they are asked for: no study has them among its results.

Jobs that export have all cores, because they also time what they wrote.
"""


rule export:
    """Write model.onnx, and compare it with the network on test images."""
    input:
        # history.csv stands for the weights, as for the evaluation. The predictions are for the temperature.
        model=ancient(paths.MODEL),
        history=paths.HISTORY,
        predictions=paths.PREDICTIONS,
        data=paths.DATASET_INFO,
        arrays=ancient(paths.ARRAYS["test"]),
    output:
        paths.OUTPUTS["export"],
    log:
        paths.log("export"),
    benchmark:
        paths.benchmark("export")
    conda:
        CONDA
    threads: ALL_CORES
    resources:
        mem_mb=exit_plainly(REQUESTS.export_memory_mb),
        runtime=lambda wildcards, attempt: scale_by_attempt(30, attempt),
    params:
        **params_of("export"),
    message:
        "Export {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --threads {threads} --log {log:q}"


use rule export as export_fp16 with:
    """Convert model.onnx to half precision, and compare both on test images."""
    input:
        onnx=paths.OUTPUTS["export"],
        data=paths.DATASET_INFO,
        arrays=ancient(paths.ARRAYS["test"]),
    output:
        paths.OUTPUTS["export_fp16"],
    log:
        paths.log("export_fp16"),
    benchmark:
        paths.benchmark("export_fp16")
    params:
        **params_of("export_fp16"),
    message:
        "Convert to half precision {wildcards.model} on {wildcards.dataset},"
        " recipe {wildcards.recipe}, seed {wildcards.seed}"


use rule export as export_int8 with:
    """Quantise model.onnx to int8, and measure on validation images what accuracy it costs."""
    input:
        onnx=paths.OUTPUTS["export"],
        data=paths.DATASET_INFO,
        arrays=ancient([*paths.ARRAYS["train"], *paths.ARRAYS["test"]]),
    output:
        paths.OUTPUTS["export_int8"],
    log:
        paths.log("export_int8"),
    benchmark:
        paths.benchmark("export_int8")
    params:
        **params_of("export_int8"),
    message:
        "Quantise {wildcards.model} on {wildcards.dataset}," " recipe {wildcards.recipe}, seed {wildcards.seed}"


use rule export as export_program with:
    """Write model.pt2 with torch.export, and compare it with the network on test images."""
    output:
        paths.OUTPUTS["export_program"],
    log:
        paths.log("export_program"),
    benchmark:
        paths.benchmark("export_program")
    params:
        **params_of("export_program"),
    message:
        "Export with torch.export {wildcards.model} on {wildcards.dataset},"
        " recipe {wildcards.recipe}, seed {wildcards.seed}"


rule saliency:
    """Draw where a network found its surest mistakes."""
    input:
        # history.csv stands for the weights, as for the evaluation.
        model=ancient(paths.MODEL),
        history=paths.HISTORY,
        predictions=paths.PREDICTIONS,
    output:
        figure=paths.SALIENCY,
    log:
        paths.log("saliency"),
    benchmark:
        paths.benchmark("saliency")
    conda:
        CONDA
    threads: exit_plainly(REQUESTS.train_threads)
    resources:
        mem_mb=exit_plainly(REQUESTS.evaluate_memory_mb),
        runtime=lambda wildcards, attempt: scale_by_attempt(10, attempt),
    params:
        **params_of("saliency"),
    message:
        "Draw where {wildcards.model} looks on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --threads {threads} --log {log:q}"


rule card:
    """Write MODEL_CARD.md from an experiment's results and the audit of its images."""
    input:
        metrics=paths.METRICS,
        history=paths.HISTORY,
        timing=paths.TIMING,
        predictions=paths.PREDICTIONS,
        # Made with audit.json, which it reads. That as an input would have deleted data rebuilt, see the report.
        samples=paths.SAMPLE_SHEET,
    output:
        # Not deleted before the job, which keeps what users added to it.
        card=update(paths.CARD),
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
        # It also reads these. As inputs, they would be made. Recorded, so that the card follows them.
        made=exit_plainly(lambda wildcards: canonical_json(made_for_card(JOBS.experiment(**wildcards), JOBS.root))),
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
