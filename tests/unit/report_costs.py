"""The numbers of a report's tables of costs, from the files of the experiments."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from recomputed import Run, name_of, title_of
from report_cells import Cell, Rows, Seconds


def of_networks(runs: Sequence[Run]) -> Rows:
    """What each network costs in use."""
    rows: Rows = {}
    for run in runs:
        network, weights = run.metrics["model"], run.folder / "model.safetensors"
        size = weights.stat().st_size if weights.exists() else run.metrics["weights_bytes"]
        row: dict[str, Cell] = {
            "Parameters": [network["parameters"]],
            "Multiply-adds": [network["mult_adds"]],
            "Weights file (MB)": [size / 1e6],
        }
        if (file := run.folder.parents[1] / "latency.json").exists():
            measured = json.loads(file.read_text())
            row |= {
                "Latency on": _conditions([measured["measured_on"]]),
                "Latency (ms)": [1000 * measured["latency"]["median_seconds"]],
                "95th percentile (ms)": [1000 * measured["latency"]["p95_seconds"]],
                "Images/s": [measured["throughput"]["images_per_second"]],
            }
        rows.setdefault((name_of(run.model), run.dataset), row)
    return rows


def of_exported_files(runs: Sequence[Run]) -> Rows:
    """The files for other programs."""
    rows: Rows = {}
    for run in runs:
        records = [run.folder / f"model_{kind}.json" for kind in ("onnx", "fp16", "int8", "pt2")]
        for record in filter(Path.exists, records):
            found = json.loads(record.read_text())
            lost = found.get("validation")
            rows[name_of(run.model), run.dataset, title_of(run.recipe), str(run.seed), found["file"]] = {
                "Latency on": _conditions([found["measured_on"]]),
                "File (MB)": [(run.folder / found["file"]).stat().st_size / 1e6],
                "Latency (ms)": [1000 * found["latency"]["median_seconds"]],
                "95th percentile (ms)": [1000 * found["latency"]["p95_seconds"]],
                "Largest difference": [found["largest_difference"]],
                "Accuracy lost (points)": "–"
                if lost is None
                else [100 * (lost["float32_accuracy"] - lost["accuracy"])],
            }
    return rows


def of_runs(runs: Sequence[Run]) -> Rows:
    """What each training run cost."""
    return {
        (name_of(run.model), run.dataset, title_of(run.recipe), str(run.seed)): {
            "On": _conditions(run.timing.get("runs") or [run.timing], key="device"),
            "Epochs": [run.epochs, *run.timing["resumed_from_epochs"]],
            "Wall time": Seconds(run.timing["wall_seconds"]),
            "CPU time": "–" if (cpu := run.timing.get("cpu_seconds")) is None else Seconds(cpu),
            "Images/s": [run.timing["images_per_second"]],
            "Peak memory (MB)": [] if (peak := run.timing["peak_memory_mb"]) is None else [peak],
        }
        for run in runs
    }


def of_all_runs(runs: Sequence[Run]) -> Rows:
    """What all training runs of each network cost together."""
    together: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        together.setdefault((name_of(run.model), run.dataset), []).append(run)
    rows: Rows = {}
    for key, each in together.items():
        timings = pd.DataFrame([run.timing for run in each])
        on = {_conditions(run.timing.get("runs") or [run.timing], key="device") for run in each}
        rows[key] = {
            "On": on.pop() if len(on) == 1 else "several",
            "Training runs": [len(each)],
            "Epochs": [sum(run.epochs for run in each)],
            "Wall time": Seconds(timings["wall_seconds"].sum()),
            "CPU time": Seconds(timings["cpu_seconds"].sum()),
            "Images/s (median)": [timings["images_per_second"].median()],
            "Peak memory (MB, highest)": [timings["peak_memory_mb"].max()],
        }
    return rows


def of_stages(logs: Path) -> Rows:
    """What all jobs of each stage took."""
    files = [file for file in logs.rglob("*.benchmark.tsv") if not file.name.startswith("report")]
    stages = [file.name.removesuffix(".benchmark.tsv") for file in files]
    seconds = pd.Series([pd.read_csv(file, sep="\t")["s"].sum() for file in files]).groupby(np.array(stages))
    shares = 100 * seconds.sum() / seconds.sum().sum()
    return {
        (stage,): {
            "Jobs": [seconds.size()[stage]],
            "Wall time": Seconds(seconds.sum()[stage]),
            "Share": [shares[stage]],
        }
        for stage in set(stages)
    }


def _conditions(runs: Sequence[dict], key: str = "device_name") -> str:
    """Device, threads and precision of each run, in words."""
    words = [f"{run[key]}, {run['threads']} thread{'s' * (run['threads'] > 1)}, {run['precision']}" for run in runs]
    return ", then ".join(dict.fromkeys(words))
