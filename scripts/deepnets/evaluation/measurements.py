"""What optional stages measured of a finished experiment: robustness.json, as its readers check it."""

from statistics import fmean

from pydantic import BaseModel, Field, PositiveInt

from deepnets.evaluation.results import Result
from deepnets.evaluation.schemas import Fraction
from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.errors import UserError


class Robustness(BaseModel):
    """Accuracies on `n` of `of` test images: as they are, and for each kind of corruption at severity 1, 2 and 3."""

    spec_sha256: str
    n: PositiveInt
    of: PositiveInt
    accuracy: Fraction
    corrupted_accuracy: Fraction
    corruptions: dict[str, list[Fraction]] = Field(min_length=1)

    def mean(self, kind: str) -> float:
        """The accuracy over the severities of a kind."""
        return fmean(self.corruptions[kind])


def read_robustness(result: Result) -> Robustness:
    """Read robustness.json of an experiment.

    Raises:
        UserError: missing, damaged or of other settings; the message names the file and the remedy.
    """
    file = result.directory / paths.ROBUSTNESS_FILE
    found = read_checked(file, Robustness)
    if found.spec_sha256 != result.metrics.spec_sha256:
        raise UserError(f"{file}: made with other settings than {paths.METRICS_FILE}; start Snakemake, or delete it.")
    return found


def corruption_title(kind: str) -> str:
    """The name of a kind of corruption for readers."""
    return kind.upper() if kind == "jpeg" else kind.capitalize()
