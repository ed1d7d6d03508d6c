"""From numbers to pictures; none of these jobs loads torch."""

COMPARISONS = ["accuracy", "accuracy_vs_parameters", "accuracy_vs_time"]


rule plot_learning_curves:
    """Loss and accuracy by epoch, on the training and the validation part."""
    input:
        history=EXPERIMENT + "/history.csv",
        code=ancient(code("plot_learning_curves")),
    output:
        png=report(
            EXPERIMENT + "/figures/learning_curves.png",
            caption="../report/learning_curves.rst",
            category="Experiments",
            subcategory="{dataset}",
            labels={"model": "{model}", "recipe": "{recipe}", "seed": "{seed}", "figure": "learning curves"},
        ),
        svg=EXPERIMENT + "/figures/learning_curves.svg",
    log:
        LOGS + "/plot_learning_curves.log",
    params:
        job=job("plot_learning_curves", experiment=experiment_names, spec=figure_spec),
    message:
        "Plot the learning curves of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    conda:
        CONDA
    threads: 1
    localrule: True
    shell:
        "exec python {SCRIPTS}/plot_learning_curves.py --job {params.job:q} --history {input.history:q}"
        " --png {output.png:q} --svg {output.svg:q} > {log:q} 2>&1"


rule plot_confusion_matrix:
    """Which classes are taken for which, on the test part."""
    input:
        metrics=EXPERIMENT + "/metrics.json",
        code=ancient(code("plot_confusion_matrix")),
    output:
        png=report(
            EXPERIMENT + "/figures/confusion_matrix.png",
            caption="../report/confusion_matrix.rst",
            category="Experiments",
            subcategory="{dataset}",
            labels={"model": "{model}", "recipe": "{recipe}", "seed": "{seed}", "figure": "confusion matrix"},
        ),
        svg=EXPERIMENT + "/figures/confusion_matrix.svg",
    log:
        LOGS + "/plot_confusion_matrix.log",
    params:
        job=job("plot_confusion_matrix", experiment=experiment_names, spec=figure_spec),
    message:
        "Plot the confusion matrix of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    conda:
        CONDA
    threads: 1
    localrule: True
    shell:
        "exec python {SCRIPTS}/plot_confusion_matrix.py --job {params.job:q} --metrics {input.metrics:q}"
        " --png {output.png:q} --svg {output.svg:q} > {log:q} 2>&1"


rule plot_comparison:
    """The study's models on one dataset beside each other."""
    input:
        metrics=dataset_files("metrics.json"),
        timing=dataset_files("timing.json"),
        published=ancient(str(ROOT / "workflow/published.csv")),
        code=ancient(code("plot_comparison")),
    output:
        png=report(
            "results/{dataset}/comparison/{figure}.png",
            caption="../report/comparison.rst",
            category="Comparison",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    wildcard_constraints:
        figure="|".join(COMPARISONS),
    log:
        "logs/{dataset}/comparison/{figure}.log",
    params:
        job=job("plot_comparison", spec=comparison_spec),
    message:
        "Plot {wildcards.figure} of the models on {wildcards.dataset}"
    conda:
        CONDA
    threads: 1
    localrule: True
    shell:
        "exec python {SCRIPTS}/plot_comparison.py --job {params.job:q} --figure {wildcards.figure:q}"
        " --metrics {input.metrics:q} --timing {input.timing:q} --published {input.published:q}"
        " --png {output.png:q} > {log:q} 2>&1"
