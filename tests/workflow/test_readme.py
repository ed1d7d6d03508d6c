"""What README.md promises: its commands run, its example configuration is valid, its error message is the real one."""

import csv
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from deepnets.config.loader import load_config
from deepnets.evaluation.results import display_name
from deepnets.utils.errors import UserError


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def commands(readme, program):
    """Command lines of README.md that call a program, from code blocks and from the text."""
    lines = re.findall(r"^```bash\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    found = [line for block in lines for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", readme)
    return sorted({line for line in found if re.match(rf"(\w+=\S+ )*{program} ", line)})


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_every_make_command_has_a_target_whose_scripts_exist(readme, root):
    scripts = set()
    for command in commands(readme, "make"):
        only_printed = command.replace("make ", "make --dry-run ", 1)
        done = subprocess.run(["env", *shlex.split(only_printed)], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        scripts |= set(re.findall(r"\S+\.py\b", done.stdout))
    assert {"scripts/why.py", "benchmarks/speed.py"} <= scripts
    assert not [script for script in scripts if not (root / script).is_file()]


def test_every_snakemake_command_makes_a_plan(readme, checkout, snakemake, tmp_path):
    folder = checkout(tmp_path / "clone")
    found = [shlex.split(command)[1:] for command in commands(readme, "snakemake")]
    assert len(found) >= 3
    for arguments in found:
        if "--report" not in arguments:  # it has nothing to plan: tests/e2e writes one
            cores = [value for value in arguments if value.isdigit()]
            plain = [value for value in arguments if value not in ("--cores", "-n", *cores)]
            planned = snakemake(folder, "--dry-run", *plain)
            assert planned.returncode == 0, planned.stdout


def test_example_of_own_images_is_a_valid_configuration(readme, root):
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)[1])
    assert load_config(root / "config.yaml", example).datasets["birds"].num_classes == 12


def test_error_message_is_the_one_that_a_typo_gets(readme, root):
    promised = re.search(r"^config\.yaml: .*$", readme, re.MULTILINE)[0]
    with pytest.raises(UserError) as error:
        load_config(root / "config.yaml", {"recipes": {"quick": {"epohs": 3}}})
    assert promised.removeprefix("config.yaml: ") in str(error.value)


def test_results_are_those_of_the_committed_run(readme, root):
    rows = sorted(read_csv(root / "docs/runs/demo/metrics.csv"), key=lambda row: -float(row["test_accuracy"]))
    assert table(readme, "model") == [
        f"| {display_name(row['model'])} | {int(row['trainable_parameters']):,} | {row['epochs']}"
        f" | {float(row['wall_seconds']):.0f} s | {percent(row, '')} % ({percent(row, '_ci95_low')} to"
        f" {percent(row, '_ci95_high')}) |"
        for row in rows
    ]


def test_results_of_the_published_study_are_those_of_the_committed_run(readme, root):
    published = read_csv(root / "workflow/published.csv")
    published = {(row["dataset"], row["model"]): row for row in published if row["kind"] == "study"}
    rows = read_csv(root / "docs/runs/reference/metrics.csv")
    assert len(rows) == 6
    for row in rows:
        row["published"] = published[row["dataset"].removesuffix("-jpeg"), row["architecture"]]["test_accuracy"]
        assert 100 * float(row["test_accuracy"]) > float(row["published"])
    assert table(readme, "dataset") == [
        f"| {row['dataset']} | {display_name(row['model'])} | {float(row['published']):.2f} %"
        f" | {percent(row, '')} % ({percent(row, '_ci95_low')} to {percent(row, '_ci95_high')}) | {row['epochs']}"
        f" | {float(row['wall_seconds']) / 60:.0f} min |"
        for row in rows
    ]


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def table(readme, first_column):
    """Rows of the table whose first column has this heading."""
    found = re.search(rf"^\| {first_column} \|.*\n\|-.*\n((?:\|.*\n)+)", readme, re.MULTILINE)
    return found[1].splitlines()


def percent(row, bound):
    return f"{100 * float(row[f'test_accuracy{bound}']):.2f}"


def test_every_path_of_the_directory_tree_exists(readme, root):
    tree = re.search(r"## Where things are\n\n```text\n(.*?)```", readme, re.DOTALL)[1]
    folder = ""
    for line in tree.splitlines():
        names = re.match(r"( *)((?:\S+ )*?\S+)(?:  |$)", line)
        inside = bool(names[1])
        for name in names[2].split():
            assert (root / (folder if inside else "") / name).exists(), line
        folder = folder if inside else names[2]


def test_every_test_that_a_guarantee_names_exists(root):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (root / "docs/guarantees.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for file, name in named:
        assert re.search(rf"^def {name}\(", (root / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{name}"
