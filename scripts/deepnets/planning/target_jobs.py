"""The job that Snakemake on a node of a cluster is to run: its command line loses the commas in `quick,lr=0.03`.

For the node Snakemake writes `train:recipe="quick,lr=0.03",seed=0`, which it then reads as three wildcards.
"""

from collections.abc import Container, Mapping
from typing import Any


def restore_target_jobs(workflow: Any) -> None:
    """Give the jobs of Snakemake's option `--target-jobs` their whole wildcards."""
    settings = workflow.dag_settings
    settings.target_jobs = [
        spec._replace(
            wildcards_dict=whole_wildcards(spec.wildcards_dict, workflow.get_rule(spec.rulename).wildcard_names)
        )
        for spec in settings.target_jobs
    ]


def whole_wildcards(read: Mapping[str, str], names: Container[str]) -> dict[str, str]:
    """Return a rule's wildcards, of these names: what was read under another name continues the value before it."""
    whole: dict[str, str] = {}
    for name, value in read.items():
        if name in names or not whole:
            whole[name] = value
        else:
            whole[next(reversed(whole))] += f",{name}={value}"
    return whole
