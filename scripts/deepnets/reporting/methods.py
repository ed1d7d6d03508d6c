"""The report's section on methods, as a paper could have it: what was trained how, and how it was compared."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from deepnets.comparison.aggregate import SeedGroup, passes
from deepnets.comparison.statistics_file import Statistics
from deepnets.evaluation.results import Result
from deepnets.models import display_name
from deepnets.reporting.headline import Row, by_folds, datasets_of, same_networks
from deepnets.reporting.markdown import Markdown, enumerate_words, escape
from deepnets.reporting.references import cite, cited, list_references
from deepnets.reporting.settings import OFF, in_effect
from deepnets.reporting.study import Study
from deepnets.reporting.verdicts import counted

_NAMED = 12  # longer lists are counted
_PARTS = 3  # sets of networks that are named
_ARCHITECTURES = {
    "vgg16": "simonyan2015",
    "inception_v3": "szegedy2016",
    "resnet50": "he2016",
    "mobilenet_v2": "sandler2018",
}
# By how the names of a library's networks begin, without underscores.
_FAMILIES = {
    "convnext": "liu2022",
    "densenet": "huang2017",
    "efficientnet": "tan2019",
    "mobilenetv2": "sandler2018",
    "mobilenetv3": "howard2019",
    "regnet": "radosavovic2020",
    "resnet": "he2016",
    "resnext": "xie2017",
    "swin": "liu2021",
    "vgg": "simonyan2015",
    "vit": "dosovitskiy2021",
    "wideresnet": "zagoruyko2016",
}
# By the name of a dataset in torchvision, scikit-learn or config.yaml, in lower case without hyphen and underscore.
_DATASETS = {
    "mnist": "lecun1998",
    "digits": "alpaydin1998",
    "fashionmnist": "xiao2017",
    "kmnist": "clanuwat2018",
    "cifar10": "krizhevsky2009",
    "cifar100": "krizhevsky2009",
    "svhn": "netzer2011",
    "sklearndigits": "alpaydin1998",
}
_SGD = ("stochastic gradient descent with Nesterov momentum", "sutskever2013")
_OPTIMIZERS = {
    "sgd": _SGD,
    "adamw": ("AdamW", "loshchilov2019"),
    "muon": ("Muon", "jordan2024", "amsel2025"),
}
_SCHEDULES = {
    "one_cycle": ("rises and falls in one cycle", "smith2018"),
    "cosine": ("falls along a cosine", "loshchilov2017"),
    "linear": ("falls along a line",),
}
_RISES = {"one_cycle": "rising over", "cosine": "after a linear warm-up over", "linear": "after a linear warm-up over"}
# What else a recipe may have: option -> value (None: any that is on) -> its name and sources.
_INGREDIENTS: dict[str, dict[str | None, tuple[str, ...]]] = {
    "label_smoothing": {None: ("label smoothing", "szegedy2016")},
    "augment.horizontal_flip": {None: ("half of the images mirrored left to right",)},
    "augment.mixup": {None: ("mixup", "zhang2018")},
    "augment.cutmix": {None: ("CutMix", "yun2019")},
    "augment.cutout": {None: ("cutout", "devries2017")},
    "augment.random_erasing": {None: ("random erasing", "zhong2020")},
    "class_weights": {"balanced": ("losses weighted by the inverse frequency of the class", "king2001")},
    "weight_averaging": {
        "ema": ("a moving average of the weights", "polyak1992"),
        "swa": ("stochastic weight averaging", "izmailov2018"),
    },
    "progressive_resizing.start": {None: ("images that grow during training", "tan2021")},
    "layer_decay": {None: ("learning rates that decrease from layer to layer", "clark2020")},
}
_NEUTRAL = (*OFF, "1.0", "1")  # 1.0 is a layer_decay that changes nothing


def describe(study: Study, rows: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Return the paragraphs on methods, and a line for each reference that they cite.

    Args:
        study: what the report is about.
        rows: by dataset, as in the report's tables.

    Raises:
        UserError: the file of references is missing.
    """
    paragraphs = [
        _data_and_networks(study, rows),
        _training(study.results),
        _evaluation(study, rows),
        _comparison(rows, study.statistics),
        _behaviour(study, rows),
    ]
    return {"methods": paragraphs, "references": list_references(cited(" ".join(paragraphs)))}


# -- training ---------------------------------------------------------------------------------------------------------


def _data_and_networks(study: Study, rows: Mapping[str, list[Row]]) -> Markdown:
    architectures = dict.fromkeys(result.architecture for result in study.results)
    networks = [_sourced(display_name(name), *_sources_of_network(name)) for name in architectures]
    named = _words(networks) if len(networks) <= _NAMED else escape(f"{len(networks)} networks")
    versions = dict.fromkeys(run.versions.get("torch") for each in study.results for run in each.timing.conditions)
    torch = " ".join(["PyTorch", enumerate_words([version for version in versions if version] or [""])]).strip()
    datasets = [_dataset(name, runs[0].group, study.datasets[name]["variant_of"]) for name, runs in rows.items()]
    images = _words(datasets) if len(datasets) <= _NAMED else escape(f"{len(datasets)} datasets (see Results)")
    verb = "was" if len(architectures) == 1 else "were"
    return _sentences(
        [
            Markdown(f"{named} {verb} trained on {images}, with {_sourced(torch, 'paszke2019')} in jobs of"),
            Markdown(f"{_sourced('Snakemake', 'moelder2021')}."),
            escape(_only_on(rows)),
            escape(_starts(study.results)),
            escape(_repeats(rows)),
        ]
    )


def _sources_of_network(architecture: str) -> list[str]:
    """Return the paper of a network, by its own name or, of a library's, by that of its family."""
    library, _, name = architecture.rpartition("/")
    if not library or architecture.endswith(".py") or ":" in name:
        return _sources(_ARCHITECTURES, architecture)
    plain = name.replace("_", "")
    families = sorted((family for family in _FAMILIES if plain.startswith(family)), key=len)
    return [_FAMILIES[families[-1]]] if families else []


def _dataset(name: str, group: SeedGroup, variant_of: str | None) -> Markdown:
    """Return a dataset's name with its source, if it is a known one or stands for one, and its sizes."""
    metrics = group.first.metrics
    spec = metrics.spec["dataset"]
    names = (variant_of or "", spec.get("name") or spec["source"])
    sources = [_sources(_DATASETS, re.sub("[-_]", "", each.lower())) for each in names]
    pixels = " x ".join(map(str, metrics.model.input_size[1:]))
    train = metrics.train.of or metrics.train.n
    numbers = f"{train:,} training, {metrics.validation.n:,} validation and {metrics.test.n:,} test images"
    if group.folds:
        numbers = f"{group.test_images:,} images"
    sizes = escape(f"({numbers} of {pixels}, {len(metrics.classes)} classes)")
    return Markdown(f"{_sourced(name, *(sources[0] or sources[1]))} {sizes}")


def _only_on(rows: Mapping[str, list[Row]]) -> str:
    """Return the sentences on datasets that have some of the networks; "" where each has all."""
    parts = same_networks(rows)
    every = {model for models, _ in parts for model in models}
    fewer = [(models, datasets) for models, datasets in parts if set(models) != every]
    if len(fewer) > _PARTS:
        return "Not every dataset had all of these networks (see Results)."
    return " ".join(
        f"Only {counted(models, 'networks')} {'was' if len(models) == 1 else 'were'} trained on"
        f" {counted(datasets, 'datasets')}."
        for models, datasets in fewer
    )


def _starts(results: Iterable[Result]) -> str:
    pretrained = {result.is_pretrained for result in results}
    if pretrained == {False}:
        return "All weights started at random."
    who = "All" if pretrained == {True} else "Some"
    return f"{who} networks started from the weights of earlier training runs (see Networks)."


def _repeats(rows: Mapping[str, list[Row]]) -> str:
    found = by_folds([row.group for runs in rows.values() for row in runs])
    sentences = []
    for folds, groups in found.items():
        who = "it" if len(groups) == 1 else "each"
        who = who.capitalize() if len(found) == 1 else f"On {datasets_of(groups)}, {who}"
        sentences.append(_of_equal_folds(who, folds, groups))
    return " ".join(sentences)


def _of_equal_folds(who: str, folds: int, groups: list[SeedGroup]) -> str:
    fewest, most = (extreme(len(group.results) for group in groups) for extreme in (min, max))
    if folds:
        return f"{who} was trained {most} times, over {folds} folds of which each is the test split once."
    seeds = f"{fewest} to {most} seeds" if fewest < most else "one seed" if most == 1 else f"{most} seeds"
    decides = ["the first weights", "the order of the images", "their random changes"]
    if any(not group.first.metrics.validation.from_dataset for group in groups):
        decides.append("which training images were held out for validation")
    return f"{who} was trained with {seeds}; a seed decides {enumerate_words(decides)}."


def _training(results: Iterable[Result]) -> Markdown:
    recipes = [in_effect(result) for result in results]
    names = _values(recipes, "optimizer")
    optimizers = [Markdown(_sourced(*_OPTIMIZERS.get(name, (name,))) + _BY_MUON * (name == "muon")) for name in names]
    schedules = [_schedule(name, recipes) for name in _values(recipes, "schedule")]
    used = [
        _sourced(f"{name}{_in_some(runs, len(recipes))}", *sources)
        for option, values in _INGREDIENTS.items()
        for value, (name, *sources) in values.items()
        if (runs := sum(_is_on(recipe.get(option), value) for recipe in recipes))
    ]
    epochs, batches = (_range(_values(recipes, name)) for name in ("epochs", "batch_size"))
    sentences = [
        Markdown(f"Training took {escape(epochs)} epochs in batches of {escape(batches)} images, by"),
        Markdown(f"{_words(optimizers)}{'; the learning rate ' * bool(schedules)}{' or '.join(schedules)}."),
        Markdown(
            f"Normalisation layers and biases had no weight decay {cite('he2019')}{_KEPT_NORMS * ('muon' in names)}."
        ),
        *([Markdown(f"Further: {_words(used)}.")] if used else []),
        escape("The section Recipes has every option."),
    ]
    return _sentences(sentences)


def _is_on(found: str | None, wanted: str | None) -> bool:
    """Return whether an option has the value that is wanted; None: any but those that do nothing."""
    return found is not None and found not in _NEUTRAL and wanted in (None, found)


def _in_some(runs: int, all_runs: int) -> str:
    return "" if runs == all_runs else f" (in {runs} of {all_runs} training runs)"


def _schedule(name: str, recipes: Iterable[Mapping[str, str]]) -> Markdown:
    """Return what the learning rate does in the recipes that have this schedule."""
    shape = _sourced(*_SCHEDULES.get(name, (name,)))
    warmups = _values([recipe for recipe in recipes if recipe.get("schedule") == name], "warmup")
    if name not in _RISES or not any(map(float, warmups)):
        return shape
    shares = _range([f"{100 * float(warmup):g}" for warmup in warmups])
    return Markdown(f"{shape}, {_RISES[name]} the first {shares} % of the steps")


def _values(recipes: Iterable[Mapping[str, str]], name: str) -> list[str]:
    return list(dict.fromkeys(recipe[name] for recipe in recipes if name in recipe))


def _range(values: list[str]) -> str:
    low, *_, high = sorted([*values, *values], key=float)
    return low if low == high else f"{low} to {high}"


# -- comparison -------------------------------------------------------------------------------------------------------


def _evaluation(study: Study, rows: Mapping[str, list[Row]]) -> Markdown:
    chosen = "Of several recipes of a network, the one with the best validation accuracy stands for it. "
    several = any(len(runs) > len({row.group.model for row in runs}) for runs in rows.values())
    machines = dict.fromkeys(
        f"{run.name} ({run.thread_count}, {run.precision})" for each in study.results for run in each.timing.conditions
    )
    where = enumerate_words(list(machines)) if len(machines) <= _NAMED else f"{len(machines)} machines (see Provenance)"
    published = any(row.published for runs in rows.values() for row in runs)
    return Markdown(
        f"{chosen * several}The weights after the last epoch were evaluated, once, on the test images; how the values"
        " of the recipes were found is not recorded, and earlier runs may have been tested. Training ran on"
        f" {escape(where)}.{_THEIRS * published}"
    )


def _comparison(rows: Mapping[str, list[Row]], statistics: Mapping[str, Statistics]) -> Markdown:
    groups = [row.group for runs in rows.values() for row in runs]
    seeds = {len(group.results) for group in groups if not group.folds}
    intervals = {
        f"for one training run, it is Wilson's over images {cite('wilson1927')}": 1 in seeds,
        _OF_SEEDS: bool(seeds - {1}),
        f"over folds, it follows from their spread {cite('bengio2004')}": any(group.folds for group in groups),
    }
    margins = sorted({f"{100 * each.margin:g}" for each in statistics.values()})
    return _sentences(
        [
            Markdown(f"Each test accuracy has a 95 % interval; {'; '.join(_true(intervals))}."),
            *_of_pairs(statistics, " or ".join(margins)),
        ]
    )


def _of_pairs(statistics: Mapping[str, Statistics], margins: str) -> list[Markdown]:
    """Return the sentences on pairs; `margins`: of all, in percentage points."""
    pairs = [pair for each in statistics.values() for pair in each.pairs if pair.over != "nothing"]
    if not pairs:
        return []
    over = {pair.over for pair in pairs}
    tests = {
        _MCNEMAR: "networks" in over,
        f"t tests over seeds and images {cite('satterthwaite1946')}": "seeds" in over,
        "t tests over the folds": "folds" in over,
    }
    number = "The one pair of networks was" if len(pairs) == 1 else f"The {len(pairs):,} pairs of networks were"
    sentences = [
        f"{number} compared on the same test images by {_words(_true(tests))}, at 5 % after Holm's correction for all"
        f" pairs of a dataset {cite('holm1979')}.",
        _IMAGES_ALONE_SEEDS if "seeds" in over else "",
        _IMAGES_ALONE_FOLDS if "folds" in over else "",
        _TEST_DECIDES if over & {"seeds", "folds"} else "",
        f"Letters join those that no test tells apart {cite('piepho2004')}.",
        f"Two are called equivalent where the 90 % interval of the difference lies within {margins} percentage points"
        f" {cite('schuirmann1987')}, each pair at 5 %, uncorrected.",
        _CONNOR if any(pair.settle and pair.over == "networks" for pair in pairs) else "",
        _POWER if any(pair.settle and pair.over != "networks" for pair in pairs) else "",
    ]
    return list(map(Markdown, sentences))


def _true(words: Mapping[str, bool]) -> list[str]:
    return [word for word, holds in words.items() if holds]


_THEIRS = (
    f" Published accuracies are those of Gosaye {cite('gosaye')}; nothing is known of their spread over seeds. Each"
    " counts as a share of as many test images as here, and the interval of a difference from it is that of two"
    f" independent proportions {cite('newcombe1998')}."
)
_OF_SEEDS = (
    "over several seeds, seeds and images are two crossed random effects"
    f" {cite('searle1992', 'satterthwaite1946')}, because both vary from study to study"
    f" {cite('bouthillier2021', 'jordan2023')}"
)
_IMAGES_ALONE_SEEDS = (
    f"Where a preliminary test {cite('bancroft1944')}, at 30 %, does not find that runs differ by more than chance, the"
    " interval of a difference has the variance and the degrees of freedom of the images alone."
)
_IMAGES_ALONE_FOLDS = (
    "Where folds differ by no more than chance, the interval of a difference has the degrees of freedom of the images."
)
_TEST_DECIDES = (
    "Its test, and the 90 % interval of equivalence, always count both: so that interval may be the wider one, and the"
    " 95 % interval may leave out 0 where p is a little above 0.05; the test decides."
)
_CONNOR = f"How many images would settle an open pair is the sample size of paired designs {cite('connor1987')}."
_POWER = (
    "What would settle an open pair is where its t test, at 5 % divided by the number of pairs, has a power of 80 %,"
    " with the variances that were found."
)
_MCNEMAR = (
    f"exact McNemar tests of the trained networks {cite('mcnemar1947', 'dietterich1998')}, with an interval of the"
    f" difference by a paired bootstrap over images {cite('efron1979', 'agresti2005')}"
)


def _behaviour(study: Study, rows: Mapping[str, list[Row]]) -> Markdown:
    return Markdown(
        f"Probabilities are judged by log loss, by the Brier score {cite('brier1950')} and by the expected calibration"
        f" error over 15 bins of equal mass, without the bias of small bins {cite('kumar2019', 'roelofs2022')}, before"
        f" and after a temperature that is fitted on the validation images {cite('guo2017')}, and is 1 unless they show"
        f" a gain (likelihood-ratio test at 5 %, {cite('wilks1938')}). Selective accuracy and AURC are those of"
        f" risk-coverage curves {cite('geifman2017')}; prediction sets are split conformal, at 95 %"
        f" {cite('angelopoulos2021')}.{_robustness(study, rows) if study.robustness else ''}"
    )


def _robustness(study: Study, rows: Mapping[str, list[Row]]) -> str:
    first = [passes(runs[0].group.results)[0] for runs in rows.values()]
    images = sorted({sum(study.robustness[result.directory].n for result in results) for results in first})
    number = " to ".join(f"{each:,}" for each in dict.fromkeys((images[0], images[-1])))
    return (
        f" Robustness is accuracy under six corruptions of Hendrycks and Dietterich {cite('hendrycks2019')}, shift and"
        f" rotation, at three severities each, on {number} test images."
    )


# -- words ------------------------------------------------------------------------------------------------------------


def _sources(known: Mapping[str, str], name: str) -> list[str]:
    return [known[name]] if name in known else []


def _sourced(name: str, *keys: str) -> Markdown:
    """Return a name with its citation, if it has one."""
    return Markdown(f"{escape(name)} {cite(*keys)}") if keys else escape(name)


_BY_MUON = f" for convolutions and hidden layers of up to 8 million parameters (all others: {_sourced(*_SGD)})"
_KEPT_NORMS = ", nor had the weights that took Muon's steps, which keep their norms"


def _words(parts: list[Any]) -> Markdown:
    """Return texts of Markdown as a list in words; "" for none."""
    return Markdown(enumerate_words(parts)) if parts else Markdown("")


def _sentences(parts: Iterable[Markdown]) -> Markdown:
    return Markdown(" ".join(part for part in parts if part))
