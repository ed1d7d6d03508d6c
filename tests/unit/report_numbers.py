"""Compare every number of a report's tables with the one of `recomputed`; a number without one is an error."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import recomputed
import report_costs
from recomputed import Group, Run, name_of, title_of
from report_cells import Cell, Near, Rows, Seconds, compare_cell
from report_pages import Table, tables_in_place


class Checker:
    """The numbers of a study.

    Args:
        root: the folder that holds results/, data/ and logs/.
        folders: of the experiments, in the order of the study.
        published: workflow/published.csv.
        margin: the difference of accuracies that counts as none, a fraction.
    """

    def __init__(self, root: Path, folders: Sequence[Path], published: Path, margin: float = 0.005) -> None:
        self.root, self.runs, self.published = root, [Run(folder) for folder in folders], pd.read_csv(published)
        self.margin = margin
        self.known: dict[tuple[str, ...], Rows] = {}  # so that many reports of one study are checked quickly
        self.datasets = list(dict.fromkeys(run.dataset for run in self.runs))
        self.groups = {
            name: recomputed.grouped([run for run in self.runs if run.dataset == name]) for name in self.datasets
        }
        # A header that one table alone has, the columns that name its rows, and its rows.
        self.kinds: dict[str, tuple[tuple[str, ...], Callable[[Table], Rows]]] = {
            "Group": (("Model",), self._results),
            "p (Holm)": (("A", "B"), self._pairs),
            "Brier score": (("Model",), self._calibration),
            "Corrupted": (("Model",), self._corrupted),
            "F1 (%)": (("Class",), self._classes),
            "Train": (("Class",), self._images),
            "Multiply-adds": (("Dataset", "Model"), lambda _: report_costs.of_networks(self.runs)),
            "Largest difference": (
                ("Dataset", "Model", "Recipe", "Seed", "File"),
                lambda _: report_costs.of_exported_files(self.runs),
            ),
            "Peak memory (MB)": (("Dataset", "Model", "Recipe", "Seed"), lambda _: report_costs.of_runs(self.runs)),
            "Training runs": (("Dataset", "Model"), lambda _: report_costs.of_all_runs(self.runs)),
            "Stage": (("Stage",), lambda _: report_costs.of_stages(self.root / "logs")),
            "Used for": (("Recipe", "Used for"), self._recipes),
            "Architecture": (("Model",), self._networks),
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
                self.known[place] = recompute(table)
            counts[kind] = counts.get(kind, 0) + _compare(table, keys, self.known[place])
        return counts

    # -- results -------------------------------------------------------------------------------------------------------

    def _results(self, table: Table) -> Rows:
        groups = self.groups[table.dataset]
        several = len({group.first.recipe for group in groups}) > 1
        letters = recomputed.letters(groups)
        chosen = recomputed.chosen(groups)
        rows = {}
        for group, letter in zip(groups, letters, strict=True):
            mark = " not chosen" if several and group not in chosen else ""
            rows[f"{_label(group, several)}{mark}",] = self._of_group(group) | {"Group": letter}
        if (together := recomputed.committee(groups)) is not None:
            of_folds = " of each fold" * any(group.folds for group in groups)
            rows[f"Committee of {together[0]} networks{of_folds} not ranked",] = {"Test acc. (%)": together[1]}
        for architecture in dict.fromkeys(group.first.architecture for group in groups):
            same = [group for group in groups if group.first.architecture == architecture]
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
        for (a, b), p in recomputed.pairs(groups).items():
            share, counts = (find(groups[a], groups[b]) for find in (recomputed.ahead, recomputed.right_alone))
            rows[names[a], names[b]] = {
                "Difference (points)": recomputed.difference(groups[a], groups[b]),
                "p (Holm)": [p if p >= 0.001 else 0.0005],  # below, it is written as < 0.001
                "Only A / only B right": "–" if counts is None else counts,
                "A beats B": "–" if share is None else [share],
                "Verdict": recomputed.verdict(groups[a], groups[b], p, self.margin),
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
        return {(name_of(g.first.model),): _calibrated(g) for g in recomputed.chosen(self.groups[table.dataset])}

    def _corrupted(self, table: Table) -> Rows:
        rows: Rows = {}
        for group in recomputed.chosen(self.groups[table.dataset]):
            found = pd.DataFrame([_corrupted(run) for run in group.whole])
            spread = {name: _with_spread(found[name]) for name in ("As they are", "Corrupted")}
            rows[name_of(group.first.model),] = {name: [100 * found[name].mean()] for name in found} | spread
        return rows

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
        return rows

    def _images(self, table: Table) -> Rows:
        folder, classes = self.root / "data" / table.dataset, self._first(table.dataset).metrics["classes"]
        counts = {
            split.capitalize(): np.bincount(np.load(folder / f"{split}_labels.npy"), minlength=len(classes))
            for split in ("train", "test")
        }
        return {(name,): {split: [counts[split][place]] for split in counts} for place, name in enumerate(classes)}

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


def _corrupted(run: Run) -> pd.Series:
    """The accuracies of a run as fractions; with folds, of those of a pass together: a column of the table for each."""
    accuracies, images = [], []
    for part in run.parts:
        file = json.loads((part.folder / "robustness.json").read_text())
        kinds = pd.DataFrame(file["corruptions"]).rename(
            columns=lambda kind: "JPEG" if kind == "jpeg" else kind.title()
        )
        as_they_are = part.right("test").mean() if file["n"] == file["of"] else file["accuracy"]
        accuracies.append({"As they are": as_they_are, "Corrupted": kinds.to_numpy().mean(), **kinds.mean()})
        images.append(file["n"])
    return pd.DataFrame(accuracies).mul(images, axis=0).sum() / sum(images)


def _calibrated(group: Group) -> dict[str, Cell]:
    """A row of the table of calibration; of several seeds the means, and the lowest and highest error.

    With folds, numbers are of a pass over them; each network has a temperature of its own.
    """
    runs = group.whole
    found = [recomputed.calibration_error(run.probabilities("test").max(1), run.right("test")) for run in runs]
    value, low, high, width = np.mean(found, axis=0)
    temperatures = [[recomputed.temperature(part) for part in run.parts] for run in runs]
    scaled = [
        np.concatenate([part.probabilities("test", each) for part, each in zip(run.parts, of_run, strict=True)])
        for run, of_run in zip(runs, temperatures, strict=True)
    ]
    after = [
        recomputed.calibration_error(probabilities.max(1), run.right("test"))[0]
        for run, probabilities in zip(runs, scaled, strict=True)
    ]
    losses = [recomputed.log_loss(run.labels("test"), each) for run, each in zip(runs, scaled, strict=True)]
    temperature = float(np.mean(temperatures))
    risks = [recomputed.risks(run) for run in runs]
    sets = [recomputed.conformal(run) for run in runs]
    errors = [each[0] for each in found]
    bounds = [Near(bound, 0.1 * width) for bound in (low, high)] if len(runs) == 1 else [min(errors), max(errors)]
    return {
        "Log loss": [fmean(run.loss("test") for run in runs)],
        "Brier score": [fmean(map(recomputed.brier, runs))],
        "Calibration error (%)": [value, *bounds],
        "Temperature": [Near(temperature, 0.003 * temperature)],
        "Log loss after": [Near(fmean(losses), 0.0002)],
        "Calibration error after (%)": [Near(fmean(after), 0.06)],
        "Accuracy on the surest 90 % (%)": [100 * fmean(1 - float(each[round(0.9 * len(each)) - 1]) for each in risks)],
        "AURC (%)": [100 * fmean(float(each.mean()) for each in risks)],
        "Classes per set": [fmean(size for size, _ in sets)],
        "Sets with the true class (%)": [100 * fmean(coverage for _, coverage in sets)],
    }


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _with_spread(shares: Sequence[float]) -> list[float]:
    """The mean in percent, and of several the standard deviation."""
    return [100 * float(np.mean(shares)), *([100 * float(np.std(shares, ddof=1))] if len(shares) > 1 else [])]


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
