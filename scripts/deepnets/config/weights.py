"""What a model's `weights:` stands for: a file, an experiment of this project, or what a library publishes."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from deepnets.utils import paths
from deepnets.utils.option_types import AcceptExponent, Probability, measured_in

PUBLISHED = "default"
# Of each channel of images from 0 (black) to 1 (white).
_OF_FULL_INTENSITY = measured_in("fraction")
Means = list[Annotated[Probability, _OF_FULL_INTENSITY]]
Deviations = list[
    Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False), _OF_FULL_INTENSITY, AcceptExponent]
]
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")  # .pth.tar
RESULTS = "results/"


def check_weights(written: str) -> str:
    """Return a value of `weights:` that can be right: of a file, it exists.

    Raises:
        ValueError: it is of no such kind, or there is no such file.
    """
    if written == PUBLISHED:
        return written
    if is_experiment(written):
        experiment_names(written)
        return written
    if Path(written).suffix not in _SUFFIXES:
        raise ValueError(
            f"must be default, a file ({', '.join(_SUFFIXES)}), or an experiment's path like"
            f" results/cifar10/resnet18/quick/seed0 (got {written[:100]!r})"
        )
    local_file(written)
    return written


def check_normalisation(mean: Means | None, std: Deviations | None, weights: str | None) -> None:
    """Check that `mean` and `std` of a model go together, and with weights.

    Raises:
        ValueError: one is missing, or has another number of channels.
    """
    if mean is None and std is None:
        return
    if weights is None:
        raise ValueError(
            "mean and std are those by which images were normalised when weights were trained; add weights, or leave"
            " out mean and std, and the dataset's are used"
        )
    lengths = len(mean or ()), len(std or ())
    if lengths not in ((1, 1), (3, 3)):
        raise ValueError(
            f"mean and std must have one number for each channel, 1 or 3 (got {lengths[0]} and {lengths[1]} numbers)"
        )


def is_experiment(written: str) -> bool:
    """Whether the weights are those of an experiment."""
    return written.startswith(RESULTS)


def experiment_names(written: str) -> dict[str, str]:
    """The names in an experiment's path; the name of its file of weights may follow.

    Raises:
        ValueError: the path has another form.
    """
    words = written.removesuffix(f"/{paths.MODEL_FILE}").strip("/").split("/")[1:]
    if len(words) != 4 or not words[3].startswith("seed") or not words[3].removeprefix("seed").isdecimal():
        raise ValueError(f"not the path of an experiment (got {written[:100]!r}); write {paths.EXPERIMENT}")
    return dict(zip(("dataset", "model", "recipe", "seed"), (*words[:3], words[3].removeprefix("seed")), strict=True))


def local_file(written: str) -> Path:
    """The file of weights, next to config.yaml: here, or in the repository; or anywhere, by its whole path.

    Raises:
        ValueError: there is no such file.
    """
    for folder in (Path.cwd(), paths.REPOSITORY):
        if (file := folder / Path(written).expanduser()).is_file():
            return file
    where = "" if Path(written).expanduser().is_absolute() else f" in {Path.cwd()}, where config.yaml is"
    raise ValueError(f"no file {written}{where}; correct the path or add the file")


def start_file(weights: dict[str, Any]) -> str | None:
    """Where the weights in a spec are, from the folder that holds data/ and results/; None: in a file of the user's."""
    if "experiment" in weights:
        return f"{RESULTS}{weights['experiment']}/{paths.MODEL_FILE}"
    if "published" in weights:
        library, _, network = weights["published"].partition("/")
        return paths.PUBLISHED_WEIGHTS.format(library=library, network=network)
    return None
