"""One module says every path: Snakemake's rules write where it says."""

import json
import re

from deepnets.figures import EXPERIMENT_FIGURES
from deepnets.utils import paths

LISTING = """
include: {snakefile!r}
import json
import re
print(json.dumps({{rule.name: [str(path) for path in rule.output] for rule in workflow.rules}}))
"""


def test_rules_write_what_the_paths_say(root, tmp_path, snakemake):
    (tmp_path / "Snakefile").write_text(LISTING.format(snakefile=str(root / "Snakefile")))
    printed = snakemake(tmp_path, "--list-rules").stdout
    written = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    unconstrained = {
        name: [re.sub(r"\{(\w+),[^{}]*\}", r"{\1}", path) for path in outputs] for name, outputs in written.items()
    }
    of_chosen_study = [path.format(suffix="") for path in paths.OUTPUTS["report"]]
    of_experiment = [path for figure in EXPERIMENT_FIGURES.values() for path in figure.files]
    expected = {**paths.OUTPUTS, "plot_experiment": of_experiment}
    expected |= {"report": of_chosen_study, "report_by_name": paths.OUTPUTS["report"]}
    assert {name: sorted(outputs) for name, outputs in unconstrained.items() if name != "all"} == {
        stage: sorted(outputs) for stage, outputs in expected.items()
    }


def test_logs_lie_as_the_outputs_do():
    assert paths.log("train") == "logs/{dataset}/{model}/{recipe}/seed{seed}/train.log"
    assert paths.log("report") == "logs/report{suffix}.log"
    assert paths.benchmark("plot_comparison") == (
        "logs/{dataset}/comparison{suffix}/{figure}/plot_comparison.benchmark.tsv"
    )
