"""The study's report, its table of all metrics, and where it was made."""


rule report:
    """Render results/report.md from the experiments of the study."""
    input:
        metrics=study_files("metrics.json"),
        history=study_files("history.csv"),
        timing=study_files("timing.json"),
        figures=study_files("figures/learning_curves.png", "figures/confusion_matrix.png"),
        comparisons=expand(
            "results/{dataset}/comparison/{figure}.png", dataset=STUDY_DATASETS, figure=COMPARISONS
        ),
        template=str(ROOT / "workflow/templates/report.md.j2"),
        published=str(ROOT / "workflow/published.csv"),
        code=ancient(code("report")),
    output:
        report="results/report.md",
        metrics=report("results/metrics.csv", caption="../report/metrics.rst", category="Comparison"),
        environment="results/environment.json",
    log:
        "logs/report.log",
    params:
        job=job("report", spec=report_spec),
        experiments=study_files(""),
    message:
        "Write the report of the study"
    conda:
        CONDA
    threads: 1
    localrule: True
    shell:
        "exec python {SCRIPTS}/report.py --job {params.job:q} --template {input.template:q}"
        " --published {input.published:q} --output {output.report:q} --metrics-csv {output.metrics:q}"
        " --environment {output.environment:q} > {log:q} 2>&1"
