"""README.md and docs/ tell the truth: commands run, examples are valid, the error message is the real one."""

import csv
import itertools
import re
import shlex
import shutil
import subprocess
from statistics import fmean

import pytest
import yaml
from pages import commands
from report_pages import tables_in_place

from deepnets.config.loader import load_config
from deepnets.models import about, display_name
from deepnets.planning.job import parse_name
from deepnets.planning.jobs import Jobs
from deepnets.utils.errors import UserError

NOTHING_TO_PLAN = {"--report", "--unlock"}  # tests/e2e writes a report


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def test_readme_has_at_most_130_lines_and_two_commands_to_start(readme):
    assert len(readme.splitlines()) <= 130
    start = re.search(r"^## Two commands\n\n```bash\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[1]
    assert len(start.splitlines()) == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_every_make_command_has_a_target_whose_scripts_exist(root):
    scripts = set()
    for arguments in commands(root, "make"):
        only_printed = ["make", "--dry-run", *shlex.split(arguments)]
        done = subprocess.run(only_printed, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        scripts |= set(re.findall(r"\S+\.py\b", done.stdout))
    assert {"scripts/why.py", "benchmarks/speed.py"} <= scripts
    assert not [script for script in scripts if not (root / script).is_file()]


def test_every_snakemake_command_makes_a_plan(root, checkout, dry_run, tmp_path):
    folder = checkout(tmp_path / "clone")
    (tmp_path / "study").mkdir()
    trials = [{"datasets": ["digits"], "models": ["mobilenet_v2"], "recipe": "quick", "set": {"lr": 0.03}}]
    (folder / "results").mkdir()
    (folder / "results/search-rates.yaml").write_text(yaml.safe_dump({"study": "rates", "studies": {"rates": trials}}))
    page = (root / "docs/how-to/own-images.md").read_text(encoding="utf-8")
    [birds] = re.findall(r"^```yaml\n(study: birds\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "birds.yaml").write_text(birds)
    for name in ("owl/1.png", "owl/2.png", "wren/1.png", "wren/2.png"):
        (folder / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "birds" / name).touch()
    found = commands(root, "snakemake")
    assert len(found) >= 8
    for command in found:
        moved = command.replace("/home/me/deeper-networks", str(folder)).replace("/scratch/study", f"{tmp_path}/study")
        arguments = shlex.split(re.sub(r"(?:^| )(?:-n|--cores \d+)(?= )", "", moved))
        if not NOTHING_TO_PLAN & set(arguments):
            planned = dry_run(folder, *arguments)
            assert planned.returncode == 0, f"{command}\n{planned.output}"


def test_every_script_by_hand_is_there_and_its_job_is_in_the_configuration(root):
    jobs = Jobs(load_config(root / "config.yaml", {}), root, root)
    found = [call for call in commands(root, "python") if call.startswith("scripts/")]
    assert len(found) >= 5
    for call in found:
        if call.startswith(("scripts/predict.py", "scripts/search.py", "scripts/explain.py")):  # no jobs
            continue
        script, name = call.split()
        assert (root / script).is_file()
        stage = script.removeprefix("scripts/").removesuffix(".py")
        jobs.fingerprint(stage, parse_name(stage, name))  # refuses a name that config.yaml does not know


@pytest.mark.parametrize(
    ("page", "experiments"), [("README.md", 18), ("config/README.md", 6), ("docs/how-to/own-images.md", 6)]
)
def test_example_of_own_images_is_a_valid_configuration(root, checkout, tmp_path, monkeypatch, page, experiments):
    text = (root / page).read_text(encoding="utf-8")
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    folder = checkout(tmp_path / "clone")
    (folder / "my_models.py").write_text(
        "from torch import nn\n\n\ndef SmallNet(num_classes, in_channels):\n    return nn.Identity()\n"
    )
    (folder / "mine.pth").touch()
    monkeypatch.chdir(folder)
    config = load_config("config.yaml", example)
    assert config.datasets["birds"].own_files == "birds"
    if "study" in example:
        assert len(config.experiments()) == experiments


def test_each_example_of_sweeps_is_a_valid_configuration_with_the_experiments_that_it_describes(root):
    text = (root / "docs/how-to/sweeps.md").read_text(encoding="utf-8")
    found = {}
    for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        config = load_config(root / "config.yaml", yaml.safe_load(example))
        found |= {study: config.experiments(study) for study in yaml.safe_load(example).get("studies", {})}
    assert {study: len(experiments) for study, experiments in found.items()} == {
        "rates": 9,
        "crops": 8,
        "mixing": 3,
        "longer": 2,
    }
    values = config.experiment("digits", "resnet50", "quick", 0).spec["recipe"]  # of the last example
    assert (values["epochs"], values["lr"], values["augment"]["crop_padding"]) == (5, 0.04, 1)


def test_error_message_is_the_one_that_a_typo_gets(root):
    page = (root / "docs/configuration.md").read_text(encoding="utf-8")
    promised = re.search(r"^config\.yaml: .*$", page, re.MULTILINE)[0]
    with pytest.raises(UserError) as error:
        load_config(root / "config.yaml", {"recipes": {"quick": {"epohs": 3}}})
    assert promised.removeprefix("config.yaml: ") in str(error.value)


def test_every_study_of_the_configuration_is_described(root):
    page = (root / "docs/how-to/run.md").read_text(encoding="utf-8")
    described = [row.split("`")[1] for row in table(page, "study")]
    assert set(described) == set(load_config(root / "config.yaml", {}).studies)


def test_rule_graph_is_that_of_the_workflow(readme, checkout, snakemake, tmp_path):
    folder = checkout(tmp_path / "clone")
    graph = snakemake(folder, "results/report.md", "--rulegraph", "dot").stdout
    rules = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, re.MULTILINE))
    edges = {(rules[start], rules[end]) for start, end in re.findall(r"^\s*(\d+) -> (\d+)", graph, re.MULTILINE)}
    assert len(edges) > 10, graph
    assert mermaid_edges(readme) == edges


def mermaid_edges(text):
    """(from, to) of each arrow in the first Mermaid picture of a page."""
    edges = set()
    for line in re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)[1].splitlines()[1:]:
        groups = [group.split(" & ") for group in line.strip().split(" --> ")]
        for starts, ends in itertools.pairwise(groups):
            edges |= {(start, end) for start in starts for end in ends}
    return edges


def test_results_of_the_demo_are_those_of_the_committed_run(root):
    page = (root / "docs/runs/demo/README.md").read_text(encoding="utf-8")
    rows = sorted(read_csv(root / "docs/runs/demo/metrics.csv"), key=lambda row: -float(row["test_accuracy"]))
    assert table(page, "model") == [
        f"| {display_name(row['model'])} | {int(row['trainable_parameters']):,} | {row['epochs']}"
        f" | {float(row['wall_seconds']):.0f} s | {percent(row, '')} % ({percent(row, '_ci95_low')} to"
        f" {percent(row, '_ci95_high')}) |"
        for row in rows
    ]


def test_results_of_the_demo_with_seeds_are_those_of_its_report_and_the_committed_runs(root):
    folder = root / "docs/runs/demo_seeds"
    runs = read_csv(folder / "metrics.csv")
    tables = [*tables_in_place((folder / "report.md").read_text(encoding="utf-8"))]
    results, corrupted = (
        next(table for table in tables if column in table.header) for column in ("Group", "Corrupted")
    )
    on_corrupted = {row[0]: dict(zip(corrupted.header, row, strict=True))["Corrupted"] for row in corrupted.rows}
    expected = []
    for row in results.rows[:-1]:  # the last is the committee's
        cells = dict(zip(results.header, row, strict=True))
        model, accuracy = cells["Model"].removesuffix(", 3 seeds"), cells["Test acc. (%)"]
        of_model = [run for run in runs if display_name(run["model"]) == model]
        mean = {name: fmean(float(run[name]) for run in of_model) for name in ("test_accuracy", "epochs")}
        assert accuracy.startswith(f"{100 * mean['test_accuracy']:.2f} ± ")
        assert cells["Epochs"] == f"{mean['epochs']:g}"
        seconds = fmean(float(run["wall_seconds"]) for run in of_model)
        expected.append(
            f"| {model} | {cells['Epochs']} | {seconds:.0f} s | {re.sub(' ± [0-9.]+', ' %', accuracy)}"
            f" | {on_corrupted[model].split()[0]} % |"
        )
    assert table((folder / "README.md").read_text(encoding="utf-8"), "model") == expected


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
        f" | {duration(float(row['wall_seconds']))} |"
        for row in rows
    ]


def duration(seconds):
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def test_parameters_of_the_networks_are_those_of_the_committed_run(readme, root):
    counts = {}
    for row in read_csv(root / "docs/runs/reference/metrics.csv"):  # MNIST's rows come first
        counts.setdefault(display_name(row["model"]), []).append(f"{int(row['trainable_parameters']):,}")
    stated = [re.match(r"\| ([^|]+) \| ([^|]+) \|", row).groups() for row in table(readme, "network")]
    assert dict(stated) == {network: ", ".join(numbers) for network, numbers in counts.items()}


def test_readme_says_how_each_network_departs_from_the_original(readme):
    stated = dict(re.match(r"\| ([^|]+) \|[^|]+\| ([^|]+) \|", row).groups() for row in table(readme, "network"))
    described = [about(architecture) for architecture in ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")]
    assert stated == {each.display_name: each.differs for each in described}


@pytest.mark.parametrize(
    "file", ["README.md", "CITATION.cff", "workflow/templates/report.md.j2", "docs/runs/reference/README.md"]
)
def test_the_published_study_is_cited_with_author_title_place_link_and_versions(root, file):
    text = " ".join((root / file).read_text(encoding="utf-8").split())
    for name in ("Gosaye", "Deeper Networks for Image Classification", "Queen Mary University of London"):
        assert name in text
    assert "https://github.com/kaviraj07/deep_nets_for_img_classification" in text
    for package, version in (
        ("Python", "3.12.1"),
        ("PyTorch", "2.2.0"),
        ("Matplotlib", "3.8.2"),
        ("Torchinfo", "1.8.0"),
    ):
        assert f"{package} {version}" in text


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def table(page, first_column):
    """Rows of the table whose first column has this heading."""
    found = re.search(rf"^\| {first_column} \|.*\n\|-.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    return found[1].splitlines()


def percent(row, bound):
    return f"{100 * float(row[f'test_accuracy{bound}']):.2f}"
