"""The study's report, its table of all metrics, and where it was made."""


rule report:
    """Render results/report.md and report.html from the experiments of the study."""
    input:
        # It also reads each dataset's audit.json, which is made with the samples. As an input, it would have deleted
        # data rebuilt, and every training run repeated, where only the report has to be written.
        metrics=JOBS.study_files(paths.METRICS),
        history=JOBS.study_files(paths.HISTORY),
        timing=JOBS.study_files(paths.TIMING),
        statistics=JOBS.dataset_files(paths.STATISTICS),
        figures=JOBS.experiment_figures(),
        comparisons=JOBS.comparison_files(),
        samples=JOBS.dataset_files(paths.SAMPLE_SHEET),
        optional=JOBS.optional_files(),
    output:
        report=paths.REPORT.format(suffix=""),
        page=paths.REPORT_PAGE.format(suffix=""),
        metrics=report(paths.METRICS_CSV.format(suffix=""), caption="../report/metrics.rst", category="Comparison"),
        environment=paths.ENVIRONMENT.format(suffix=""),
    log:
        paths.log("report").format(suffix=""),
    localrule: True
    conda:
        CONDA
    resources:
        **SMALL,
    params:
        **params_of("report"),
        of_study=of_study,
    message:
        "Write the report of the study{params.of_study}"
    shell:
        "exec {params.call:q} --log {log:q}"


use rule report as report_by_name with:
    input:
        metrics=of_named_study(JOBS.study_files, paths.METRICS),
        history=of_named_study(JOBS.study_files, paths.HISTORY),
        timing=of_named_study(JOBS.study_files, paths.TIMING),
        statistics=of_named_study(JOBS.dataset_files, paths.STATISTICS),
        figures=of_named_study(JOBS.experiment_figures),
        comparisons=of_named_study(JOBS.comparison_files),
        samples=of_named_study(JOBS.dataset_files, paths.SAMPLE_SHEET),
        optional=of_named_study(JOBS.optional_files),
    output:
        report=paths.REPORT,
        page=paths.REPORT_PAGE,
        metrics=report(paths.METRICS_CSV, caption="../report/metrics.rst", category="Comparison"),
        environment=paths.ENVIRONMENT,
    log:
        paths.log("report"),
    wildcard_constraints:
        suffix="-[^/]+",  # also of no study, which is refused in a sentence
