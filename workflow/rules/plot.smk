"""From numbers to pictures; none of these jobs loads torch."""


rule plot_experiment:
    """One figure of one experiment."""
    input:
        data=lambda wildcards: f"{EXPERIMENT}/{EXPERIMENT_FIGURES[wildcards.figure].reads}",
        script=ancient(in_repository("scripts/plot_experiment.py")),
        code=ancient(code("plot_experiment")),
    output:
        png=report(
            f"{EXPERIMENT}/figures/{{figure}}.png",
            caption="../report/figure.rst",
            category="Experiments",
            subcategory="{dataset}",
            labels={"model": "{model}", "recipe": "{recipe}", "seed": "{seed}", "figure": "{figure}"},
        ),
        svg=f"{EXPERIMENT}/figures/{{figure}}.svg",
    log:
        f"{LOGS}/{{figure}}/plot_experiment.log",
    benchmark:
        f"{LOGS}/{{figure}}/plot_experiment.benchmark.tsv"
    wildcard_constraints:
        figure="|".join(EXPERIMENT_FIGURES),
    localrule: True
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        job=job("plot_experiment"),
        title=figure_title,
    message:
        "Plot the {params.title} of {wildcards.model} on {wildcards.dataset},"
        " recipe {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "exec python {input.script:q} --job {params.job:q} --figure {wildcards.figure:q} --input {input.data:q}"
        " --png {output.png:q} --svg {output.svg:q} > {log:q} 2>&1"


rule plot_comparison:
    """One figure that compares the study's models on one dataset."""
    input:
        metrics=dataset_files("metrics.json"),
        timing=dataset_files("timing.json"),
        published=ancient(in_repository("workflow/published.csv")),
        script=ancient(in_repository("scripts/plot_comparison.py")),
        code=ancient(code("plot_comparison")),
    output:
        png=report(
            "results/{dataset}/comparison/{figure}.png",
            caption="../report/figure.rst",
            category="Comparison",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        "logs/{dataset}/comparison/{figure}.log",
    benchmark:
        "logs/{dataset}/comparison/{figure}/plot_comparison.benchmark.tsv"
    wildcard_constraints:
        figure="|".join(COMPARISON_FIGURES),
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
