"""The study's report, its table of all metrics, and where it was made."""


rule report:
    """Render results/report.md from the experiments of the study."""
    input:
        metrics=study_files(paths.METRICS),
        history=study_files(paths.HISTORY),
        timing=study_files(paths.TIMING),
        figures=experiment_figures("png"),
        comparisons=comparison_figures(),
    output:
        report=paths.REPORT,
        metrics=report(paths.METRICS_CSV, caption="../report/metrics.rst", category="Comparison"),
        environment=paths.ENVIRONMENT,
    log:
        paths.log("report"),
    localrule: True
    conda:
        CONDA
    resources:
        **SMALL,
    params:
        script=script("report"),
        job=fingerprint("report"),
        job_file=file_of("report"),
        root=root_option,
        study=lambda wildcards, output: CONFIG.study,
    message:
        "Write the report of the study"
    shell:
        "exec {params.script:q} {params.study} --job {params.job_file} {params.root:q} --log {log:q}"
