"""The code that the result of a job depends on."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from deepnets import models
from deepnets.config.experiment import Experiment
from deepnets.config.schema import Config
from deepnets.figures import COMPARISON_FIGURES, EXPERIMENT_FIGURES
from deepnets.planning.code_digest import digests, import_closure, own_digests
from deepnets.planning.job import entry

# Stages that build the network.
_WITH_NETWORK = ("summarize", "latency", "train", "evaluate", "robustness", "export", "export_program", "saliency")


class JobCode:
    """The code of the jobs of a configuration.

    Args:
        config: the checked configuration.
        code_root: the repository's folder, where the code is.
        experiments: the experiments of a study, by the suffix of its paths.
    """

    def __init__(self, config: Config, code_root: Path, experiments: Callable[[str], list[Experiment]]):
        self.config, self.code_root, self.experiments = config, code_root, experiments

    def digests(self, stage: str, wildcards: Mapping[str, str]) -> dict[str, str]:
        """Return a digest of each code file that a job runs: its stage's, and those of what it imports by a name.

        Raises:
            UserError: a wildcard is unknown, or a code file is broken.
        """
        own = self.own_code(wildcards["model"]) if stage in _WITH_NETWORK else {}
        return self._of_stage(stage, self._plugins(stage, wildcards)) | own

    def _plugins(self, stage: str, wildcards: Mapping[str, str]) -> tuple[str, ...]:
        """Modules that a stage imports by a computed name: a network's, a data source's or a figure's."""
        if stage in ("download", "prepare", "audit"):
            dataset = entry("dataset", wildcards["dataset"], self.config.datasets)
            return (f"deepnets.data.sources.{dataset.source}",)
        if stage in ("fetch_weights", "compare", "export_fp16", "export_int8", "bundle"):
            return ()
        if stage in (*_WITH_NETWORK, "card"):
            network = models.module_of(entry("model", wildcards["model"], self.config.models).architecture)
            return (network, *(self._shown_networks(wildcards) if stage in ("card", "saliency") else ()))
        figures = list[str]()
        if stage == "plot_experiment":
            figures = [*EXPERIMENT_FIGURES]
        elif stage == "plot_comparison":
            figures = [entry("figure", wildcards["figure"], COMPARISON_FIGURES).name]
        return (*(f"deepnets.figures.{figure}" for figure in figures), *self._shown_networks(wildcards))

    def _shown_networks(self, wildcards: Mapping[str, str]) -> tuple[str, ...]:
        """Modules of the networks in a figure or in the report, which say how readers see them.

        A model that has a network's name is called and drawn as that network's module says. The report also says how
        each architecture departs from the original.
        """
        dataset = wildcards.get("dataset")
        study = self.experiments(wildcards.get("suffix", ""))
        of_study = {each.model for each in study if dataset in (None, each.dataset)}
        if dataset is None:
            of_study |= {each.spec["model"]["architecture"] for each in study}
        shown = {wildcards["model"]} if "model" in wildcards else of_study
        modules = {f"deepnets.models.{name}" for name in shown & set(models.available())}
        if any(models.named(name) is not None for name in shown):
            modules.add("deepnets.models._named")
        return tuple(sorted(modules))

    @cache  # noqa: B019 - there is one in a process, and it lives as long
    def _of_stage(self, stage: str, plugins: tuple[str, ...]) -> dict[str, str]:
        return digests(import_closure(f"scripts/{stage}.py", self.code_root, plugins), self.code_root)

    def own_code(self, model: str) -> dict[str, str]:
        """Digests of the file of the user's that a network is in, and of what it imports; of other networks, none."""
        network = models.named(entry("model", model, self.config.models).architecture)
        if network is None or (own := network.own_file()) is None:
            return {}
        file, folder = own
        return own_digests(file, folder, self.code_root)
