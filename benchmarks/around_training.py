"""Print the core-seconds of a finished study in training steps, between them, and around training by stage.

    PYTHONPATH=scripts python benchmarks/around_training.py

In the folder of the study, on the results that results/environment.json names; no other study may have run there. A
job's core-seconds are its wall time, from Snakemake's benchmark file, times its threads: a job holds its cores for as
long as it runs. The start of Snakemake and the writing of the report have no benchmark file, and jobs that measure
latency do not count. State shares only of a study that ran on a quiet machine, in one run of Snakemake: a benchmark
file has the last run of a job alone.
"""

import argparse
from pathlib import Path

from deepnets.reporting.job_times import by_stage, job_times
from deepnets.utils import paths
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json

WITH_THREADS = ("train", "evaluate", "robustness")  # the other jobs have one thread


def core_seconds(root: Path) -> dict[str, float]:
    """Core-seconds of the study in a folder: "steps", "between" them (validation, saving), then the others by stage.

    Of a training run, its start and its end are the stage "train".

    Raises:
        UserError: the study is not finished, a training run was resumed, or the runs had other numbers of threads.
    """
    spec = read_json(root / paths.ENVIRONMENT.format(suffix=""))["spec"]
    folders = [root / folder for folder in spec["experiments"]]
    timings = {folder: read_json(folder / paths.TIMING_FILE) for folder in folders}
    for folder, timing in timings.items():
        if timing["resumed_from_epochs"]:
            raise UserError(f"{folder}: trained in several runs, of which the last alone was measured; train it again.")
    numbers = {timing["threads"] * timing["processes"] for timing in timings.values()}
    if len(numbers) > 1:
        raise UserError(f"{root}: training runs with {sorted(numbers)} threads do not compare; give all the same.")
    (threads,) = numbers
    logs = root / paths.LOGS
    figures = [(folder.parts[-3], folder.name) for folder in logs.glob("*/comparison/*/")]
    experiments = [folder.parts[-4:] for folder in folders]
    jobs = job_times(logs, experiments, optional={*spec["optional"]} - {"latency"}, figures=figures)
    if sum(job.stage == "train" for job in jobs) < len(folders):
        raise UserError(f"{logs}: not every training run has a benchmark file; train all in one run.")
    steps, training = (
        threads * sum(timing[key] for timing in timings.values()) for key in ("train_seconds", "wall_seconds")
    )
    around = {each.stage: each.seconds * (threads if each.stage in WITH_THREADS else 1) for each in by_stage(jobs)}
    return {"steps": steps, "between": training - steps} | around | {"train": around["train"] - training}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="that holds results/ (default: this one)")
    found = core_seconds(parser.parse_args(argv).folder)
    total = sum(found.values())
    rows = {"training steps": found.pop("steps"), "between them": found.pop("between")}
    rows |= {"around training": sum(found.values())}
    rows |= {f"  {stage}": seconds for stage, seconds in found.items()}
    for name, seconds in rows.items():
        print(f"{name:20} {seconds:10.1f} core-seconds {100 * seconds / total:6.1f} %")


if __name__ == "__main__":
    run(main)
