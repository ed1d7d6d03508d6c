"""From numbers to pictures; none of these jobs loads torch."""


rule plot_experiment:
    """Draw the figures of one experiment, in one job, as most of it is its start."""
    input:
        sorted({f"{paths.EXPERIMENT}/{figure.reads}" for figure in EXPERIMENT_FIGURES.values()}),
    output:
        png=[
            report(
                figure.files[0],
                caption="../report/experiment_figures.rst",
                category="Experiments",
                subcategory="{dataset}",
                labels={"model": "{model}", "recipe": "{recipe}", "seed": "{seed}", "figure": figure.name},
            )
            for figure in EXPERIMENT_FIGURES.values()
        ],
        svg=[figure.files[1] for figure in EXPERIMENT_FIGURES.values()],
    log:
        paths.log("plot_experiment"),
    benchmark:
        paths.benchmark("plot_experiment")
    localrule: True
    conda:
        CONDA
    resources:
        **SMALL,
    params:
        **params_of("plot_experiment"),
    message:
        "Plot the figures of {wildcards.model} on {wildcards.dataset}, recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec {params.call:q} --log {log:q}"


rule plot_comparison:
    """Draw one figure of the study's models on one dataset, next to each other."""
    input:
        metrics=lambda wildcards: JOBS.study_files(paths.METRICS, **wildcards),
        history=lambda wildcards: JOBS.study_files(paths.HISTORY, **wildcards),
        timing=lambda wildcards: JOBS.study_files(paths.TIMING, **wildcards),
        predictions=lambda wildcards: JOBS.study_files(paths.PREDICTIONS, **wildcards),
        statistics=paths.STATISTICS,
        optional=lambda wildcards: JOBS.optional_files(COMPARISON_FIGURES[wildcards.figure].needs, **wildcards),
    output:
        png=report(
            paths.COMPARISON_FIGURE,
            caption="../report/figure.rst",
            category="Comparison",
            subcategory="{dataset}{suffix}",
            labels={"figure": "{figure}"},
        ),
    log:
        paths.log("plot_comparison"),
    benchmark:
        paths.benchmark("plot_comparison")
    localrule: True
    conda:
        CONDA
    resources:
        **SMALL,
    params:
        **params_of("plot_comparison"),
        of_study=of_study,
    message:
        "Plot {wildcards.figure} of the models on {wildcards.dataset}{params.of_study}"
    shell:
        "exec {params.call:q} --log {log:q}"
