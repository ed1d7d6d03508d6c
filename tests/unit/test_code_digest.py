"""Which code a script runs, found without running it, and digests that see code rather than text."""

import ast
import importlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from deepnets import models
from deepnets.data import sources as datasets
from deepnets.figures import COMPARISON_FIGURES, EXPERIMENT_FIGURES
from deepnets.planning import code_digest
from deepnets.planning.code_digest import IGNORED_MODULES, digests, import_closure
from deepnets.utils.errors import UserError

FILES = {
    "scripts/train.py": "from deepnets import engine\nimport torch\n",
    "scripts/plot.py": "import deepnets.figures as figures\n",
    "scripts/deepnets/__init__.py": "",
    "scripts/deepnets/engine.py": "def fit():\n    from deepnets.models import build\n    return build\n",
    "scripts/deepnets/figures.py": "from deepnets.style import COLOURS\n",
    "scripts/deepnets/style.py": "import deepnets.figures\nCOLOURS = {}\n",
    "scripts/deepnets/models/__init__.py": "def build(name):\n    return __import__(name)\n",
    "scripts/deepnets/models/resnet.py": "from . import _stem\n",
    "scripts/deepnets/models/vgg.py": "from ..style import COLOURS\n",
    "scripts/deepnets/models/_stem.py": "from ._norm import *\n",
    "scripts/deepnets/models/_norm.py": "",
}


@pytest.fixture
def repository(tmp_path):
    for name, text in FILES.items():
        write(tmp_path / name, text)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def closure(repository, script, extra=()):
    """The closure without what all scripts have, relative to scripts/."""
    paths = {path.as_posix() for path in import_closure(script, repository, extra)}
    return {path.removeprefix("scripts/") for path in paths - {script, "scripts/deepnets/__init__.py"}}


def test_closure_holds_the_script_and_the_packages_on_the_way_sorted(repository):
    paths = import_closure("scripts/train.py", repository)
    assert paths == sorted(paths)
    assert {Path("scripts/train.py"), Path("scripts/deepnets/__init__.py")} <= set(paths)


def test_closure_follows_imports_inside_functions_and_skips_architectures_nobody_asked_for(repository):
    assert closure(repository, "scripts/train.py") == {"deepnets/engine.py", "deepnets/models/__init__.py"}


def test_what_the_library_hands_out_to_users_is_no_code_of_a_job(repository):
    entry = "scripts/deepnets/__init__.py"
    write(repository / entry, '"""The library."""\n')
    before = digests([entry], repository)
    write(repository / entry, '"""The library."""\ndef __getattr__(name):\n    from deepnets import figures\n')
    assert digests([entry], repository) == before
    assert "deepnets/figures.py" not in closure(repository, "scripts/train.py")


def test_closure_of_modules_that_import_each_other_ends(repository):
    assert closure(repository, "scripts/plot.py") == {"deepnets/figures.py", "deepnets/style.py"}


def test_extra_modules_bring_their_own_closure_through_relative_and_star_imports(repository):
    plain = closure(repository, "scripts/train.py")
    with_resnet = closure(repository, "scripts/train.py", ["deepnets.models.resnet"])
    assert with_resnet - plain == {f"deepnets/models/{name}.py" for name in ("resnet", "_stem", "_norm")}
    assert "deepnets/style.py" in closure(repository, "scripts/train.py", ["deepnets.models.vgg"])


def test_extra_module_that_does_not_exist_is_refused(repository):
    with pytest.raises(ModuleNotFoundError, match=r"deepnets\.models\.vggg"):
        import_closure("scripts/train.py", repository, ["deepnets.models.vggg"])


def test_closure_sees_an_import_added_after_the_first_reading(repository):
    assert "deepnets/style.py" not in closure(repository, "scripts/train.py")
    write(repository / "scripts/deepnets/engine.py", "import deepnets.style  # a new line\n")
    assert "deepnets/style.py" in closure(repository, "scripts/train.py")


def test_syntax_error_names_file_and_line(repository):
    write(repository / "scripts/deepnets/engine.py", "x = 1\ndef fit(:\n")
    with pytest.raises(UserError, match=r"engine\.py:2: not valid Python"):
        import_closure("scripts/train.py", repository)


CODE = '''"""A module."""
def area(width):
    """Of a square."""
    return width * 2.0
'''


TALKING = """def area(width):
    LOG.info("%s of %d", "area", width)
    if width < 0:
        raise UserError(f"width must be above 0 (got {width})" " or 0", 2) from None
    return width
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("must be", "has to be"),
        ("(got {width})", "(got {width!r})"),
        ('f"width must be above 0 (got {width})" " or 0"', '"no"'),
        ("area", "region"),
        ('    LOG.info("%s of %d", "area", width)\n', ""),
        ("LOG.info", "LOG.warning"),
    ],
)
def test_digest_is_blind_to_texts_of_errors_and_to_log_lines(tmp_path, old, new):
    start, body = TALKING.split("\n", 1)
    assert old in body or old == "area"
    assert digest(tmp_path, f"{start}\n{body.replace(old, new)}") == digest(tmp_path, TALKING)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("raise UserError", "raise ValueError"),
        (' or 0", 2)', ' or 0", 3)'),
        (" from None", ""),
        ("width < 0", "width < 1"),
        ("LOG.info", "count = LOG.info"),
    ],
)
def test_digest_sees_which_error_is_raised_and_when(tmp_path, old, new):
    assert old in TALKING
    assert digest(tmp_path, TALKING.replace(old, new)) != digest(tmp_path, TALKING)


def digest(folder, text, name="module.py"):
    write(folder / name, text)
    return digests([name], folder)[name]


@pytest.mark.parametrize(
    "edited",
    [
        CODE.replace("def", "# with a comment\ndef"),
        CODE.replace("Of a square", "Of a rectangle"),
        CODE.replace('"""A module."""', ""),
        CODE.replace("return", "pass\n    return"),
        CODE.replace("width * 2.0", "(width   *  2.00)"),
        CODE.replace("\n", "\r\n"),
    ],
    ids=["comment", "docstring", "no docstring", "pass", "formatting", "line ends"],
)
def test_digest_is_blind_to_text_that_does_not_run(tmp_path, edited):
    assert digest(tmp_path, edited) == digest(tmp_path, CODE)


@pytest.mark.parametrize(
    "edited",
    [
        CODE.replace("2.0", "2.5"),
        CODE.replace("2.0", "2"),
        CODE.replace("*", "+"),
        CODE.replace("width", "height"),
        CODE.replace("(width)", "(width=None)"),
        CODE.replace("return width", "return -width"),
        CODE.replace("return width * 2.0", "return"),
        CODE.replace("return width * 2.0", "return None"),
        CODE.replace("width * 2.0", "'# width'"),
    ],
)
def test_digest_sees_every_change_that_runs(tmp_path, edited):
    assert digest(tmp_path, edited) != digest(tmp_path, CODE)


def test_digests_of_other_files_are_of_their_bytes(tmp_path):
    assert digest(tmp_path, "# one", "report.md.j2") != digest(tmp_path, "# two", "report.md.j2")


def test_digests_name_the_paths_they_were_given_in_order(tmp_path):
    for name in ("b.py", "a.py"):
        write(tmp_path / name, name[0])
    assert list(digests([Path("b.py"), "a.py"], tmp_path)) == ["a.py", "b.py"]


def test_digest_is_the_same_on_every_supported_python(tmp_path):
    """Fixed values: they were equal on 3.11, 3.12 and 3.13, whose own ast.dump and ast.unparse differ for this code."""
    code = "def f(x, *, n=3):\n    return f'{x:<{n}}' f\"{x['k']!r}\" + '\\n' + f''\nclass A: pass\n"
    assert digest(tmp_path, code) == "610696a47b49f909"


@pytest.fixture
def parsed_files(monkeypatch):
    """Contents of the files that are parsed from now on, by a process that has parsed none."""
    parsed, parse = [], ast.parse

    def noted(content, *others, **named):
        parsed.append(content)
        return parse(content, *others, **named)

    monkeypatch.setattr(code_digest, "_parsed", {})
    monkeypatch.setattr(code_digest, "_given", {})
    monkeypatch.setattr(
        code_digest.ast, "parse", lambda *given, **named: parsed.append(given[0]) or parse(*given, **named)
    )
    return parsed


def test_what_another_process_has_parsed_is_not_parsed_again_unless_it_changed(tmp_path, parsed_files):
    for name in "abc":
        write(tmp_path / f"{name}.py", f"{name} = 1")
    first = digests(["a.py", "b.py"], tmp_path)
    of_plan = code_digest.parsed_digests()
    code_digest._read_source.cache_clear()  # another process
    parsed_files.clear()
    code_digest.use_digests(of_plan)
    assert (digests(["a.py", "b.py"], tmp_path), parsed_files) == (first, [])
    write(tmp_path / "b.py", "b = 2")
    changed = digests(["a.py", "b.py", "c.py"], tmp_path)
    assert (changed["a.py"], changed["b.py"] == first["b.py"], len(parsed_files)) == (first["a.py"], False, 2)


def test_digest_of_the_entry_is_no_other_file_s_of_the_same_bytes(tmp_path, parsed_files):
    entry, other = "scripts/deepnets/__init__.py", "copy.py"
    for name in (entry, other):
        write(tmp_path / name, '"""Words."""\nfrom deepnets.api import predict')
    first = digests([entry], tmp_path)
    code_digest.use_digests(code_digest.parsed_digests())
    code_digest._read_source.cache_clear()
    second = digests([other, entry], tmp_path)
    assert second[other] != first[entry]
    code_digest.use_digests(code_digest.parsed_digests())
    assert digests([other, entry], tmp_path) == second


LOADED_BY = """
import importlib, json, sys
loaded = {}
for script, modules in json.load(sys.stdin).items():
    for name in [name for name in sys.modules if name.split(".")[0] == "deepnets"]:
        del sys.modules[name]
    for name in modules:
        importlib.import_module(name)
    loaded[script] = sorted(name for name in sys.modules if name.split(".")[0] == "deepnets")
print(json.dumps(loaded))
"""


def modules_loaded(root, modules_of):
    """Names of this library's modules that are loaded after importing the given ones, by script; in one process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED_BY],
        env={**os.environ, "PYTHONPATH": str(root / "scripts")},
        input=json.dumps(modules_of),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {script: set(names) for script, names in json.loads(done.stdout).items()}


def module_name(path):
    return ".".join(path.relative_to("scripts").with_suffix("").parts).removesuffix(".__init__")


PLUG_INS = {f"deepnets.models.{name}" for name in models.available()}
PLUG_INS |= {f"deepnets.figures.{name}" for name in {**EXPERIMENT_FIGURES, **COMPARISON_FIGURES}}
PLUG_INS |= {f"deepnets.data.sources.{name}" for name in datasets.available()}


def test_closure_of_each_real_script_is_what_python_loads(root, monkeypatch):
    """With the modules that functions import, and with the plug-ins that these load, it is all of it and no more."""
    monkeypatch.setattr(code_digest, "IGNORED_MODULES", ())

    def closure(script, plug_ins=()):
        return {module_name(path) for path in import_closure(script, root, sorted(plug_ins))}

    scripts = [str(path.relative_to(root)) for path in (root / "scripts").glob("*.py")]
    loaded = modules_loaded(root, {script: sorted(closure(script)) for script in scripts})
    closures = {script: closure(script, PLUG_INS & loaded[script]) for script in scripts}
    with_lazy = modules_loaded(root, {script: sorted(names) for script, names in closures.items()})
    assert with_lazy == {script: names - {Path(script).stem} for script, names in closures.items()}


@pytest.mark.parametrize("script", ["scripts/train.py", "scripts/evaluate.py", "scripts/report.py"])
def test_closure_leaves_out_what_can_change_no_result(script, root):
    """A reworded message or another folder for logs must not make a training run stale."""
    names = {module_name(path) for path in import_closure(script, root)}
    assert not [name for name in names if name.startswith(IGNORED_MODULES)]
    assert "deepnets.config.loader" not in names  # planning alone reads config.yaml


def test_ignored_modules_exist(root):
    for name in IGNORED_MODULES:
        path = root / "scripts" / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_modules_of_waiting_times_and_of_messages_hold_nothing_else(root):
    """They are ignored as a whole, so nothing that can change a result may be put there."""
    for name, types in {"utils/waiting": (int, float, timedelta), "training/messages": (str,)}.items():
        _docstring, *statements = ast.parse((root / f"scripts/deepnets/{name}.py").read_text()).body
        kinds = {type(statement) for statement in statements if not isinstance(statement, ast.ImportFrom)}
        assert kinds == {ast.Assign}
        module = importlib.import_module(f"deepnets.{name.replace('/', '.')}")
        values = [value for key, value in vars(module).items() if key.isupper()]
        flat = [each for value in values for each in (value if isinstance(value, tuple) else (value,))]
        assert flat
        assert all(isinstance(each, types) for each in flat)


def test_closure_follows_no_ignored_module(repository):
    write(
        repository / "scripts/train.py",
        "from deepnets.planning import plan\nfrom deepnets.utils import errors, files\n",
    )
    for name in ("planning/__init__", "planning/plan", "utils/__init__", "utils/errors", "utils/files"):
        write(repository / f"scripts/deepnets/{name}.py", "from deepnets import style\n" if "plan" in name else "")
    assert closure(repository, "scripts/train.py") == {"deepnets/utils/__init__.py", "deepnets/utils/files.py"}


def test_digest_is_blind_to_what_a_network_is_called_and_looks_like(tmp_path):
    network = CODE + "ABOUT = About(color='red')\n"
    assert digest(tmp_path, network) == digest(tmp_path, network.replace("red", "blue")) == digest(tmp_path, CODE)
    assert digest(tmp_path, CODE + "SIZE = 8\n") != digest(tmp_path, CODE + "SIZE = 9\n")


@pytest.mark.parametrize("script", ["scripts/train.py", "scripts/evaluate.py"])
def test_closure_of_training_has_no_architecture_and_no_source_unless_named(script, root):
    names = {module_name(path) for path in import_closure(script, root)}
    assert not names & PLUG_INS
    named = {module_name(path) for path in import_closure(script, root, ["deepnets.models.vgg16"])}
    assert named & PLUG_INS == {"deepnets.models.vgg16"}


def test_only_the_three_registries_import_by_a_computed_name(root):
    """Any other such import would be invisible to import_closure: its caller has to name the module in `extra`."""
    library = (root / "scripts").rglob("*.py")
    computed = {
        path.relative_to(root / "scripts").as_posix() for path in library if "import_module(" in path.read_text()
    }
    assert computed == {f"deepnets/{room}/__init__.py" for room in ("models", "data/sources", "figures")}
