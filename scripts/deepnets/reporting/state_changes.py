"""The changes between two states of a study, as Markdown: only what differs, and what moved beyond its noise."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deepnets.comparison.changes import Change, Interval, Measured, Predicted, change, paired_intervals
from deepnets.config.experiment import recipe_title
from deepnets.evaluation.metrics import ALL_SPLITS, Metric, of_split
from deepnets.models import display_name
from deepnets.reporting.environment import CODE
from deepnets.reporting.flipped_images import Flips, flips_of, flips_table, predicted_by_both
from deepnets.reporting.markdown import Markdown, bold, code, enumerate_words, escape, table
from deepnets.reporting.states import Names, Run, State
from deepnets.reporting.tables import MISSING
from deepnets.utils.machine import output_of
from deepnets.utils.specs import changed_keys, leaves
from deepnets.utils.text import first_few

# Columns of metrics.csv that the settings, the data and the network decide, and those that the machine decides.
_OF_SPEC = ("architecture", "epochs")
_OF_SEED = (("seed",), ("dataset", "fold"))  # keys of a spec
_FIXED = (
    *_OF_SPEC,
    *("parameters", "trainable_parameters", "mult_adds"),
    *("train_images", "validation_images", "test_images"),
)
_CONDITIONS = ("device", "device_name", "precision", "threads", "accumulation", "torch")
_COSTS = {
    **{"wall_seconds": "Training (s)", "cpu_seconds": "Training (CPU s)"},
    **{"images_per_second": "Images/s", "peak_memory_mb": "Memory (MB)"},
}
_FILES_SHOWN = 20

Pair = tuple[dict[str, Run], dict[str, Run]]  # the runs of one experiment in both states, by their seeds
Moved = tuple[str, Metric | None, Change]  # a number of metrics.csv, by its title


def compare_states(before: State, after: State) -> str:
    """Return the page about two states, as Markdown."""
    shared: dict[Names, Pair] = {
        names: (runs, after.runs[names]) for names, runs in before.runs.items() if names in after.runs
    }
    changes: dict[Names, list[Moved]] = {}
    flips: dict[Names, dict[str, Flips]] = {}
    for names, (old, new) in shared.items():
        predicted = predicted_by_both(old, new)
        flips[names] = {seed: flips_of(each, new[seed].classes) for seed, each in predicted.items()}
        changes[names] = list(_changes((old, new), _paired((old, new), predicted)))
    differing = [*_settings(shared), *_code(before, after), *_versions(before, after, shared)]
    lines = [
        f"# From {code(before.title)} to {code(after.title)}",
        *_only_in_one(before, after),
        *(differing or ["Settings, code and versions are the same, as far as the files say."]),
        *_metrics(shared, changes, flips),
        *flips_table(flips, lambda names: _name(names, before.runs[names])),
    ]
    return "\n\n".join(lines) + "\n"


def _name(names: Names, runs: Mapping[str, Run]) -> str:
    """Return an experiment's name for readers; `runs`: those of it, by their seeds."""
    dataset, model, recipe = names
    architecture = next(iter(runs.values())).row.get("architecture") or None
    return f"{display_name(model, architecture)} on {dataset}, {recipe_title(recipe)}"


def _only_in_one(before: State, after: State) -> Iterator[str]:
    for title, own, other in ((before.title, before, after), (after.title, after, before)):
        if names := [_name(names, runs) for names, runs in own.runs.items() if names not in other.runs]:
            yield f"Only in {code(title)}: {escape('; '.join(names))}."
    if not before.runs.keys() & after.runs.keys():
        yield "They have no experiment of the same dataset, model and recipe, so no metric is compared."


# -- settings, code and versions ---------------------------------------------------------------------------------------


def _section(title: str, first: str, before: str, after: str, rows: Iterable[Sequence[object]]) -> Iterator[str]:
    rows = [[*row[:1], *map(_shown, row[1:3]), *row[3:]] for row in rows]
    if rows:
        header = [first, before, after, "Where"][: len(rows[0])]
        yield f"## {title}"
        yield table(header, rows, numbers_from=len(header))


def _shown(value: object) -> str:
    return MISSING if value in (None, "") else str(value)


def _settings(shared: dict[Names, Pair]) -> Iterator[str]:
    where: dict[tuple[str, str, str], list[str]] = {}
    for names, (old, new) in shared.items():
        if old.keys() != new.keys():
            where.setdefault(("seeds", ", ".join(old), ", ".join(new)), []).append(_name(names, old))
        for setting, was, now in _changed_settings(*_alike(old, new)):
            where.setdefault((setting, _shown(was), _shown(now)), []).append(_name(names, old))
    rows = [
        [*difference, "all experiments" if len(found) == len(shared) > 1 else first_few(found)]
        for difference, found in where.items()
    ]
    yield from _section("Settings", "Setting", "Before", "After", rows)


def _alike(old: dict[str, Run], new: dict[str, Run]) -> tuple[Run, Run]:
    """Return a run of each state, of the same seed if both have it: with folds, the seed chooses the images."""
    shared = [seed for seed in old if seed in new]
    first, second = (shared[0], shared[0]) if shared else (next(iter(old)), next(iter(new)))
    return old[first], new[second]


def _changed_settings(old: Run, new: Run) -> Iterator[tuple[str, object, object]]:
    if old.spec is not None and new.spec is not None:
        was, now = ({key: value for key, value in leaves(run.spec) if key not in _OF_SEED} for run in (old, new))
        yield from ((".".join(key), was.get(key), now.get(key)) for key in changed_keys(was, now))
    known = [column for column in _FIXED if old.row.get(column) and new.row.get(column)]
    if old.spec is not None and new.spec is not None:
        known = [column for column in known if column not in _OF_SPEC]
    yield from ((column, old.row[column], new.row[column]) for column in known if old.row[column] != new.row[column])
    hashes = [run.row.get("spec_sha256", "") for run in (old, new)]
    if (old.spec is None or new.spec is None) and all(hashes) and hashes[0] != hashes[1] and _same_seed(old, new):
        yield "all settings together (SHA-256)", hashes[0][:12], hashes[1][:12]


def _same_seed(old: Run, new: Run) -> bool:
    return old.row["seed"] == new.row["seed"]  # the seed is one of the settings


def _code(before: State, after: State) -> Iterator[str]:
    commits = [state.environment.get("git_commit") for state in (before, after)]
    changed = [
        " with changes that are not committed" * bool(s.environment.get("git_modified")) for s in (before, after)
    ]
    if commits[0] == commits[1] and not any(changed):
        return
    yield "## Code"
    old, new = (
        f"{code(str(commit)[:12])}{more}" if commit else "unknown"
        for commit, more in zip(commits, changed, strict=True)
    )
    yield f"Made by commit {old} and by {new}."
    if not all(commits) or commits[0] == commits[1]:
        return
    top = output_of("git", "rev-parse", "--show-toplevel") or "."
    files = output_of("git", "-C", top, "diff", "--name-only", *map(str, commits), "--", *CODE)
    if files is None:
        yield "The files that differ are not known here: this repository does not have both commits."
    elif files:
        names = files.splitlines()
        rest = f" and {len(names) - _FILES_SHOWN} more" if len(names) > _FILES_SHOWN else ""
        shown = ", ".join(map(code, names[:_FILES_SHOWN]))
        yield f"{len(names)} files of code and configuration differ: {shown}{rest}."
    else:
        yield "No file of code or configuration differs between them."


def _versions(before: State, after: State, shared: dict[Names, Pair]) -> Iterator[str]:
    rows: list[list[object]] = []
    was, now = (_of_machine(state.environment) for state in (before, after))
    rows += [[key, was.get(key), now.get(key)] for key in dict.fromkeys([*was, *now]) if was.get(key) != now.get(key)]
    for column in _CONDITIONS:
        old, new = (_values(column, (pair[side] for pair in shared.values())) for side in (0, 1))
        if old and new and old != new:
            rows.append([f"{column} of training", old, new])
    yield from _section("Versions and machines", "What", "Before", "After", rows)


def _of_machine(environment: dict[str, Any]) -> dict[str, object]:
    """What environment.json has of versions and of the machine."""
    packages = environment.get("packages")
    keys = ("python", "platform", "cpu", "cores", "memory_gb")
    found = {key: environment[key] for key in keys if key in environment}
    gpus = {"gpus": ", ".join(map(str, environment["gpus"]))} if isinstance(environment.get("gpus"), list) else {}
    return {**found, **gpus, **(packages if isinstance(packages, dict) else {})}


def _values(column: str, experiments: Iterable[dict[str, Run]]) -> str:
    found = {run.row.get(column, "") for runs in experiments for run in runs.values()}
    return ", ".join(sorted(filter(None, found)))


# -- metrics -----------------------------------------------------------------------------------------------------------


def _metrics(
    shared: dict[Names, Pair], changes: dict[Names, list[Moved]], flips: dict[Names, dict[str, Flips]]
) -> Iterator[str]:
    if not shared:
        return
    accuracy = {names: next((c for t, m, c in found if t == "Test accuracy"), None) for names, found in changes.items()}
    yield "## Test accuracy"
    header = ["Experiment", "Seeds", "Before", "After", "Change", "95 % interval", "Verdict"]
    rows = [_accuracy_row(names, shared[names], each, flips[names]) for names, each in accuracy.items() if each]
    yield table(header, rows, numbers_from=1)
    others = [
        (_name(names, shared[names][0]), *each)
        for names, found in changes.items()
        for each in found
        if each[0] != "Test accuracy"
    ]
    moved = [each for each in others if each[3].moved]
    if moved:
        yield "## Other metrics that moved beyond their noise"
        header = ["Experiment", "Metric", "Before", "After", "95 % interval of the change", "Noise of"]
        yield table(header, [_moved_row(*each) for each in moved], numbers_from=2)
    yield from _rest(others)


def _changes(pair: Pair, paired: dict[str, tuple[Interval, str]]) -> Iterator[Moved]:
    """The change of each metric that both states have, with its title; `paired`: of test metrics, by predictions."""
    columns: list[tuple[str, str, Metric | None, str | None]] = [
        (f"{split}_{metric.name}", f"{split.capitalize()} {metric.name}", metric, _images_column(split, metric))
        for split in ALL_SPLITS
        for metric in of_split(split)
    ]
    columns += [(column, title, None, None) for column, title in _COSTS.items()]
    for column, title, metric, images in columns:
        old, new = (_measured(runs, column, images) for runs in pair)
        if old is not None and new is not None:
            found = change(old, new)
            if column.startswith("test_") and metric and metric.name in paired:
                interval, noise = paired[metric.name]
                found = replace(found, interval=interval, noise=noise)
            yield title.replace("_", " "), metric, found


def _paired(pair: Pair, predicted: dict[str, Predicted]) -> dict[str, tuple[Interval, str]]:
    """Intervals of test metrics, if all runs of both states have predictions; none with folds, which share no image."""
    old, new = pair
    has_folds = any("fold" in (run.spec or {}).get("dataset", {}) for run in new.values())
    if not predicted or has_folds or not predicted.keys() == old.keys() == new.keys():
        return {}
    return paired_intervals([*predicted.values()])


def _images_column(split: str, metric: Metric) -> str | None:
    if metric.name != "accuracy":
        return None
    return "train_images_evaluated" if split == "train" else f"{split}_images"


def _measured(runs: dict[str, Run], column: str, images: str | None) -> Measured | None:
    values = [run.number(column) for run in runs.values()]
    known = [value for value in values if value is not None]
    count = next(iter(runs.values())).number(images) if images else None
    return Measured(known, int(count) if count else None) if known and len(known) == len(values) else None


def _accuracy_row(names: Names, pair: Pair, found: Change, flips: dict[str, Flips]) -> list[object]:
    seeds = list(dict.fromkeys(str(len(runs)) for runs in pair))
    return [
        _name(names, pair[0]),
        " and ".join(seeds),
        *(f"{100 * value:.2f}" for value in (found.before, found.after)),
        f"{100 * found.difference:+.2f}",
        _interval(found, lambda value: f"{100 * value:+.2f}"),
        _verdict(found, flips if seeds == ["1"] else {}),
    ]


def _verdict(found: Change, flips: dict[str, Flips]) -> Markdown:
    """Whether the accuracy moved: where both networks' predictions are known, by the images that they disagree on."""
    if found.difference == 0:
        return escape("the same")
    moved, noise = found.moved, found.noise
    if flips:
        ((_, of_seed),) = flips.items()
        moved, noise = of_seed.p < 0.05, f"the flipped images (McNemar, p = {of_seed.p:.2g})"
    if not moved:
        return escape(f"within the noise of {noise}")
    return Markdown(f"{bold('better' if found.difference > 0 else 'worse')}, beyond the noise of {escape(noise)}")


def _interval(found: Change, written: Callable[[float], str]) -> str:
    return MISSING if found.interval is None else " to ".join(map(written, found.interval))


def _moved_row(name: str, title: str, metric: Metric | None, found: Change) -> list[object]:
    scale, number = (metric.scale, metric.format) if metric else (1, ",.1f")
    unit = " (%)" if scale == 100 else ""
    better = metric and ("better" if (found.difference > 0) == (metric.direction == "higher") else "worse")
    values = [format(scale * value, number) for value in (found.before, found.after)]
    interval = _interval(found, lambda value: f"{'+' if value >= 0 else '−'}{format(abs(scale * value), number)}")
    return [name, f"{title}{unit}{f', {better}' if better else ''}", *values, interval, found.noise]


def _rest(others: list[tuple[str, str, Metric | None, Change]]) -> Iterator[str]:
    """Sentences about what is not in the table."""
    judged = [found for *_, found in others if found.interval is not None]
    unjudged = dict.fromkeys(title for _, title, _, found in others if found.interval is None and found.difference)
    sentences = []
    if judged:
        within = sum(not found.moved for found in judged)
        sentences.append(f"Within their noise, or equal: {within} of {len(judged)} other numbers.")
        sentences.append("At 95 %, one number in twenty moves by chance.")
    if unjudged:
        names = enumerate_words(list(unjudged))
        sentences.append(f"Changed, but nothing shows by how much they vary (that takes several seeds): {names}.")
    if sentences:
        yield escape(" ".join(sentences))
