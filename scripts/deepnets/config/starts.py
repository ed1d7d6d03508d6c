"""The weights that experiments start from: what identifies them in a spec, and the size of images that they know."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepnets.config.experiment import Experiment, spec_sha256, written
from deepnets.config.weights import PUBLISHED, RESULTS, experiment_names, is_experiment, local_file
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file
from deepnets.utils.specs import read_head

if TYPE_CHECKING:
    from deepnets.config.schema import Config, Model


def with_start(config: "Config", experiment: Experiment, chain: tuple[Experiment, ...] = ()) -> Experiment:
    """The experiment with what identifies the weights that it starts from, and images of the size that these know.

    Args:
        chain: the experiments that start from this one, directly or not.

    Raises:
        UserError: there is no such experiment, it starts from itself or may have been trained on images that one of
            `chain` is tested on, the library publishes no weights, or the size of the images that the weights know is
            not in config.yaml.
    """
    model = config.models[experiment.model]
    if experiment.directory in [each.directory for each in chain]:
        raise UserError(f"{experiment.directory} would start from itself; give models.{experiment.model} other weights")
    for tested in chain:
        _refuse_other_division(config, experiment, tested)
    if model.weights is None:
        return experiment
    spec, size = _identity(config, model, (*chain, experiment))
    if model.mean is not None:
        spec |= {"mean": model.mean, "std": model.std}
    network = _resized(config, experiment.spec["model"], experiment.model, experiment.dataset, size)
    return replace(experiment, spec={**experiment.spec, "model": network, "weights": spec})


def _refuse_other_division(config: "Config", start: Experiment, tested: Experiment) -> None:
    """Refuse weights that may have been trained on images that an experiment is tested on.

    These are weights of another fold, or of a dataset of another name that divides the same files in another way. An
    option that is left out is another way, too, even if the other dataset has its default: without `test`, a folder of
    validation images may be the test split, which only the files show.
    """
    first, second = config.datasets[start.dataset], config.datasets[tested.dataset]
    same_files = (first.own_files or first.raw_spec()) == (second.own_files or second.raw_spec())
    there, here = first.division(start.seed), second.division(tested.seed)
    differing = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    if same_files and differing:
        values = (f"{key}: {written(there.get(key))} there, {written(here.get(key))} here" for key in differing)
        both = f"datasets.{start.dataset} and datasets.{tested.dataset}"
        same = ""
        if "label" in differing:  # each class is divided by itself, and other labels are other classes
            same = f", or {both} a column of splits (split: <column>, without test or folds)"
        elif options := " and ".join(key for key in differing if key != "fold"):  # which the seed chooses
            same = f", or {both} the same {options}"
        raise UserError(
            f"{tested.directory} would start from {start.directory}, which was trained on another fold or split of the"
            f" same files ({'; '.join(values)}), so perhaps on images that it is tested on; give models.{tested.model}"
            f" other weights{same}"
        )


def network_spec(config: "Config", model_name: str, dataset_name: str) -> dict[str, Any]:
    """What identifies a model's network on a dataset, whatever its weights are; raises what `with_start` raises."""
    model, dataset = config.models[model_name], config.datasets[dataset_name]
    spec = model.spec(dataset_name, dataset)
    if model.weights is None:
        return spec
    return _resized(config, spec, model_name, dataset_name, _identity(config, model, ())[1])


def _resized(
    config: "Config", spec: dict[str, Any], model_name: str, dataset_name: str, size: int | None
) -> dict[str, Any]:
    """The spec of a network that enlarges images to the size that its weights know, unless config.yaml says how.

    Images whose size only they show may be smaller, too; larger ones stay as they are.
    """
    if "resize" not in spec or spec["resize"] is not None or spec.get("stem") is not None:
        return spec
    _refuse_unknown_size(config, model_name, dataset_name)
    shape = config.datasets[dataset_name].known_shape
    smallest = 0 if shape is None else min(shape[1:])
    return spec if size is None or size <= smallest else {**spec, "resize": size}


def _refuse_unknown_size(config: "Config", model_name: str, dataset_name: str) -> None:
    """Refuse weights of an experiment on images whose size only they show, as a network is planned before they do."""
    weights = str(config.models[model_name].weights)
    source = experiment_names(weights)["dataset"] if is_experiment(weights) else dataset_name
    if source != dataset_name and config.datasets[source].known_shape is None:
        raise UserError(
            f"config.yaml: models.{model_name}.weights: {weights} was trained on images whose size config.yaml does not"
            f" give, and images of {dataset_name} are to be enlarged to it; write that size as resize: for"
            f" models.{model_name} (once {source} is prepared, input_shape in"
            f" {paths.DATASET_INFO.format(dataset=source)} has it), or as size: for datasets.{source}"
        )


def _identity(config: "Config", model: "Model", chain: tuple[Experiment, ...]) -> tuple[dict[str, Any], int | None]:
    """What identifies a model's weights in a spec, and the side in pixels of the images that they were trained on."""
    written = str(model.weights)
    if written == PUBLISHED:
        from deepnets.models._published import published  # loads torch, for those who ask for it

        try:
            found = published(model.architecture)
        except UserError as error:
            raise UserError(f"config.yaml: weights: {PUBLISHED}: {error}") from None
        return found.spec, found.size
    if is_experiment(written):
        names = experiment_names(written)
        source = config.find(names["dataset"], names["model"], names["recipe"], int(names["seed"]))
        spec = with_start(config, source, chain).spec
        known = {"experiment": source.directory.removeprefix(RESULTS), "spec_sha256": spec_sha256(spec)}
        return known, _side(spec, config.datasets[source.dataset].known_shape)
    try:
        file = local_file(written)
    except ValueError as error:
        raise UserError(str(error)) from None
    status = file.stat()
    sha256 = _sha256(file, status.st_mtime_ns, status.st_size)
    head = read_head(file, "spec", "input_shape") if file.suffix == ".safetensors" else {}
    return {"sha256": sha256}, _side(head.get("spec"), head.get("input_shape"))


def _side(spec: Any, input_shape: Any) -> int | None:
    """The side of the images that a network of this program saw; None if it is not known."""
    try:
        return max(min(input_shape[1:]), spec["model"].get("resize") or 0)
    except (TypeError, KeyError, AttributeError, ValueError):  # of another program
        return None


@functools.cache
def _sha256(file: Path, _mtime_ns: int, _size: int) -> str:
    return sha256_file(file)
