"""Compare every number of a report's tables with the one of `recomputed`; a number without one is an error."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import recomputed
import report_behaviour
import report_costs
from recomputed import Group, Run, name_of, title_of
from report_cells import Cell, Rows, Seconds, compare_cell
from report_pages import Table, tables_in_place

# How many rows the tables that leave out rows have at most, by the header as in `Checker.kinds`. And of how many
# candidates there are pairs, and how many have a row of their own in the table of results.
MOST = {
    "compared": 50,
    "in results": 40,
    "p (Holm)": 50,
    "F1 (%)": 12,
    **dict.fromkeys(("Brier score", "Corrupted", "Multiply-adds", "Largest difference", "Training runs"), 200),
    **dict.fromkeys(("Used for", "Architecture", "State"), 200),
}


class Checker:
    """The numbers of a study.

    Args:
        root: the folder that holds results/, data/ and logs/.
        folders: of the experiments, in the order of the study.
        published: workflow/published.csv.
        margin: the difference of accuracies that counts as none, a fraction.
        most: other numbers than those of `MOST`.
        missing: the states of the experiments that are not finished, by their names.
    """

    def __init__(
        self,
        root: Path,
        folders: Sequence[Path],
        published: Path,
        margin: float = 0.005,
        *,
        most: Mapping[str, int] | None = None,
        missing: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.runs, self.published = root, [Run(folder) for folder in folders], pd.read_csv(published)
        self.margin, self.most, self.missing = margin, {**MOST, **(most or {})}, missing or {}
        self.known: dict[tuple[str, ...], Rows] = {}  # so that many reports of one study are checked quickly
        self.datasets = list(dict.fromkeys(run.dataset for run in self.runs))
        trained = {
            name: recomputed.grouped([run for run in self.runs if run.dataset == name]) for name in self.datasets
        }
        self.groups = {name: recomputed.counted(groups) for name, groups in trained.items()}
        best_first = [run for each in trained.values() for group in recomputed.best_first(each) for run in group.runs]
        # A header that one table alone has, the columns that name its rows, and its rows: of those that it may leave
        # out, the last ones first.
        self.kinds: dict[str, tuple[tuple[str, ...], Callable[[Table], Rows]]] = {
            "Group": (("Model",), self._results),
            "p (Holm)": (("A", "B"), self._pairs),
            "Brier score": (("Model",), self._calibration),
            "Corrupted": (("Model",), self._corrupted),
            "F1 (%)": (("Class",), self._classes),
            **dict.fromkeys(("Training and validation", "Images"), (("Class",), self._images)),
            "Multiply-adds": (("Model", "Dataset"), lambda _: report_costs.of_networks(best_first)),
            "Largest difference": (
                ("Model", "Dataset", "Recipe", "Seed", "File"),
                lambda _: report_costs.of_exported_files(best_first),
            ),
            "Peak memory (MB)": (("Model", "Dataset", "Recipe", "Seed"), lambda _: report_costs.of_runs(self.runs)),
            "Training runs": (("Model", "Dataset"), lambda _: report_costs.of_all_runs(best_first)),
            "Stage": (("Stage",), lambda _: report_costs.of_stages(self.root / "logs")),
            "Used for": (("Recipe", "Used for"), self._recipes),
            "Architecture": (("Model",), self._networks),
            "State": (("Experiment",), self._missing),
            "Files": (("Model", "Recipe", "Seed"), self._experiments),
            "Page": (("Model", "Recipe", "Page"), self._all_experiments),
        }

    def check(self, report: str) -> dict[str, int]:
        """Return how many numbers of each kind of table of a report, or of one of its pages, were compared.

        Raises:
            AssertionError: a number differs, a row is missing, or nothing here computes a number that the report shows.
        """
        counts: dict[str, int] = {}
        for table in tables_in_place(report):
            if not any(table.header):
                continue  # provenance: versions and machines
            [kind] = [header for header in self.kinds if header in table.header] or [""]
            assert kind, f"nobody recomputes the table with the columns {table.header}"
            keys, recompute = self.kinds[kind]
            place = kind, table.dataset, table.summary, *table.header
            if place not in self.known:
                self.known[place] = dict(islice(recompute(table).items(), self.most.get(kind)))
            counts[kind] = counts.get(kind, 0) + _compare(table, keys, self.known[place])
        return counts

    # -- results -------------------------------------------------------------------------------------------------------

    def _results(self, table: Table) -> Rows:
        groups = self.groups[table.dataset]
        several = len({group.first.recipe for group in groups}) > 1
        letters = recomputed.letters(groups, self.most["compared"])
        chosen = recomputed.chosen(groups)
        preferred = dict.fromkeys([*recomputed.best_first(chosen), *recomputed.best_first(groups)])
        shown = [group for group in groups if group in [*preferred][: self.most["in results"]]]
        rows = {}
        for group, letter in zip(groups, letters, strict=True):
            if group not in shown:
                continue
            mark = " not chosen" if several and group not in chosen else ""
            rows[f"{_label(group, several)}{mark}",] = self._of_group(group) | {"Group": letter}
        if (together := recomputed.committee(groups)) is not None:
            of_folds = " of each fold" * any(group.folds for group in groups)
            rows[f"Committee of {together[0]} networks{of_folds} not ranked",] = {"Test acc. (%)": together[1]}
        for architecture in dict.fromkeys(group.first.architecture for group in shown):
            same = [group for group in shown if group.first.architecture == architecture]
            best, theirs = max(same, key=lambda group: group.validation), self._published(table.dataset, architecture)
            if theirs is not None:
                label, ours = f"{name_of(architecture)}, published", self._of_group(best)
                numbers = {column: value for column, value in theirs.items() if not np.isnan(value)}
                rows[label,] = {column: [value] for column, value in numbers.items()}
                rows[f"difference: {label}",] = {
                    column: [ours[column][0] - value] for column, value in numbers.items() if column in ours
                }
        return rows

    def _pairs(self, table: Table) -> Rows:
        groups = self.groups[table.dataset]
        several = len({group.first.recipe for group in groups}) > 1
        chosen = recomputed.chosen(groups)
        names = [_name(group, several) + ("" if group in chosen else ", not chosen") for group in groups]
        rows: Rows = {}
        for places, (a, b, p) in recomputed.pairs(groups, self.most["compared"]).items():
            share, counts = recomputed.ahead(a, b), recomputed.right_alone(a, b)
            rows[tuple(names[place] for place in places)] = {
                "Difference (points)": recomputed.difference(a, b),
                "p (Holm)": [p if p >= 0.001 else 0.0005],  # below, it is written as < 0.001
                "Only A / only B right": "–" if counts is None else counts,
                "A beats B": "–" if share is None else [share],
                "Verdict": recomputed.verdict(a, b, p, self.margin),
            }
        return rows

    def _published(self, dataset: str, architecture: str) -> dict[str, float] | None:
        columns = {
            "Size (MB)": "size_mb",
            "Trainable parameters": "trainable_parameters",
            "Epochs": "epochs",
            "Train loss": "train_loss",
            "Test loss": "test_loss",
            "Train acc. (%)": "train_accuracy",
            "Test acc. (%)": "test_accuracy",
        }
        fractions = {"Precision (%)": "precision", "Recall (%)": "recall"}
        found = self.published.query("kind == 'study' and dataset == @dataset and model == @architecture")
        if found.empty:
            return None
        row = found.iloc[0]
        return {column: float(row[name]) for column, name in columns.items()} | {
            column: 100 * float(row[name]) for column, name in fractions.items()
        }

    def _of_group(self, group: Group) -> dict[str, Cell]:
        mean, on_test, network = group.mean, group.mean_on_test, group.first.metrics["model"]
        precision, recall = (on_test(lambda run, place=place: run.scores()[place].mean()) for place in (0, 1))
        averaged = [run.metrics["mirror_averaged"]["test"] for run in group.runs if "mirror_averaged" in run.metrics]
        return {
            "Validation acc. (%)": [100 * group.validation],
            "Test acc. (%)": recomputed.accuracy_with_interval(group),
            "Balanced acc. (%)": [100 * on_test(lambda run: run.balanced_accuracy())],
            "Test loss": [on_test(lambda run: run.loss("test"))],
            "Precision (%)": [100 * precision],
            "Recall (%)": [100 * recall],
            "Train loss": [mean(lambda run: run.metrics["train"]["loss"])],
            "Train acc. (%)": [100 * mean(lambda run: run.metrics["train"]["accuracy"])],
            "Epochs": [mean(lambda run: run.epochs)],
            "Training time": Seconds(mean(lambda run: run.timing["wall_seconds"])),
            "Size (MB)": [network["size_mb"]],
            "Trainable parameters": [network["trainable_parameters"]],
            "Mirror-averaged test acc. (%)": [100 * fmean(each["accuracy"] for each in averaged)] if averaged else "–",
        }

    # -- behaviour -----------------------------------------------------------------------------------------------------

    def _calibration(self, table: Table) -> Rows:
        chosen = recomputed.best_first(recomputed.chosen(self.groups[table.dataset]))
        return {(name_of(group.first.model),): report_behaviour.of_calibration(group) for group in chosen}

    def _corrupted(self, table: Table) -> Rows:
        chosen = recomputed.best_first(recomputed.chosen(self.groups[table.dataset]))
        return {(name_of(group.first.model),): report_behaviour.of_corruptions(group) for group in chosen}

    def _classes(self, table: Table) -> Rows:
        named = {_title(run): run for run in self.runs}
        if table.dataset in self.groups:
            named |= {
                name_of(each.first.model): each.whole[0] for each in recomputed.chosen(self.groups[table.dataset])
            }
        run = named[table.summary.partition(": ")[0]]
        predicted, labels = run.predicted("test"), run.labels("test")
        rows: Rows = {}
        for place, name in enumerate(run.metrics["classes"]):
            named, there = int((predicted == place).sum()), int((labels == place).sum())
            right = int(((predicted == place) & (labels == place)).sum())
            either = recomputed.with_interval(right, named + there - right)
            rows[" ".join(name.split()),] = {
                "Test images": [there],
                "Precision (%)": _percent(recomputed.with_interval(right, named)),
                "Recall (%)": _percent(recomputed.with_interval(right, there)),
                "F1 (%)": _percent(either and [2 * share / (1 + share) for share in either]),
            }
        f1 = {key: row["F1 (%)"] for key, row in rows.items()}
        return {key: rows[key] for key in sorted(rows, key=lambda key: 100.0 if f1[key] == "–" else f1[key][0])}

    def _images(self, table: Table) -> Rows:
        folder, classes = self.root / "data" / table.dataset, self._first(table.dataset).metrics["classes"]
        train, test = (
            np.bincount(np.load(folder / f"{split}_labels.npy"), minlength=len(classes)) for split in ("train", "test")
        )
        of_folds = "Images" in table.header
        counts = {"Images": train + test} if of_folds else {"Training and validation": train, "Test": test}
        return {(name,): {title: [counts[title][place]] for title in counts} for place, name in enumerate(classes)}

    def _experiments(self, table: Table) -> Rows:
        words = r"(\d+) experiments on (.+?)(?:: the (\d+) that are best on validation)?"
        count, dataset, best = re.fullmatch(words, table.summary).groups()
        runs = [run for run in self.runs if run.dataset == dataset]
        assert len(runs) == int(count), table.summary
        if best:
            runs = sorted(runs, key=lambda run: run.right("validation").mean(), reverse=True)[: int(best)]
        return {
            (name_of(run.model), title_of(run.recipe), str(run.seed)): {
                "Warnings": "; ".join(run.metrics["warnings"]),
                "Test acc. (%)": [100 * run.right("test").mean()],
            }
            for run in runs
        }

    def _all_experiments(self, table: Table) -> Rows:
        return {
            (name_of(run.model), title_of(run.recipe), f"seed {run.seed}"): {
                "Validation acc. (%)": [100 * run.right("validation").mean()],
                "Test acc. (%)": [100 * run.right("test").mean()],
            }
            for run in self.runs
            if run.dataset == table.dataset
        }

    def _first(self, dataset: str) -> Run:
        return next(run for run in self.runs if run.dataset == dataset)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _recipes(self, table: Table) -> Rows:
        rows: Rows = {}
        for run in self.runs:
            options = pd.json_normalize(run.metrics["spec"]["recipe"]).iloc[0]
            rows[title_of(run.recipe), self._users(run.recipe)] = {
                name: "–" if name not in options else _written(options[name]) for name in table.header[2:]
            }
        return rows

    def _networks(self, _: Table) -> Rows:
        rows: Rows = {}
        for run in self.runs:
            datasets = dict.fromkeys(other.dataset for other in self.runs if other.model == run.model)
            texts = {"Architecture": run.architecture, "Options": _options(run), "On": ", ".join(datasets)}
            rows[name_of(run.model),] = {**texts}
        return rows

    def _missing(self, _: Table) -> Rows:
        environment = json.loads((self.root / "results/environment.json").read_text(encoding="utf-8"))
        start, end = f"snakemake --cores {environment['cores']}", f"--config study={environment['spec']['study']}"
        return {
            (name,): {"State": state, "Command": f"{start} results/{name}/metrics.json {end}"}
            for name, state in self.missing.items()
        }

    def _users(self, recipe: str) -> str:
        """Who has a recipe: "VGG-16 and ResNet50 on digits"."""
        users = pd.DataFrame([(run.dataset, name_of(run.model)) for run in self.runs if run.recipe == recipe])
        models = users.drop_duplicates().groupby(0, sort=False)[1].agg(list)
        return "; ".join(f"{_listed(names)} on {dataset}" for dataset, names in models.items())


def _name(group: Group, with_recipe: bool) -> str:
    recipe = f" ({title_of(group.first.recipe)})" if with_recipe else ""
    return f"{name_of(group.first.model)}{recipe}"


def _label(group: Group, with_recipe: bool) -> str:
    return ", ".join(filter(None, [_name(group, with_recipe), group.named]))


def _title(run: Run) -> str:
    return f"{name_of(run.model)} on {run.dataset}, recipe {title_of(run.recipe)}, seed {run.seed}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _percent(shares: Sequence[float] | None) -> Cell:
    return "–" if shares is None else [100 * share for share in shares]


def _options(run: Run) -> str:
    options = {name: value for name, value in run.metrics["spec"]["model"].items() if name != "architecture"}
    return ", ".join(f"{name} {_written(value)}" for name, value in options.items()) or "–"


def _written(value: object) -> str:
    if value is None or isinstance(value, bool | np.bool_):
        return {None: "none", True: "yes", False: "no"}[None if value is None else bool(value)]
    return str(value)


# -- from texts to numbers -------------------------------------------------------------------------------------------


def _compare(table: Table, keys: Sequence[str], expected: Rows) -> int:
    """Compare the rows of a table; return how many numbers it has."""
    compared, shown, above = 0, set[tuple[str, ...]](), ""
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        if keys == ("Model",) and cells["Model"].startswith("difference"):
            cells["Model"] = f"difference: {above}"
        above = cells.get("Model", "")
        key = tuple(cells[name] for name in keys)
        assert key in expected, f"nobody recomputes the row {key} of the table with {table.header}"
        shown.add(key)
        for column, text in cells.items():
            if column not in keys:
                compared += compare_cell(text, expected[key].get(column), f"{key}, {column}")
    assert shown == set(expected), f"the table with {table.header} has no row for {set(expected) - shown}"
    return compared
