"""Every path of the workflow, relative to the working directory."""

EXPERIMENT = "results/{dataset}/{model}/{recipe}/seed{seed}"
COMPARISONS = ("accuracy", "accuracy_vs_parameters", "accuracy_vs_time", "accuracy_vs_budget")
# The files that a stage's job makes; the stages in the order of the work.
OUTPUTS = {
    "download": ("data/{dataset}/raw.json",),
    "prepare": (
        "data/{dataset}/dataset.json",
        *(f"data/{{dataset}}/{part}_{kind}.npy" for part in ("train", "test") for kind in ("images", "labels")),
    ),
    "summarize": ("results/{dataset}/{model}/summary.json", "results/{dataset}/{model}/summary.txt"),
    "train": tuple(f"{EXPERIMENT}/{name}" for name in ("model.safetensors", "history.csv", "timing.json")),
    "evaluate": tuple(f"{EXPERIMENT}/{name}" for name in ("metrics.json", "predictions.safetensors")),
    "plot_learning_curves": tuple(f"{EXPERIMENT}/figures/learning_curves.{kind}" for kind in ("png", "svg")),
    "plot_confusion_matrix": tuple(f"{EXPERIMENT}/figures/confusion_matrix.{kind}" for kind in ("png", "svg")),
    "plot_comparison": ("results/{dataset}/comparison/{figure}.png",),
    "report": ("results/report.md", "results/metrics.csv", "results/environment.json"),
}
