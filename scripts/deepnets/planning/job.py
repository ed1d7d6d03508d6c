"""One job of the workflow, and how people and rules name it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.text import nearest

# The name of a stage's job: what a person types after the script's name.
NAMES = {
    "download": "{dataset}",
    "prepare": "{dataset}",
    "fetch_weights": "{library}/{network}",
    "summarize": "{dataset}/{model}",
    "latency": "{dataset}/{model}",
    "train": paths.EXPERIMENT_NAME,
    "evaluate": paths.EXPERIMENT_NAME,
    "robustness": paths.EXPERIMENT_NAME,
    "compare": "{dataset}/comparison{suffix}",
    **dict.fromkeys(paths.EXPORTS, paths.EXPERIMENT_NAME),
    "saliency": paths.EXPERIMENT_NAME,
    "card": paths.EXPERIMENT_NAME,
    "bundle": paths.EXPERIMENT_NAME,
    "plot_experiment": paths.EXPERIMENT_NAME,
    "plot_comparison": "{dataset}/comparison{suffix}/{figure}",
    "audit": "{dataset}",
    "report": "report{suffix}",
}


@dataclass(frozen=True)
class Job:
    """One job: its stage, which is its script's name, and the words that fill the paths of its files.

    wildcards: some of "dataset", "library", "network", "model", "recipe", "seed", "figure" and "suffix", as text.
    """

    stage: str
    wildcards: Mapping[str, str]

    @property
    def outputs(self) -> list[str]:
        """The files that it writes; the first one names the job."""
        from deepnets.figures import EXPERIMENT_FIGURES  # only a plan needs it: its imports would cost each job 0.1 s

        patterns = paths.OUTPUTS[self.stage]
        if self.stage == "plot_experiment":
            patterns = [path for figure in EXPERIMENT_FIGURES.values() for path in figure.files]
        return [path.format(**self.wildcards) for path in patterns]

    def required_outputs(self, root: Path) -> list[str]:
        """Those of its files that must be there: all, but no audit of arrays that were deleted.

        A missing audit would have the arrays rebuilt, and from them every result.

        Args:
            root: the folder that holds data/ and results/.
        """
        arrays = [path.format(**self.wildcards) for path in paths.OUTPUTS["prepare"]] if self.stage == "audit" else []
        if all((root / path).exists() for path in arrays):
            return self.outputs
        return [path for path in self.outputs if path.startswith("results/")]


def parse_name(stage: str, name: str) -> dict[str, str]:
    """Split a job's name into wildcards: "digits/resnet50/quick/seed0" of `train`, as people and rules write it.

    A leading "results/" or "data/" is dropped.

    Raises:
        UserError: the name has another form.
    """
    pattern = NAMES[stage].split("/")
    words = name.removeprefix("results/").removeprefix("data/").strip("/").split("/")
    if len(words) != len(pattern):
        raise UserError(f"{name}: not the name of a {stage} job; write {name_form(stage)}, without the braces")
    found = {}
    for word, part in zip(words, pattern, strict=True):
        prefix, key = part.rstrip("}").split("{")
        found[key] = word.removeprefix(prefix)
        if not word.startswith(prefix) or (key == "suffix" and found[key][:1] not in ("", "-")):
            raise UserError(
                f"{name}: {word!r} must start with {prefix!r}; write {name_form(stage)}, without the braces"
            )
    return found


def name_form(stage: str) -> str:
    """Return what the names of a stage's jobs are like, for messages: one form, or two, without and with a study."""
    return " or ".join(dict.fromkeys(NAMES[stage].replace("{suffix}", study) for study in ("", "-{study}")))


def entry(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """An entry of a section of config.yaml, or a figure, by its name.

    Raises:
        UserError: there is no such entry; the message has the nearest name.
    """
    if name not in known:
        raise UserError(f"unknown {kind} {name!r}; {nearest(name, known)}")
    return known[name]
