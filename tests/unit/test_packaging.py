"""Requirements, environment.yml, profiles and CI agree with each other and work."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

import deepnets

DISTRIBUTIONS = importlib.metadata.packages_distributions()


@pytest.fixture
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture
def direct(project):
    """The direct dependencies in pyproject.toml, including those for development."""
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]


PINS = ("requirements.txt", "benchmarks/requirements.txt")


def read_pins(file):
    lines = file.read_text().splitlines()
    return [Requirement(line) for line in lines if not line.lstrip().startswith("#")]


@pytest.fixture
def requirements(root):
    """The pins of requirements.txt."""
    return read_pins(root / "requirements.txt")


def pins(requirements, python):
    """Return `{name: version}` of the pins for a Python version such as '3.12'."""
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in requirements
        if pin.marker is None or pin.marker.evaluate(here)
    }


# Requirements


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_direct_dependency_is_pinned_within_its_range_for_every_python(python, direct, requirements):
    pinned = pins(requirements, python)
    outside = [str(wanted) for wanted in direct if not wanted.specifier.contains(pinned.get(wanted.name, "0"))]
    assert not outside, f"run `make requirements`: not pinned within {outside}"


@pytest.mark.parametrize("file", PINS)
def test_every_line_of_requirements_is_one_exact_pin(root, file):
    pinned = read_pins(root / file)
    assert all([clause.operator for clause in pin.specifier] == ["=="] and pin.url is None for pin in pinned)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_benchmarks_environment_has_its_libraries_and_the_versions_of_the_main_one(
    root, project, requirements, python
):
    main, bench = pins(requirements, python), pins(read_pins(root / "benchmarks/requirements.txt"), python)
    libraries = [Requirement(line) for line in project["optional-dependencies"]["bench"]]
    needed = [Requirement(line) for line in project["dependencies"]]
    assert all(library.specifier.contains(bench.get(library.name, "0")) for library in [*libraries, *needed])
    assert not {"lightning", "fastai"} & main.keys()
    assert {name: bench[name] for name in main.keys() & bench.keys() if main[name] != bench[name]} == {}


@pytest.mark.parametrize("file", PINS)
def test_requirements_name_no_registry_and_no_option(root, file):
    text = (root / file).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-", text, re.MULTILINE)


def test_environment_yml_pins_every_direct_dependency_as_requirements_do(root, project, direct, requirements):
    conda = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    python = conda[0].removeprefix("python=")
    pinned = pins(requirements, python)
    expected = [f"{wanted.name}=={pinned[wanted.name]}" for wanted in direct]
    assert f"{python}.0" in Requirement(f"python{project['requires-python']}").specifier
    assert conda[-1]["pip"] == expected, "write the expected lines into environment.yml"


def test_every_dependency_has_its_reason(root):
    text = (root / "pyproject.toml").read_text()
    tables = re.findall(
        r"^(?:dependencies|dev|search|tensorboard|bench) = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL
    )
    lines = [line for table in tables for line in table.splitlines()]
    assert len(lines) > 10
    assert all(re.search(r'",\s+# \S', line) for line in lines)


RUN_BY_NAME = {"snakemake-executor-plugin-slurm", "pygments", "onnxscript"}


def test_what_the_scripts_import_is_what_is_declared(root, project):
    """An undeclared package may vanish with the next release of the one that brings it; an unused one is a burden."""
    optional = project["optional-dependencies"]["search"]
    declared = {Requirement(line).name for line in [*project["dependencies"], *optional]} - RUN_BY_NAME
    imported = {owner for path in (root / "scripts").rglob("*.py") for owner in imported_distributions(path)}
    assert imported == declared


def imported_distributions(path):
    """Return the packages that a Python file imports from, by their names in pyproject.toml."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    own = {"deepnets"} | {script.stem for script in path.parent.glob("*.py")}
    packages = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - own
    return {DISTRIBUTIONS.get(package, [package])[0].lower() for package in packages}


def test_types_of_the_library_are_those_of_its_names(root):
    stub = ast.parse((root / "scripts/deepnets/__init__.pyi").read_text())
    names = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == deepnets.__all__
    assert (root / "scripts/deepnets/py.typed").exists()


# Profiles and CI


def test_no_key_is_in_two_profiles(root):
    default, slurm = (root / f"profiles/{name}/config.yaml" for name in ("default", "slurm"))
    assert not yaml.safe_load(default.read_text()).keys() & yaml.safe_load(slurm.read_text()).keys()


SNAKEFILE = """
rule all:
    input: "good", "bad"
rule good:
    output: "good"
    params: "1"
    shell: "touch {output}"
rule bad:
    output: "bad"
    log: "bad.log"
    shell: "echo because of this > {log}; false"
"""


@pytest.fixture
def toy(root, tmp_path):
    """A workflow with one job that succeeds and one that fails, under the default profile."""
    shutil.copytree(root / "profiles", tmp_path / "profiles")
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def test_under_the_default_profile_a_failure_stops_no_other_job_and_shows_its_log(toy, snakemake):
    done = snakemake(toy, "bad", "good")
    assert done.returncode != 0
    assert "because of this" in done.stdout
    assert (toy / "good").exists()


def test_under_the_default_profile_params_make_a_job_stale_and_shell_text_does_not(toy, snakemake):
    snakemake(toy, "good")
    (toy / "Snakefile").write_text(SNAKEFILE.replace("touch {", "touch  {"))
    assert "Nothing to be done" in snakemake(toy, "good", "--dry-run").stdout
    (toy / "Snakefile").write_text(SNAKEFILE.replace('"1"', '"2"'))
    assert "params have changed" in snakemake(toy, "good", "--dry-run").stdout


def test_ci_runs_the_linters_and_then_the_tests(root, tmp_path):
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    os.environ["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([root / ".ci/run"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["lint", "test-all", "test-browser", "test-cluster"])
