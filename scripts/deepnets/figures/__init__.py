"""The registry of figures: a row here and the module of the same name make a figure.

Each figure gets its place in the report and its caption there and in `snakemake --report` from its row. A comparison
figure is a job in the workflow; those of an experiment are one job together, as it starts once.
This module does not import matplotlib, so that the Snakefile can import it quickly.
"""

import importlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from deepnets.comparison.sweeps import budget_lines, swept
from deepnets.utils import paths


@dataclass(frozen=True)
class ExperimentFigure:
    """A figure of one experiment; its module has `read(file) -> data` and `draw(data, experiment, style) -> Figure`.

    Attributes:
        name: its module in this folder, and its file in the experiment's folder figures/.
        title: as in "Learning curves of ResNet50 on digits".
        caption: what is on each axis, and how to read it.
        reads: the experiment's file that `read` takes.
        width: in the report.
    """

    name: str
    title: str
    caption: str
    reads: str
    width: str = "49%"

    @property
    def files(self) -> list[str]:
        """Its PNG and its SVG, with the experiment's names in braces."""
        return [path.replace("{figure}", self.name) for path in paths.OUTPUTS["plot_experiment"]]


@dataclass(frozen=True)
class ComparisonFigure:
    """A figure that compares the experiments on one dataset, drawn by `draw(comparison)` of its module.

    Attributes:
        name: its module in this folder, and its file in the dataset's folder comparison/.
        title: as in "Test accuracy by model on digits".
        caption: what is on each axis, over which runs, and how to read it.
        notes: sentences that the captions of other figures have, too; the report has each once.
        condition: takes the experiments on the dataset; the figure is drawn if the result is true. None: always.
        needs: optional stages whose files it reads; it is drawn in studies that have them.
        shown: takes what statistics.json says, the groups on the dataset, and the time of training of each, as figures
            draw it; the report leaves the figure out if what it returns is false, because only results tell that there
            is nothing to see. The file is drawn even then. None: always shown.
        width: in the report.
        of_behaviour: its place in the report is the section on behaviour.
    """

    name: str
    title: str
    caption: str
    notes: tuple[str, ...] = ()
    condition: Callable[[Sequence[Any]], object] | None = None
    needs: tuple[str, ...] = ()
    shown: Callable[[Any, Sequence[Any], Sequence[float]], object] | None = None
    width: str = "49%"
    of_behaviour: bool = False


EXPERIMENT_FIGURES: dict[str, ExperimentFigure] = {
    figure.name: figure
    for figure in (
        ExperimentFigure(
            "learning_curves",
            "Learning curves",
            "Accuracy, cross-entropy loss and the learning rate of each step (vertical axes) against the epoch"
            " (horizontal axis)."
            " The grey dashed line shows the training images, as augmented and averaged over the epoch while the"
            " weights changed. The coloured line shows the validation images at the end of each epoch. The numbers"
            " on the right are the values of the last epoch.",
            reads=paths.HISTORY_FILE,
        ),
        ExperimentFigure(
            "confusion_matrix",
            "Confusion matrix",
            "The test images by their true class (rows) and their predicted class (columns). The numbers are"
            " counts, and empty cells are zero. The colour is the share of all images of the true class, on a"
            " square-root scale that makes rare confusions visible. An image without a prediction is in no cell."
            " With more than 25 classes only the colour is shown.",
            reads=paths.METRICS_FILE,
        ),
    )
}

_COSTS_DIFFER = 1.1  # the highest cost divided by the lowest, from which on points are apart

# Notes: sentences that several captions share.
_INTERVALS = (
    "Bars are 95 % intervals: of the trained network over the test images (Wilson) for one seed, of the recipe over"
    " seeds and test images for several; the line below the title names the kind. Whether two networks differ is not"
    " seen from their bars: the figure of pairs shows it."
)
_MANY = "If there are more than 24 networks, only the 12 that are best on validation are coloured."
_CPU_TIME = "Where training runs had different numbers of CPU threads, the time is CPU time, as the axis says."
_FRONT = (
    "Accuracy against a cost: the grey line with rings is the Pareto front of the networks, each with the recipe that"
    " validation chose: none of these is as accurate as one with a ring at the same cost or less; intervals, and the"
    " spread of times, do not count. The other recipes are pale and have no ring. If there are more than 8 points, or"
    " names have no room, the pale ones are small, without names and intervals."
)
_AGAINST_COST = (_FRONT, _INTERVALS, _MANY)


def _several_candidates(experiments: Sequence[Any]) -> bool:
    return len({(each.model, each.recipe) for each in experiments}) > 1


def _several_models(experiments: Sequence[Any]) -> bool:
    """Whether a cost that is the same for all recipes and seeds of a model can differ."""
    return len({each.model for each in experiments}) > 1


def _several_networks(experiments: Sequence[Any]) -> bool:
    """Whether two trained networks predict the same images, if of each model one recipe counts."""
    folds = {each.spec["dataset"].get("fold") for each in experiments}
    return len({(each.model, each.seed) for each in experiments}) > len(folds)


def _swept_values(experiments: Sequence[Any]) -> bool:
    of_recipe = {(each.model, each.recipe): each for each in experiments}  # seeds have the same values
    return bool(swept(of_recipe.values()))


def _times_differ(_statistics: Any, _groups: Sequence[Any], seconds: Sequence[float]) -> bool:
    return _differ(seconds)


def _memories_differ(_statistics: Any, groups: Sequence[Any], _seconds: Sequence[float]) -> bool:
    """Whether the peaks differ; False if that of a run is unknown."""
    peaks = [group.peak_memory_mb for group in groups]
    return all(peaks) and _differ(peaks)


def _differ(costs: Collection[float]) -> bool:
    """Whether costs differ by more than noise does; else their points lie on each other."""
    return max(costs) > _COSTS_DIFFER * min(costs)


COMPARISON_FIGURES: dict[str, ComparisonFigure] = {
    figure.name: figure
    for figure in (
        ComparisonFigure(
            "accuracy",
            "Test accuracy by model",
            "Test accuracy (horizontal axis) of each network and recipe (rows), the best on validation first."
            " Where a network has several recipes, those that validation did not choose are pale. Ticks below a bar are"
            " single seeds. Hollow markers are published accuracies.",
            notes=(_INTERVALS,),
            width="75%",
        ),
        ComparisonFigure(
            "ranking",
            "Which networks can be distinguished",
            "Each network and recipe (rows, the best on validation first, recipes that it did not choose last) against"
            " each other one (columns), on the same test images."
            " The numbers are differences of the test accuracy in percentage points, row minus column. Blue: the row is"
            " better, orange: the column is better (p below 5 % after Holm's correction for all pairs; exact McNemar"
            " test for one seed each, t test over seeds and images for several, over the folds where there are folds)."
            " Grey: equivalent within the margin of config.yaml. White: open, as the test found nothing, or no fold in"
            " common. Hatched: the network itself. Two that share a letter cannot be distinguished. Not chosen:"
            " validation chose another recipe of the network.",
            condition=_several_candidates,
            width="75%",
        ),
        ComparisonFigure(
            "accuracy_vs_parameters",
            "Test accuracy against the number of parameters",
            "Test accuracy (vertical axis) of each network and recipe against the number of trainable parameters"
            " (horizontal axis, log scale).",
            notes=_AGAINST_COST,
            condition=_several_models,
        ),
        ComparisonFigure(
            "accuracy_vs_mult_adds",
            "Test accuracy against multiply-adds",
            "Test accuracy (vertical axis) of each network and recipe against the multiply-adds of a prediction"
            " (horizontal axis, log scale), as torchinfo counts them.",
            notes=_AGAINST_COST,
            condition=_several_models,
        ),
        ComparisonFigure(
            "accuracy_vs_time",
            "Test accuracy against training time",
            "Test accuracy (vertical axis) of each network and recipe against the wall time of training"
            " (horizontal axis, log scale), the mean over the seeds.",
            notes=(_CPU_TIME, *_AGAINST_COST),
            shown=_times_differ,
        ),
        ComparisonFigure(
            "accuracy_vs_memory",
            "Test accuracy against peak memory",
            "Test accuracy (vertical axis) of each network and recipe against the peak memory of training (horizontal"
            " axis, log scale), the highest of the seeds: on a CPU all that the process holds, on a GPU what torch has"
            " allocated.",
            notes=_AGAINST_COST,
            shown=_memories_differ,
        ),
        ComparisonFigure(
            "accuracy_vs_latency",
            "Test accuracy against latency",
            "Test accuracy (vertical axis) of each network and recipe against the time of predicting one image"
            " (horizontal axis, log scale), the median of single calls while nothing else ran.",
            notes=_AGAINST_COST,
            condition=_several_models,
            needs=("latency",),
        ),
        ComparisonFigure(
            "accuracy_vs_throughput",
            "Test accuracy against the time of an image in a batch",
            "Test accuracy (vertical axis) of each network and recipe against the time per image when 128 are predicted"
            " at once (horizontal axis, log scale): the inverse of images per second, while nothing else ran.",
            notes=_AGAINST_COST,
            condition=_several_models,
            needs=("latency",),
        ),
        ComparisonFigure(
            "accuracy_at_equal_time",
            "Validation accuracy at equal training time",
            "Validation accuracy at the end of each epoch (vertical axis) against the time of the training steps so"
            " far, without validation and saving (horizontal axis, log scale), a line per training run. Of each"
            " network, the recipe with the best validation accuracy is shown; of a single network, its recipes, up to"
            " the best 12. The dashed line is where the shortest run ends or, if that is later, where every run has"
            " been validated. The number after a name is the accuracy there, the mean over the seeds; between two"
            " epochs it is on the line that joins them, and a run that has ended keeps its last accuracy (dotted). A"
            " longer run is not yet at its best there: its learning rate is still high. Where each run was validated"
            " only once, at its end, there is no dashed line, as nothing is known at equal time, and the number is the"
            " accuracy at the end.",
            notes=(_CPU_TIME,),
            condition=_several_candidates,
        ),
        ComparisonFigure(
            "reliability",
            "Reliability diagrams",
            "Whether a network that is 80 % sure is right in 80 % of cases. Test images in bins of about equally"
            " many by the confidence of the answer, its probability (horizontal axis), and the share of each bin"
            " that is right (vertical axis), a panel per network: its recipe that validation chose, the first seed,"
            " or with folds a network of each on the images of all, where T is their mean. Where a network is nearly"
            " always sure, most of the 15 bins lie on each other at the top right. On the diagonal, confidence is"
            " what it promises; below it, the network is too sure, above it, not sure enough. Bars are 95 %"
            " intervals (Wilson) of the share: few images leave much to chance. Coloured: as trained; grey and"
            " dashed: after its logits, from which the probabilities are computed, were divided by the temperature"
            " T, which is fitted on the validation images; it is not drawn where T is 1, which changes nothing."
            " Above a panel: the calibration error, about the mean distance from the diagonal, as trained and after"
            " that. The axes begin below the lowest bin.",
            width="75%",
            of_behaviour=True,
        ),
        ComparisonFigure(
            "risk_coverage",
            "When to trust an answer",
            "Left: errors (vertical axis) among the test images that are answered (horizontal axis), if the network"
            " answers only where it is most confident. Right: conformal prediction sets, fitted on the validation"
            " images to hold the true class in 95 % of images (dashed line): how many do on the test images (vertical"
            " axis), against the mean number of classes in a set (horizontal axis). The grey band is what chance does"
            " to one network: in 95 % of cases it is within, by the choice of the validation images, which set the"
            " threshold, and of the test images. Of each network, the recipe that validation chose, means over the"
            " seeds.",
            width="75%",
            of_behaviour=True,
        ),
        ComparisonFigure(
            "corruptions",
            "Test accuracy on corrupted images",
            "Test accuracy (vertical axis) against the severity of a corruption (horizontal axis; 0: the images as they"
            " are), a panel per kind. Of each network, the recipe that validation chose, the mean over the seeds. Of"
            " more than 2,000 test images, a fixed random sample. Six kinds are those of Hendrycks and Dietterich 2019,"
            " in the strengths of CIFAR-10-C for images up to 32 pixels; shift and rotation are added.",
            needs=("robustness",),
            width="100%",
            of_behaviour=True,
        ),
        ComparisonFigure(
            "examples",
            "Surest mistakes and least sure right answers",
            "Test images of each network (rows, the best on validation first; its recipe that validation chose, the"
            " first seed, or with folds a network of each on the images of all)."
            " Left: wrong answers with the highest confidence. Right: right answers with the lowest. Above an image:"
            " its class, the network's answer if it is another one, and the probability of the answer. Below: the"
            " file's name, or the image's number, from 0.",
            width="100%",
            of_behaviour=True,
        ),
        ComparisonFigure(
            "missed_by_all",
            "Images that every network predicts wrongly",
            "Test images (in rows, the surest answers first) for which no network has the right answer; of several"
            " recipes of a network, the one that validation chose counts. Above an image: its class, the answer of all"
            " networks together, by the mean of their probabilities, and its probability. A red frame, these come"
            " first: every network gives the same other class with a probability of 80 % or more, so the label may be"
            " wrong. A network keeps the pictures of its surest mistakes only.",
            condition=_several_networks,
            shown=lambda statistics, *_: statistics.missed_by_all.count,
            width="100%",
            of_behaviour=True,
        ),
        ComparisonFigure(
            "accuracy_vs_budget",
            "Test accuracy against the budget in epochs and in time",
            "Test accuracy (vertical axis) of each network and recipe against its budget (horizontal axes, log"
            " scale): in epochs on the left, in wall time on the right. Each point is a training run with its own"
            " schedule. A line joins runs that differ in their number of epochs only."
            " Of a network with several recipes, validation chose one; the others are pale, and small where no line"
            " joins them or there are more than 40 points.",
            notes=(_CPU_TIME, _INTERVALS, _MANY),
            condition=budget_lines,
            width="100%",
        ),
        ComparisonFigure(
            "accuracy_vs_value",
            "Validation accuracy against the values of recipe options",
            "Validation accuracy (vertical axis) of each recipe against the value of an option (horizontal axis), a"
            " panel per option in which recipes differ. A line joins recipes of a network that differ in this option"
            " alone; where a network has several lines, each is named by what differs between them. Large markers are"
            " means over the seeds, small ones single seeds. A ring marks the recipe that validation chose for its"
            " network. Hollow markers are trials that a search stopped early. Pale markers are on no line: they differ"
            " from others in more than this option.",
            condition=_swept_values,
            width="75%",
        ),
    )
}


def comparison_figures(experiments: Sequence[Any], optional: Collection[str]) -> list[ComparisonFigure]:
    """The comparison figures whose condition is met, in the order of the report.

    Args:
        experiments: the experiments on one dataset, or their results.
        optional: the optional stages of the study.
    """
    figures = [figure for figure in COMPARISON_FIGURES.values() if {*optional}.issuperset(figure.needs)]
    return [figure for figure in figures if figure.condition is None or figure.condition(experiments)]


def captions() -> dict[str, str]:
    """Return the caption of each comparison figure by its name, with the sentences that it shares with others."""
    return {name: " ".join([figure.caption, *figure.notes]) for name, figure in COMPARISON_FIGURES.items()}


def load(name: str) -> ModuleType:
    """The module of a figure; it imports matplotlib."""
    return importlib.import_module(f"{__name__}.{name}")
