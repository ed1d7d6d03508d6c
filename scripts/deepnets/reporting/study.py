"""A study's results and everything else that its report is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deepnets.comparison.published import Published
from deepnets.comparison.statistics_file import Statistics
from deepnets.evaluation.measurements import Exported, Latency, Robustness
from deepnets.evaluation.results import Result
from deepnets.reporting.audit import Audit
from deepnets.reporting.job_times import JobTime
from deepnets.utils import paths


@dataclass(frozen=True)
class Missing:
    """An experiment that a report leaves out: its name, as in its path, and its state in words."""

    name: str
    state: str


@dataclass(frozen=True)
class Study:
    """Everything that a report is made from.

    Attributes:
        results: experiments in the order of the study.
        datasets: by name, {"variant_of": name of the published dataset that it stands for or None, "note": sentence
            or None, "own_files": the user's folder or archive that it is made from or None}.
        statistics: the statistics.json of each dataset.
        optional: its optional stages.
        latencies: the latency.json of each network, by dataset and model; {} without this stage.
        robustness: what each experiment's robustness.json has, by its folder; {} without this stage.
        exports: the exported files of each experiment, by its folder.
        saliency: the folders of the experiments that have figures/saliency.png.
        stopped: folders of the experiments in which a search stopped a trial early.
        jobs: the times of the study's jobs; empty if nothing was measured.
        audits: the audit.json of each dataset; None if its data was deleted.
        environment: from deepnets.reporting.environment.describe.
        folder: the folder of report.md; links are relative to it.
        suffix: of the study's paths, as in `utils.paths`.
        missing: its experiments that are not in `results`.
    """

    name: str
    results: list[Result]
    datasets: dict[str, dict[str, str | None]]
    published: list[Published]
    statistics: dict[str, Statistics]
    audits: dict[str, Audit | None]
    optional: list[str]
    latencies: dict[tuple[str, str], Latency]
    robustness: dict[Path, Robustness]
    exports: dict[Path, list[Exported]]
    saliency: set[Path]
    stopped: set[Path]
    jobs: list[JobTime]
    environment: dict[str, Any]
    folder: Path
    suffix: str = ""
    missing: Sequence[Missing] = ()

    def link(self, path: str, dataset: str = "", figure: str = "") -> PurePosixPath:
        """Return a path of the study, as of `utils.paths`, relative to the report."""
        filled = path.format(dataset=dataset, figure=figure, suffix=self.suffix)
        return PurePosixPath(filled).relative_to(PurePosixPath(paths.REPORT).parent)
