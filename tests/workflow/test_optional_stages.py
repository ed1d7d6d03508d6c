"""Stages that only some studies have: they train nothing, and run again for their own reasons alone."""

import pytest
from study_edits import (
    ALL,
    NOTHING,
    REPORT,
    SMALL,
    changed_module,
    config,
    corrupted,
    evaluated,
    plotted,
    timed,
    trained,
)

from deepnets.utils.files import write_json

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build


def test_robustness_and_latency_train_nothing_and_are_measured_again_only_for_their_own_reasons(
    study, dry_run, snakemake
):
    config("recipe: gentle, seeds: [0]", "recipe: gentle, seeds: [0], robustness: true, latency: true")(study)
    assert dry_run(study).jobs == corrupted(*ALL) | timed("small", "mobilenet_v2")
    done = snakemake(study, cores=2)
    assert done.returncode == 0, done.stdout
    report = (study / "results/report.md").read_text(encoding="utf-8")
    assert all(f"shapes/comparison/{name}.png" in report for name in ("corruptions", "accuracy_vs_latency"))
    assert dry_run(study).jobs == NOTHING
    changed_module("evaluation/metrics")(study)
    optional = ("corruptions", "accuracy_vs_latency", "accuracy_vs_throughput")
    evaluated_again = evaluated(*ALL) | plotted("shapes", *optional)
    assert dry_run(study).jobs == evaluated_again
    changed_module("evaluation/corruptions")(study)
    assert dry_run(study).jobs == evaluated_again | corrupted(*ALL)


def test_exported_files_follow_the_weights_and_the_report_follows_them(study, dry_run, snakemake):
    file, figure = (f"results/shapes/small/brief/seed0/{name}" for name in ("model_int8.onnx", "figures/saliency.png"))
    done = snakemake(study, file, figure, cores=2)
    assert done.returncode == 0, done.stdout
    assert "accuracy in int8" in done.stdout
    assert dry_run(study, file, figure).jobs == NOTHING
    assert dry_run(study).jobs == REPORT
    done = snakemake(study, cores=2)
    assert done.returncode == 0, done.stdout
    report = (study / "results/report.md").read_text(encoding="utf-8")
    assert "model_int8.onnx" in report
    assert '<img src="shapes/small/brief/seed0/figures/saliency.png"' in report
    assert dry_run(study).jobs == NOTHING
    config("momentum: 0.5, on: {small: {lr: 0.1}}", "momentum: 0.5, on: {small: {lr: 0.2}}")(study)
    assert dry_run(study, file).jobs == NOTHING  # another experiment
    config("{epochs: 3, batch_size: 8", "{epochs: 4, batch_size: 8")(study)
    assert dry_run(study, file).jobs == {f"{verb} {SMALL}" for verb in ("Train", "Evaluate", "Export", "Quantise")}
    looks = "Draw where small looks on shapes, recipe brief, seed 0"
    assert dry_run(study, figure).jobs == {f"Train {SMALL}", f"Evaluate {SMALL}", looks}
    assert dry_run(study).jobs == trained(*ALL)


WRITTEN = frozenset({f"Write the model card of {SMALL}"})


def test_a_model_card_follows_what_is_made_later_and_makes_nothing_of_it(study, dry_run, snakemake):
    folder = "results/shapes/small/brief/seed0"
    card, packed = f"{folder}/MODEL_CARD.md", f"{folder}/bundle.zip"
    done = snakemake(study, card)
    assert done.returncode == 0, done.stdout
    assert dry_run(study, packed).jobs == {f"Export {SMALL}", f"Pack {SMALL}"}
    done = snakemake(study, packed, cores=2)
    assert done.returncode == 0, done.stdout
    assert "<code>model.onnx</code>" in (study / card).read_text(encoding="utf-8")
    assert dry_run(study, card, packed).jobs == NOTHING
    assert dry_run(study, card).jobs == NOTHING
    for stage in ("robustness", "model_int8"):
        (study / folder / "model_int8.onnx").touch()
        write_json(study / folder / f"{stage}.json", {})
        assert dry_run(study, card).jobs == WRITTEN
        (study / folder / f"{stage}.json").unlink()
    audit = study / "data/shapes/audit.json"
    audit.rename(audit.with_name("elsewhere"))
    (study / "data/shapes/test_images.npy").rename(study / "test_images.npy")
    assert dry_run(study, card).jobs == WRITTEN
    (study / "test_images.npy").rename(study / "data/shapes/test_images.npy")
    config("{epochs: 3, batch_size: 8", "{epochs: 4, batch_size: 8")(study)
    assert dry_run(study, card).jobs == WRITTEN | {f"Train {SMALL}", f"Evaluate {SMALL}"}


def test_a_model_card_waits_for_the_audit_of_the_images_and_is_written_once(study, dry_run, snakemake):
    card, audit = "results/shapes/small/brief/seed0/MODEL_CARD.md", study / "data/shapes/audit.json"
    (study / "results/shapes/images/samples.png").unlink()
    audit.unlink()
    assert dry_run(study, card).jobs == WRITTEN | {"Look at the images of shapes"}
    done = snakemake(study, card)
    assert done.returncode == 0, done.stdout
    assert "Each class has 16 training and validation images." in (study / card).read_text(encoding="utf-8")
    assert dry_run(study, card).jobs == NOTHING


def test_a_model_card_that_is_rebuilt_keeps_what_users_added_also_after_a_job_that_failed(study, dry_run, snakemake):
    folder = study / "results/shapes/small/brief/seed0"
    card = folder / "MODEL_CARD.md"
    name = str(card.relative_to(study))
    done = snakemake(study, name)
    assert done.returncode == 0, done.stdout
    completed = card.read_text(encoding="utf-8").replace("license: unknown", "license: mit") + "Ask Ada.\n"
    card.write_text(completed, encoding="utf-8")
    write_json(folder / "robustness.json", {})
    failed = snakemake(study, name)
    assert failed.returncode != 0
    assert "robustness.json: damaged" in failed.stdout
    assert card.read_text(encoding="utf-8") == completed
    assert dry_run(study, name).jobs == WRITTEN
    (folder / "robustness.json").unlink()
    done = snakemake(study, name)
    assert done.returncode == 0, done.stdout
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: mit\n")
    assert text.endswith("-->\nAsk Ada.\n")
    assert "choose their licence" not in text
    assert dry_run(study, name).jobs == NOTHING
