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


# Of any study, whichever one config.yaml chooses.
use rule report as report_by_name with:
    input:
        metrics=lambda wildcards: JOBS.study_files(paths.METRICS, **wildcards),
        history=lambda wildcards: JOBS.study_files(paths.HISTORY, **wildcards),
        timing=lambda wildcards: JOBS.study_files(paths.TIMING, **wildcards),
        statistics=lambda wildcards: JOBS.dataset_files(paths.STATISTICS, **wildcards),
        figures=lambda wildcards: JOBS.experiment_figures("png", **wildcards),
        comparisons=lambda wildcards: JOBS.comparison_files(**wildcards),
        images=lambda wildcards: JOBS.dataset_files(paths.IMAGE_AUDIT, **wildcards),
    output:
        report=paths.REPORT,
        page=paths.REPORT_PAGE,
        metrics=report(paths.METRICS_CSV, caption="../report/metrics.rst", category="Comparison"),
        environment=paths.ENVIRONMENT,
    log:
        paths.log("report"),
    wildcard_constraints:
        suffix="-.+",
