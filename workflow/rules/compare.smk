"""From the metrics and predictions of a study's experiments to statistics; without torch."""


rule compare:
    """Compare the study's models on one dataset: intervals, paired tests, a ranking with ties, calibration."""
    input:
        metrics=lambda wildcards: JOBS.study_files(paths.METRICS, **wildcards),
        predictions=lambda wildcards: JOBS.study_files(paths.PREDICTIONS, **wildcards),
        timing=lambda wildcards: JOBS.study_files(paths.TIMING, **wildcards),
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
        of_study=of_study,
    message:
        "Compare the models on {wildcards.dataset}{params.of_study}"
    shell:
        "exec {params.call:q} --log {log:q}"
