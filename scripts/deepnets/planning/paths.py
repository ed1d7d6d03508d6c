"""Every path of the workflow, relative to the working directory."""

EXPERIMENT = "results/{dataset}/{model}/{recipe}/seed{seed}"
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
    "plot_experiment": tuple(f"{EXPERIMENT}/figures/{{figure}}.{kind}" for kind in ("png", "svg")),
    "plot_comparison": ("results/{dataset}/comparison/{figure}.png",),
    "report": ("results/report.md", "results/metrics.csv", "results/environment.json"),
}
