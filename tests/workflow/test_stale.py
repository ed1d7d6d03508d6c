"""After an edit of the finished study of tests/study, Snakemake plans exactly the stale jobs.

Each row is an edit and the jobs, by their messages, that `snakemake --dry-run` then plans.
"""

import re
import shutil

import pytest
from study_edits import (
    ALL,
    GENTLE,
    MOBILENET,
    NOTHING,
    OF_NETWORKS,
    OF_SEVERAL,
    REPORT,
    SMALL,
    Named,
    absolute_path,
    append,
    audited,
    both,
    changed_module,
    clone_again,
    comment_everywhere,
    compared,
    compared_again,
    config,
    copy_image,
    delete,
    downloaded,
    drawn,
    evaluated,
    lose_records,
    module,
    move_away,
    plotted,
    prepared,
    rename,
    replace,
    rewrite_json,
    shift_clock,
    summarized,
    touch,
    trained,
    truncate,
)

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build


SECOND = "  second: # nothing"  # where the first study ends
EDITS = {
    # Values of config.yaml.
    "one recipe value of one experiment": (config("small: {lr: 0.1}", "small: {lr: 0.2}"), trained(GENTLE)),
    "a value that an entry sets": (
        config("recipe: gentle, seeds", "recipe: gentle, set: {lr: 0.2}, seeds"),
        trained(Named("small", "gentle,lr=0.2")),
    ),
    "a value that an entry sets to what the recipe has": (
        config("recipe: gentle, seeds", "recipe: gentle, set: {lr: 0.1}, seeds"),
        NOTHING,
    ),
    "a folder renamed to what an entry sets, without its metrics": (
        both(
            config(", on: {small: {lr: 0.1}}", ""),
            config("recipe: gentle, seeds", "recipe: gentle, set: {lr: 0.1}, seeds"),
            rename("results/shapes/small/gentle", "results/shapes/small/gentle,lr=0.1"),
            delete("results/shapes/small/gentle,lr=0.1/seed0/metrics.json"),
        ),
        evaluated(Named("small", "gentle,lr=0.1")),
    ),
    "values on a dataset, where those on the model come first": (
        config("on: {", "on: {shapes: {lr: 0.3}, digits: {momentum: 0.1}, "),
        NOTHING,
    ),
    "a value that one of the experiments overrides": (config("lr: 0.05", "lr: 0.06"), trained(MOBILENET, SMALL)),
    "a value that all inherit": (config("rotation: 5", "rotation: 6"), trained(*ALL)),
    "two values swapped": (
        both(config("momentum: 0.5", "momentum: 0.1"), config("small: {lr: 0.1}", "small: {lr: 0.5}")),
        trained(GENTLE),
    ),
    "a default said out loud": (config("lr: 0.05", "lr: 0.05, optimizer: sgd, momentum: 0.9"), NOTHING),
    "an option of one model": (
        config("small_cnn}", "small_cnn, channels: 4}"),
        summarized("small") | trained(SMALL, GENTLE),
    ),
    "an option of one model on another dataset": (
        config("small_cnn}", "small_cnn, on: {digits: {channels: 4}}}"),
        NOTHING,
    ),
    "the size of the images": (
        config("size: 16", "size: 12"),
        prepared("shapes") | summarized("small") | summarized("mobilenet_v2") | trained(*ALL),
    ),
    "whether training mirrors images": (config("size: 16", "size: 16, horizontal_flip: true"), trained(*ALL)),
    "mirror averages, where the dataset allows mirrored images and training takes none": (
        both(
            config("size: 16", "size: 16, horizontal_flip: true"),
            config("rotation: 5}", "rotation: 5, horizontal_flip: false}, test_time_augmentation: mirror"),
        ),
        evaluated(*ALL),
    ),
    "mirror averages, where the dataset does not allow them": (
        config("epochs: 3", "epochs: 3, test_time_augmentation: mirror"),
        NOTHING,
    ),
    "where raw files are fetched from": (config("size: 16", "size: 16, mirror: workflow"), NOTHING),
    "how large a download may be": (config("size: 16", "size: 16, max_download: 1"), NOTHING),
    "a note on the dataset": (config("size: 16", "size: 16, note: Five greys."), REPORT),
    "the published dataset to compare with": (config("size: 16", "size: 16, variant_of: mnist"), compared("shapes")),
    # Values that can change nothing.
    "the decay of an average that is not taken": (config("lr: 0.05", "lr: 0.05, ema_decay: 0.5"), NOTHING),
    "mirroring of images that the dataset does not allow": (
        config("rotation: 5", "rotation: 5, horizontal_flip: false"),
        NOTHING,
    ),
    "images that grow from their full size": (
        config("lr: 0.05", "lr: 0.05, progressive_resizing: {start: 1}"),
        NOTHING,
    ),
    # The same values, written differently.
    "the folder of images from here": (config("path: shapes", "path: ./shapes/"), NOTHING),
    "the folder of images from the root": (absolute_path, NOTHING),
    "order, quotes, comments": (
        both(
            config("epochs: 3, batch_size: 8", "batch_size: 8, epochs: 3"),
            config("recipe: gentle", 'recipe: "gentle"'),
            config("study: first\n", ""),
            append("config.yaml", "study: first # moved\n"),
        ),
        NOTHING,
    ),
    "0.1 as 1.0e-1, 5 as 5.0": (
        both(config("{lr: 0.1}", "{lr: 1.0e-1}"), config("rotation: 5", "rotation: 5.0")),
        NOTHING,
    ),
    "0.1 as 1e-1, text to YAML 1.1": (config("{lr: 0.1}", "{lr: 1e-1}"), NOTHING),
    # More and less.
    "a seed more": (
        config("recipe: gentle, seeds: [0]", "recipe: gentle, seeds: [0, 1]"),
        trained(GENTLE._replace(seed=1)),
    ),
    "a model more": (
        both(
            config("small_cnn}", "small_cnn}\n  wide: {architecture: small_cnn, channels: 16}"),
            config("[mobilenet_v2, small]", "[mobilenet_v2, small, wide]"),
        ),
        summarized("wide") | trained(Named("wide")),
    ),
    "a dataset more": (
        config(SECOND, f"    - {{datasets: [digits], models: [small], recipe: brief}}\n{SECOND}"),
        (downloaded("digits") | summarized("small", "digits") | trained(SMALL._replace(dataset="digits")))
        - plotted("digits", *OF_SEVERAL),
    ),
    "an experiment less": (
        config("[mobilenet_v2, small]", "[small]"),
        compared_again("shapes") - plotted("shapes", *OF_NETWORKS),
    ),
    "a model named and used nowhere": (config("small_cnn}", "small_cnn}\n  wide: {architecture: vgg16}"), NOTHING),
    "another study": (
        config("study: first", "study: second"),
        compared_again("shapes") - plotted("shapes", *OF_SEVERAL),
    ),
    "the difference that counts as none": (
        append("config.yaml", "equivalence_margin: 0.01\n"),
        compared_again("shapes"),
    ),
    # Code.
    "one model's code": (
        changed_module("models/small_cnn"),
        summarized("small") | trained(SMALL, GENTLE),
    ),
    "another model's code": (changed_module("models/mobilenet_v2"), summarized("mobilenet_v2") | trained(MOBILENET)),
    "a model's code that no experiment uses": (changed_module("models/vgg16"), NOTHING),
    "augmentation": (changed_module("training/augmentation"), trained(*ALL)),
    "the training loop": (changed_module("training/trainer"), trained(*ALL)),
    "metrics": (changed_module("evaluation/metrics"), evaluated(*ALL)),
    "reading image folders": (changed_module("data/sources/folder"), downloaded("shapes") | trained(*ALL)),
    "a data source that no experiment uses": (changed_module("data/sources/torchvision"), NOTHING),
    "learning curves": (changed_module("figures/learning_curves"), drawn(*ALL)),
    "confusion matrices": (changed_module("figures/confusion_matrix"), drawn(*ALL)),
    "comparisons": (changed_module("figures/comparison"), compared("shapes")),
    "how networks are compared": (changed_module("comparison/paired"), compared_again("shapes")),
    "one comparison": (
        changed_module("figures/accuracy_vs_time"),
        REPORT | {"Plot accuracy_vs_time of the models on shapes"},
    ),
    "the look of a network": (
        module("models/mobilenet_v2", "#E69F00", "#E69F01"),
        drawn(MOBILENET) | compared("shapes"),
    ),
    "the look of all figures": (
        changed_module("figures/style"),
        drawn(*ALL) | compared("shapes") | audited("shapes"),
    ),
    "the report's code": (changed_module("reporting/report"), REPORT),
    "the report's template": (append("workflow/templates/report.md.j2", "The end.\n"), REPORT),
    "the style of the report's page": (append("workflow/templates/report.css", "p { color: red; }\n"), REPORT),
    "a published figure": (replace("workflow/published.csv", "73.96", "73.97"), compared("shapes")),
    "what a report cites": (append("workflow/references.bib", "% The end.\n"), REPORT),
    "what a network is called": (
        replace("scripts/deepnets/models/mobilenet_v2.py", '"MobileNetV2"', '"MobileNet V2"'),
        drawn(MOBILENET) | compared("shapes"),
    ),
    "how an error is reported": (changed_module("utils/text"), NOTHING),
    "what log lines look like": (changed_module("utils/logging"), NOTHING),
    "what lines of progress say": (
        module("training/progress", "LINE_SECONDS = 30.0", "LINE_SECONDS = 60.0"),
        NOTHING,
    ),
    "how often training saves": (module("utils/waiting", "SAVE_SECONDS = 180.0", "SAVE_SECONDS = 60.0"), NOTHING),
    "what a long log line says": (module("training/messages", "torch cannot use the GPU", "no GPU for torch"), NOTHING),
    "how duplicates are counted": (changed_module("data/duplicates"), audited("shapes")),
    "how images that look alike are found": (changed_module("data/near_duplicates"), audited("shapes")),
    "what an error says": (module("training/experiment_dir", "is still training here", "trains here"), NOTHING),
    "what a log line says": (module("training/experiment", "another process (%s)", "one process (%s)"), NOTHING),
    "how jobs are planned": (changed_module("planning/requests"), NOTHING),
    "how config.yaml is read": (changed_module("config/yaml_reader"), NOTHING),
    "how errors are worded": (changed_module("config/messages"), NOTHING),
    "a rule's shell line": (
        replace("workflow/rules/train.smk", "{resources.gpu:q} --processes", "{resources.gpu:q}  --processes"),
        NOTHING,
    ),
    "the environment's file": (append("environment.yml", "# newer\n"), NOTHING),
    "comments and docstrings everywhere": (comment_everywhere, NOTHING),
    "the same code, cloned again": (clone_again, NOTHING),
    # The images of the user.
    "an image less": (delete("shapes/train/a|b/3.png"), downloaded("shapes") | trained(*ALL)),
    "an image of another size": (append("shapes/train/a|b/3.png", "."), downloaded("shapes") | trained(*ALL)),
    "another file in the folder of images": (append("shapes/README", "Five greys."), NOTHING),
    "the images moved away": (move_away("shapes"), NOTHING),
    # Files.
    "every file touched": (touch("**/*"), NOTHING),
    "the clock a year back while results were written": (shift_clock("results/**/seed0/*", -365), NOTHING),
    "the clock a day ahead while arrays were written": (shift_clock("data/**/*", 1), NOTHING),
    "a checkpoint over 1 MB touched": (touch("results/shapes/mobilenet_v2/**/model.safetensors"), NOTHING),
    "a checkpoint deleted": (delete("results/shapes/mobilenet_v2/brief/seed0/model.safetensors"), trained(MOBILENET)),
    "metrics deleted": (delete("results/shapes/small/gentle/seed0/metrics.json"), evaluated(GENTLE)),
    "a checkpoint truncated": (
        truncate("results/shapes/mobilenet_v2/brief/seed0/model.safetensors"),
        trained(MOBILENET),
    ),
    "metrics truncated": (truncate("results/shapes/small/gentle/seed0/metrics.json"), evaluated(GENTLE)),
    "a history truncated": (truncate("results/shapes/small/gentle/seed0/history.csv"), trained(GENTLE)),
    "a figure truncated": (truncate("results/shapes/small/brief/seed0/figures/learning_curves.png"), drawn(SMALL)),
    "the report truncated": (truncate("results/report.md"), REPORT),
    "the table of metrics truncated": (truncate("results/metrics.csv"), REPORT),
    "the description of the machine truncated": (truncate("results/environment.json"), REPORT),
    "statistics truncated": (truncate("results/shapes/comparison/statistics.json"), compared_again("shapes")),
    "a comparison truncated": (
        truncate("results/shapes/comparison/accuracy.png"),
        REPORT | {"Plot accuracy of the models on shapes"},
    ),
    "a summary truncated": (
        truncate("results/shapes/small/summary.json"),
        summarized("small") | evaluated(SMALL, GENTLE),
    ),
    "predictions deleted": (delete("results/shapes/small/gentle/seed0/predictions.safetensors"), evaluated(GENTLE)),
    "a figure deleted": (delete("results/shapes/small/brief/seed0/figures/learning_curves.png"), drawn(SMALL)),
    "a figure for print deleted": (
        delete("results/shapes/small/brief/seed0/figures/learning_curves.svg"),
        drawn(SMALL),
    ),
    "a comparison deleted": (
        delete("results/shapes/comparison/accuracy.png"),
        REPORT | {"Plot accuracy of the models on shapes"},
    ),
    "the report deleted": (delete("results/report.md"), REPORT),
    "the report's page deleted": (delete("results/report.html"), REPORT),
    "a summary deleted": (delete("results/shapes/small/summary.json"), summarized("small") | evaluated(SMALL, GENTLE)),
    "the sheet of sample images deleted": (delete("results/shapes/images/samples.png"), audited("shapes")),
    "the audit of the images deleted": (delete("data/shapes/audit.json"), audited("shapes")),
    "the audit of the images truncated": (truncate("data/shapes/audit.json"), audited("shapes")),
    "the audit and an array deleted": (delete("data/shapes/audit.json", "data/shapes/test_images.npy"), NOTHING),
    "the audit truncated and an array deleted": (
        both(truncate("data/shapes/audit.json"), delete("data/shapes/test_images.npy")),
        NOTHING,
    ),
    "raw files and arrays deleted, to free the disk": (lambda folder: shutil.rmtree(folder / "data"), NOTHING),
    # Without Snakemake's records, the files say what they were made by.
    "Snakemake's records lost": (lose_records, NOTHING),
    "records lost, values that can change nothing": (
        both(lose_records, config("lr: 0.05", "lr: 0.05, ema_decay: 0.5"), absolute_path),
        NOTHING,
    ),
    "records lost, a recipe value": (
        both(lose_records, config("small: {lr: 0.1}", "small: {lr: 0.2}")),
        trained(GENTLE),
    ),
    "records lost, another size and an image more": (
        both(lose_records, config("size: 16", "size: 12"), copy_image),
        downloaded("shapes") | summarized("small") | summarized("mobilenet_v2") | trained(*ALL),
    ),
    "records lost, an image less": (
        both(lose_records, delete("shapes/train/a|b/3.png")),
        downloaded("shapes") | trained(*ALL),
    ),
    "records lost, the images moved away": (both(lose_records, move_away("shapes")), NOTHING),
    "records lost, an option of one model": (
        both(lose_records, config("small_cnn}", "small_cnn, channels: 4}")),
        summarized("small") | trained(SMALL, GENTLE),
    ),
    "records lost, arrays of version 0.1.0, which do not say their size": (
        both(lose_records, rewrite_json("data/shapes/dataset.json", lambda content: content.pop("spec"))),
        prepared("shapes") | trained(*ALL),
    ),
    "records lost, other labels of the same images": (
        both(
            lose_records,
            rewrite_json(
                "data/shapes/dataset.json", lambda content: content["arrays"]["train_labels.npy"].update(sha256="0")
            ),
        ),
        trained(*ALL) | audited("shapes"),
    ),
    "records lost, the published dataset to compare with": (
        both(lose_records, config("size: 16", "size: 16, variant_of: mnist")),
        compared("shapes"),
    ),
    "records lost, the difference that counts as none": (
        both(lose_records, append("config.yaml", "equivalence_margin: 0.01\n")),
        compared_again("shapes"),
    ),
    "records lost, a model before the others that has the look of one": (
        both(lose_records, config("models:\n", "models:\n  zero: {architecture: vgg16}\n")),
        drawn(SMALL, GENTLE) | compared("shapes"),
    ),
    "records lost, a model before the others that has a look of its own": (
        both(lose_records, config("models:\n", "models:\n  first: {architecture: vgg16}\n")),
        NOTHING,
    ),
    "event files for TensorBoard, and their package": (
        both(append("scripts/tensorboard.py", ""), config("study: first", "study: first\ntensorboard: true")),
        NOTHING,
    ),
    "records lost, a note on the dataset": (both(lose_records, config("size: 16", "size: 16, note: Five.")), REPORT),
}


# Rows next to each other are of a kind: `make test` takes every second one, `make test-all` all.
ROWS = [
    pytest.param(*row, id=name, marks=[pytest.mark.full] if number % 2 else [])
    for number, (name, row) in enumerate(EDITS.items())
]


@pytest.mark.parametrize(("edit", "stale"), ROWS)
def test_an_edit_makes_stale_exactly(study, dry_run, run_why, edit, stale):
    edit(study)
    reasons = run_why(study)
    assert reasons.returncode == 0, reasons.output
    assert dry_run(study).jobs == stale
    assert ("nothing is stale" not in reasons.output) == bool(stale), reasons.output


def test_arrays_that_are_made_first_train_only_what_is_new(study, dry_run, snakemake):
    shutil.rmtree(study / "data")
    config("[mobilenet_v2, small]", "[mobilenet_v2, small, new]")(study)
    config("small_cnn}", "small_cnn}\n  new: {architecture: small_cnn}")(study)
    planned = dry_run(study)
    assert planned.jobs > trained(*ALL)  # as Snakemake would have it, so a hint is printed
    assert re.search("Build the arrays first: \\S*snakemake --cores 2 data/shapes/dataset.json", planned.output)
    assert snakemake(study, "data/shapes/dataset.json").returncode == 0
    assert dry_run(study).jobs == trained(Named("new")) | summarized("new") | audited("shapes")


@pytest.mark.parametrize(
    ("arguments", "cores"),
    [
        ((), 1),
        ((), 7),
        (("--workflow-profile", "none"), 1),
        (("--profile", "profiles/slurm"), 1),
        (("--set-threads", "train=4"), 4),
        (("--set-resources", "train:mem_mb=99"), 1),
        (("--set-resources", "train:processes=2"), 2),
        (("--resources", "gpu=2", "--set-resources", "train:gpu=2"), 1),
        (("--config", "study=first"), 1),
        (("results/report.md", "results/metrics.csv"), 1),
    ],
)
def test_how_snakemake_is_called_makes_nothing_stale(finished_study, dry_run, arguments, cores):
    assert dry_run(finished_study, *arguments, cores=cores).jobs == NOTHING


def test_another_study_and_back_trains_nothing(study, dry_run, snakemake):
    done = snakemake(study, "--config", "study=second", cores=2)
    assert done.returncode == 0, done.stdout
    assert dry_run(study).jobs == compared_again("shapes")


def test_a_model_named_before_the_others_trains_nothing_and_recolours_only_one_of_its_own_colour(study, dry_run):
    config("models:\n", "models:\n  first: {architecture: vgg16}\n")(study)
    assert dry_run(study).jobs == NOTHING
    config("first: {", "zero: {")(study)  # its name gives it the colour of `small`
    assert dry_run(study).jobs == drawn(SMALL, GENTLE) | compared("shapes")
