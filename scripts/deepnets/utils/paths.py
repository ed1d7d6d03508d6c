"""Every path of the workflow, relative to the folder that holds data/, results/ and logs/.

Words in braces are Snakemake's wildcards; `str.format` fills them. No path can change a result, so an edit of this file
makes no result stale: Snakemake sees by itself where a file is missing.
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]  # the code, its templates and the shipped config.yaml

SPLITS = ("train", "test")  # that have arrays of their own: validation images are among those of training

# -- data --------------------------------------------------------------------------------------------------------------

DATASET = "data/{dataset}"
RAW = "raw"  # holds the raw files, in the dataset's folder
DOWNLOADED = ".downloaded"  # marks a folder of raw files as ours: `make distclean` removes no other
RAW_MANIFEST = f"{DATASET}/raw.json"
DATASET_INFO = f"{DATASET}/dataset.json"
AUDIT = f"{DATASET}/audit.json"
IMAGES, LABELS = "{split}_images.npy", "{split}_labels.npy"  # in the dataset's folder
ARRAYS = {split: [f"{DATASET}/{name.format(split=split)}" for name in (IMAGES, LABELS)] for split in SPLITS}

# The weights that a library publishes; no name of a dataset starts with _.
PUBLISHED_WEIGHTS = "data/_weights/{library}/{network}/weights.safetensors"
WEIGHTS_INFO = "data/_weights/{library}/{network}/weights.json"

# -- results -----------------------------------------------------------------------------------------------------------

NETWORK = "results/{dataset}/{model}"
SUMMARY_JSON, SUMMARY_TEXT = f"{NETWORK}/summary.json", f"{NETWORK}/summary.txt"
LATENCY_FILE = "latency.json"
LATENCY = f"{NETWORK}/{LATENCY_FILE}"

# The recipe is its name, with the values that a study sets: quick,lr=0.03 (deepnets.config.recipe_label).
EXPERIMENT_NAME = "{dataset}/{model}/{recipe}/seed{seed}"
EXPERIMENT = f"results/{EXPERIMENT_NAME}"
# Names in the experiment's folder, and the whole paths.
MODEL_FILE, HISTORY_FILE, TIMING_FILE = "model.safetensors", "history.csv", "timing.json"
PREDICTIONS_FILE, PREDICTION_TABLE_FILE, METRICS_FILE = "predictions.safetensors", "predictions.csv", "metrics.json"
ONNX_FILE, CARD_FILE, BUNDLE_FILE, ROBUSTNESS_FILE = "model.onnx", "MODEL_CARD.md", "bundle.zip", "robustness.json"
MODEL, HISTORY, TIMING = (f"{EXPERIMENT}/{name}" for name in (MODEL_FILE, HISTORY_FILE, TIMING_FILE))
PREDICTIONS, PREDICTION_TABLE = (f"{EXPERIMENT}/{name}" for name in (PREDICTIONS_FILE, PREDICTION_TABLE_FILE))
METRICS = f"{EXPERIMENT}/{METRICS_FILE}"
ONNX, CARD, BUNDLE = (f"{EXPERIMENT}/{name}" for name in (ONNX_FILE, CARD_FILE, BUNDLE_FILE))
ROBUSTNESS = f"{EXPERIMENT}/{ROBUSTNESS_FILE}"
# Files for other programs, by the stage that writes them, each with the JSON file that describes it.
EXPORTS = {
    "export": (ONNX_FILE, "model_onnx.json"),
    "export_fp16": ("model_fp16.onnx", "model_fp16.json"),
    "export_int8": ("model_int8.onnx", "model_int8.json"),
    "export_program": ("model.pt2", "model_pt2.json"),
}
FIGURE_FILE = "figures/{figure}.png"
EXPERIMENT_FIGURE = f"{EXPERIMENT}/figures/{{figure}}"  # .png and .svg
SALIENCY_FILE = FIGURE_FILE.format(figure="saliency")
SALIENCY = f"{EXPERIMENT}/{SALIENCY_FILE}"
# While it trains: who does, and how far it is.
OWNER_FILE, PROGRESS_FILE = ".train.owner", ".train.progress"
CHECKPOINTS = ".resume"  # in the experiment's folder; no output of any rule, so that Snakemake leaves it alone

SAMPLE_SHEET = "results/{dataset}/images/samples.png"

# {suffix} is "" for the study that config.yaml chooses, and "-sweep" for the study `sweep` by its name. The reports of
# several studies can so be next to each other, each with its own comparisons. PARTIAL is that of a report of what is
# finished; no study's name has a dot.
PARTIAL = ".partial"
COMPARISON = "results/{dataset}/comparison{suffix}"
STATISTICS = f"{COMPARISON}/statistics.json"
COMPARISON_FIGURE = f"{COMPARISON}/{{figure}}.png"

REPORT, REPORT_PAGE = "results/report{suffix}.md", "results/report{suffix}.html"
# A folder with a page for each experiment of a large study, written with the report. It is no output of a rule, because
# a small study has none.
REPORT_PAGES = "results/report{suffix}.pages"
REPORT_INDEX = f"{REPORT_PAGES}/index.md"  # links them all, if the report has no room for that
METRICS_CSV, ENVIRONMENT = "results/metrics{suffix}.csv", "results/environment{suffix}.json"

# A search of config.yaml: its trials, and the study of them that is put on top of config.yaml.
SEARCH, SEARCH_STUDY = "results/search-{search}.json", "results/search-{search}.yaml"

# -- the workflow's own ------------------------------------------------------------------------------------------------

LOGS = "logs"
TENSORBOARD = f"{LOGS}/{EXPERIMENT_NAME}/tensorboard"  # a folder of event files
BENCHMARK_SUFFIX = ".benchmark.tsv"
JOBS = ".snakemake/deepnets"  # what each job of the present run depends on, a file per job; and digests of code
STUDY_PLAN = f"{JOBS}/study.json"

# Files of the repository.
TEMPLATE, EXPERIMENT_TEMPLATE = "workflow/templates/report.md.j2", "workflow/templates/experiment.md.j2"
PUBLISHED, REFERENCES = "workflow/published.csv", "workflow/references.bib"
PAGE_TEMPLATES = [f"workflow/templates/report.{kind}" for kind in ("html.j2", "css", "js")]
SERVE_TEMPLATES = [f"workflow/templates/serve.{kind}" for kind in ("html.j2", "css", "js")]
BUNDLE_EXAMPLE = "workflow/templates/bundle_predict.py"

# What a job of each stage writes; the stages in the order of the work. The first file names the job. Only a job of
# plot_experiment writes these files for each figure of its experiment.
OUTPUTS = {
    "download": [RAW_MANIFEST],
    "prepare": [DATASET_INFO, *ARRAYS["train"], *ARRAYS["test"]],
    "fetch_weights": [WEIGHTS_INFO, PUBLISHED_WEIGHTS],
    "summarize": [SUMMARY_JSON, SUMMARY_TEXT],
    "latency": [LATENCY],
    "train": [MODEL, HISTORY, TIMING],
    "evaluate": [METRICS, PREDICTIONS, PREDICTION_TABLE],
    "robustness": [ROBUSTNESS],
    "compare": [STATISTICS],
    **{stage: [f"{EXPERIMENT}/{name}" for name in names] for stage, names in EXPORTS.items()},
    "saliency": [SALIENCY],
    "card": [CARD],
    "bundle": [BUNDLE],
    "plot_experiment": [f"{EXPERIMENT_FIGURE}.png", f"{EXPERIMENT_FIGURE}.svg"],
    "plot_comparison": [COMPARISON_FIGURE],
    "audit": [SAMPLE_SHEET, AUDIT],  # the sheet is there where data/ was deleted
    "report": [REPORT, REPORT_PAGE, METRICS_CSV, ENVIRONMENT],
}
ON_REQUEST = (*EXPORTS, "saliency", "card", "bundle")  # stages of files that no study has among its results
OPTIONAL = ("latency", "robustness")  # stages of the studies of which an entry has the same key


def log(stage: str) -> str:
    """Return the path of the log of a stage's jobs; it mirrors the folder of their outputs."""
    return f"{_log_name(stage)}.log"


def benchmark(stage: str) -> str:
    """Return the path of the file in which Snakemake notes how long a stage's job took."""
    return f"{_log_name(stage)}{BENCHMARK_SUFFIX}"


def _log_name(stage: str) -> str:
    names = {
        "download": "{dataset}/download",
        "prepare": "{dataset}/prepare",
        "fetch_weights": "_weights/{library}/{network}/fetch_weights",
        "summarize": "{dataset}/{model}/summarize",
        "latency": "{dataset}/{model}/latency",
        "compare": "{dataset}/comparison{suffix}/compare",
        "plot_comparison": "{dataset}/comparison{suffix}/{figure}/plot_comparison",
        "audit": "{dataset}/audit",
        "report": "report{suffix}",
    }
    return f"{LOGS}/{names.get(stage, f'{EXPERIMENT_NAME}/{stage}')}"
