"""Any configuration and any command line is taken, or refused in lines that name it; see fuzzing.py."""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from fuzzing import DAMAGES, SEED, VALUES, assert_names, damaged, fuzz, harmless, read_or_refuse
from hypothesis import given, seed
from hypothesis import strategies as st

from deepnets.config.loader import load_config
from deepnets.planning.job import parse_name
from deepnets.planning.job_files import job_file
from deepnets.planning.jobs import Jobs
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG

pytestmark = [pytest.mark.slow, pytest.mark.full]


# -- configuration -----------------------------------------------------------------------------------------------------


def test_a_damaged_configuration_is_taken_or_refused(root, tmp_path):
    whole = (root / "config.yaml").read_bytes()

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        read_or_refuse(load_config, tmp_path / "config.yaml", damaged(whole, damages))

    check()


def test_any_value_at_any_key_is_taken_or_refused(root, tmp_path):
    whole = (root / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(whole, encoding="utf-8")
    keys = [
        ("study",),
        ("datasets", "digits"),
        ("datasets", "digits", "size"),
        ("models", "vgg16"),
        ("models", "resnet50", "architecture"),
        ("recipes", "quick"),
        *(("recipes", "quick", key) for key in ("epochs", "lr", "batch_size", "augment", "optimizer", "clip_norm")),
        ("recipes", "quick", "augment", "mixup"),
        ("studies", "demo"),
    ]

    @seed(SEED)
    @fuzz
    @given(st.sampled_from(keys), VALUES)
    def check(path, value):
        overrides = value
        for key in reversed(path):
            overrides = {key: overrides}
        with harmless():
            try:
                load_config(tmp_path / "config.yaml", overrides)
            except UserError as error:
                assert_names(error, path[0])

    check()


# -- command lines -----------------------------------------------------------------------------------------------------

JOBS = {  # a job of each script, and what the script calls when it has read its command line
    "download": ("digits", "script.download"),
    "prepare": ("digits", "script.prepare"),
    "summarize": ("digits/resnet50", "deepnets.evaluation.network_summary.write_summary"),
    "latency": ("digits/resnet50", "deepnets.evaluation.latency.write_latency"),
    "train": ("digits/resnet50/quick/seed0", "deepnets.training.experiment.train_experiment"),
    "evaluate": ("digits/resnet50/quick/seed0", "deepnets.evaluation.evaluate.evaluate_experiment"),
    "robustness": ("digits/resnet50/quick/seed0", "deepnets.evaluation.robustness.evaluate_robustness"),
    "compare": ("digits/comparison", "deepnets.comparison.statistics.write_statistics"),
    "export": ("digits/resnet50/quick/seed0", "deepnets.evaluation.onnx_export.export_experiment"),
    "export_fp16": ("digits/resnet50/quick/seed0", "deepnets.evaluation.onnx_fp16.export_fp16"),
    "export_int8": ("digits/resnet50/quick/seed0", "deepnets.evaluation.onnx_int8.export_int8"),
    "export_program": ("digits/resnet50/quick/seed0", "deepnets.evaluation.torch_program.export_program"),
    "saliency": ("digits/resnet50/quick/seed0", "deepnets.figures.saliency.write_saliency"),
    "card": ("digits/resnet50/quick/seed0", "script.write_card"),
    "bundle": ("digits/resnet50/quick/seed0", "script.write_bundle"),
    "plot_experiment": (
        "digits/resnet50/quick/seed0",
        "deepnets.figures.experiment_files.write_experiment_figures",
    ),
    "plot_comparison": ("digits/comparison/accuracy", "deepnets.figures.comparison_files.write_comparison_figure"),
    "audit": ("digits", "deepnets.figures.audit_files.write_image_audit"),
    "report": ("report", "script.write_report"),
}
OPTIONS = ("--job", "--log", "--root", "--threads", "--gpus", "--processes", "--parent", "--mirror", "--path")
OPTIONS += ("--max-megapixels", "--max-download", "--unknown", "-h", "--")
PLACES = ("folder", "file", "file/below", "new/log", "x" * 300, "planned", "any.json", "gone.json", "\udcff", ".", "")
# What a shell can hand over: no NUL; and no "/", so that no example writes elsewhere.
WORDS = st.text(st.characters(exclude_characters="\0/"), max_size=8) | st.integers().map(str) | st.floats().map(str)
GIVEN = st.tuples(st.sampled_from(OPTIONS), st.sampled_from((*PLACES, "1", "0", "nan", "9" * 5000)) | WORDS)
NAMES = st.just("the job") | st.sampled_from(("digits/resnet50/quick/seed00", "data/digits/")) | WORDS
COMMAND_LINES = st.tuples(NAMES, st.lists(GIVEN, max_size=2)).map(
    lambda drawn: [drawn[0], *(word for pair in drawn[1] for word in pair)]
)


@pytest.mark.parametrize("stage", JOBS)
def test_a_command_line_is_taken_or_refused(stage, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "config.yaml", tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    script = load_script(root, stage)
    name, work = JOBS[stage]
    module, _, function = work.rpartition(".")
    calls: list[tuple] = []
    where = script if module == "script" else import_module(module)
    monkeypatch.setattr(where, function, lambda *arguments, **_: calls.append(arguments))
    fingerprint = Jobs(load_config(), root).fingerprint(stage, parse_name(stage, name))
    planned = Path(job_file(stage, fingerprint))
    planned.parent.mkdir(parents=True)

    @seed(SEED)
    @fuzz
    @given(COMMAND_LINES, st.none() | DAMAGES, VALUES.filter(lambda value: not isinstance(value, dict)))
    def check(words, damages, value):
        planned.write_bytes(damaged(fingerprint.encode(), damages or []))
        Path("any.json").write_text(json.dumps(value))
        calls.clear()
        given = [{"planned": str(planned), "the job": name}.get(word, word) for word in words]
        code, printed = end_of(lambda: script.main(given))
        assert code == (0 if calls or "show this help message" in printed else 2), printed
        assert "Traceback" not in printed

    check()


def load_script(root: Path, stage: str) -> ModuleType:
    """Import a script of the workflow."""
    spec = spec_from_file_location(f"script_{stage}", root / "scripts" / f"{stage}.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def end_of(main: Callable[[], None]) -> tuple[object, str]:
    """Call the `main` of a script; return the exit code of its process, and what it printed."""
    code, finders, printed = 0, list(sys.meta_path), io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed), harmless():
        try:
            run(main)
        except SystemExit as end:
            code = end.code
    sys.meta_path[:] = finders
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers = []
    return code, printed.getvalue()
