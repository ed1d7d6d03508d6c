"""Deeper Networks: every (model, dataset) pair from download to report. Start with `snakemake --cores 4 results/report.md`."""

from snakemake.utils import min_version

min_version("9.14")  # before, files that a failed job was to update were deleted


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/plot.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        JOBS.result_files(),
    message:
        "The study is complete"
