"""The study's report, its table of all metrics, and where it was made."""


rule report:
    """Render results/report.md from the experiments of the study."""
    input:
        metrics=study_files("metrics.json"),
        history=study_files("history.csv"),
        timing=study_files("timing.json"),
        figures=study_files(*(f"figures/{name}.png" for name in EXPERIMENT_FIGURES)),
        comparisons=comparison_figures(),
        template=ancient(in_repository("workflow/templates/report.md.j2")),
        published=ancient(in_repository("workflow/published.csv")),
        script=ancient(in_repository("scripts/report.py")),
        code=ancient(code("report")),
    output:
        report="results/report.md",
        metrics=report("results/metrics.csv", caption="../report/metrics.rst", category="Comparison"),
        environment="results/environment.json",
    log:
        "logs/report.log",
    localrule: True
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        job=job("report"),
    message:
        "Write the report of the study"
    shell:
        "exec python {input.script:q} --job {params.job:q} --template {input.template:q}"
        " --published {input.published:q} --output {output.report:q} --metrics-csv {output.metrics:q}"
        " --environment {output.environment:q} --benchmarks logs > {log:q} 2>&1"
