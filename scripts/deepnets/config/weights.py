"""What a model's `weights:` stands for: a file, an experiment of this project, or what a library publishes."""

from pathlib import Path

from deepnets.utils import paths

PUBLISHED = "default"
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


def start_file(weights: dict[str, str]) -> str | None:
    """Where the weights in a spec are, from the folder that holds data/ and results/; None: in a file of the user's."""
    if "experiment" in weights:
        return f"{RESULTS}{weights['experiment']}/{paths.MODEL_FILE}"
    if "published" in weights:
        library, _, network = weights["published"].partition("/")
        return paths.PUBLISHED_WEIGHTS.format(library=library, network=network)
    return None
