"""The study's report, its table of all metrics, and where it was made."""


rule report:
    """Render results/report.md and report.html from the experiments of the study."""
    input:
        # It also reads each dataset's audit.json, which exists before the first training run. As an input, it would have
        # deleted data rebuilt, and every training run repeated, where only the report has to be written.
        metrics=JOBS.study_files(paths.METRICS),
        history=JOBS.study_files(paths.HISTORY),
        timing=JOBS.study_files(paths.TIMING),
        statistics=JOBS.dataset_files(paths.STATISTICS),
        figures=JOBS.experiment_figures("png"),
        comparisons=JOBS.comparison_files(),
        images=JOBS.dataset_files(paths.IMAGE_AUDIT),
        optional=JOBS.optional_files(JOBS.optional),
    output:
        report=paths.REPORT,
        page=paths.REPORT_PAGE,
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
        **params_of("report"),
    message:
        "Write the report of the study"
    shell:
        "exec {params.call:q} --log {log:q}"
