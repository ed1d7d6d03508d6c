"""From the metrics and predictions of a study's experiments to statistics; without torch."""


rule compare:
    """Compare the study's models on one dataset: intervals, paired tests, a ranking with ties, calibration."""
    input:
        metrics=lambda wildcards: JOBS.study_files(paths.METRICS, dataset=wildcards.dataset),
        predictions=lambda wildcards: JOBS.study_files(paths.PREDICTIONS, dataset=wildcards.dataset),
        timing=lambda wildcards: JOBS.study_files(paths.TIMING, dataset=wildcards.dataset),
    output:
        statistics=paths.STATISTICS,
    log:
        paths.log("compare"),
    benchmark:
        paths.benchmark("compare")
    localrule: True
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        **params_of("compare"),
    message:
        "Compare the models on {wildcards.dataset}"
    shell:
        "exec {params.call:q} --log {log:q}"
