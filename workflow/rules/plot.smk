"""From numbers to pictures; none of these jobs loads torch."""


rule plot_learning_curves:
    """Loss and accuracy by epoch, on the training and the validation part."""
    input:
        history=f"{EXPERIMENT}/history.csv",
        script=ancient(in_repository("scripts/plot_learning_curves.py")),
        code=ancient(code("plot_learning_curves")),
    output:
        png=report(
            f"{EXPERIMENT}/figures/learning_curves.png",
            caption="../report/learning_curves.rst",
            category="Experiments",
            subcategory="{dataset}",
            labels={"model": "{model}", "recipe": "{recipe}", "seed": "{seed}", "figure": "learning curves"},
        ),
        svg=f"{EXPERIMENT}/figures/learning_curves.svg",
    log:
        f"{LOGS}/plot_learning_curves.log",
    benchmark:
        f"{LOGS}/plot_learning_curves.benchmark.tsv"
    localrule: True
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        job=job("plot_learning_curves"),
    message:
        "Plot the learning curves of {wildcards.model} on {wildcards.dataset},"
        " recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec python {input.script:q} --job {params.job:q} --history {input.history:q}"
        " --png {output.png:q} --svg {output.svg:q} > {log:q} 2>&1"


rule plot_confusion_matrix:
    """Which classes are taken for which, on the test part."""
    input:
        metrics=f"{EXPERIMENT}/metrics.json",
        script=ancient(in_repository("scripts/plot_confusion_matrix.py")),
        code=ancient(code("plot_confusion_matrix")),
    output:
        png=report(
            f"{EXPERIMENT}/figures/confusion_matrix.png",
            caption="../report/confusion_matrix.rst",
            category="Experiments",
            subcategory="{dataset}",
            labels={"model": "{model}", "recipe": "{recipe}", "seed": "{seed}", "figure": "confusion matrix"},
        ),
        svg=f"{EXPERIMENT}/figures/confusion_matrix.svg",
    log:
        f"{LOGS}/plot_confusion_matrix.log",
    benchmark:
        f"{LOGS}/plot_confusion_matrix.benchmark.tsv"
    localrule: True
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        job=job("plot_confusion_matrix"),
    message:
        "Plot the confusion matrix of {wildcards.model} on {wildcards.dataset},"
        " recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec python {input.script:q} --job {params.job:q} --metrics {input.metrics:q}"
        " --png {output.png:q} --svg {output.svg:q} > {log:q} 2>&1"


rule plot_comparison:
    """The study's models on one dataset beside each other."""
    input:
        metrics=dataset_files("metrics.json"),
        timing=dataset_files("timing.json"),
        published=ancient(in_repository("workflow/published.csv")),
        script=ancient(in_repository("scripts/plot_comparison.py")),
        code=ancient(code("plot_comparison")),
    output:
        png=report(
            "results/{dataset}/comparison/{figure}.png",
            caption="../report/comparison.rst",
            category="Comparison",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        "logs/{dataset}/comparison/{figure}.log",
    benchmark:
        "logs/{dataset}/comparison/{figure}/plot_comparison.benchmark.tsv"
    localrule: True
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        job=job("plot_comparison"),
    message:
        "Plot {wildcards.figure} of the models on {wildcards.dataset}"
    shell:
        "exec python {input.script:q} --job {params.job:q} --figure {wildcards.figure:q}"
        " --published {input.published:q} --png {output.png:q} > {log:q} 2>&1"
