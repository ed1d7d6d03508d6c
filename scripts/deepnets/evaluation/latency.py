"""The speed of a network on this machine: latency.json. The weights do not matter, so none are read."""

from pathlib import Path

import torch
from torch import nn
from torch.utils.benchmark import Timer

from deepnets import models
from deepnets.evaluation import timed_calls
from deepnets.training.device import Device, configure_device, disable_malloc_trim
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.training.inference import channels_last
from deepnets.utils.checksums import record_checksums
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG

SCHEMA_VERSION = 1
BATCH = 128  # images at once, for the throughput


def write_latency(spec: dict, name: str, output: Path, *, threads: int = 1, gpus: int = 1) -> None:
    """Measure a network with random weights, in the precision that recipes have by default, and write latency.json.

    Args:
        spec: the network's model, input_shape and num_classes.
        name: "dataset/model", for messages.
        output: the file to write.
        threads: CPU threads; nothing else should run on these cores.
        gpus: 1: on a GPU, if there is one; 0: on the CPU.

    Raises:
        UserError: the network cannot be built, or fails; the message has its file and line.
    """
    disable_malloc_trim()
    with acquire_gpus(gpus, name):
        channels, height, width = spec["input_shape"]
        network = models.build(spec["model"], spec["num_classes"], channels, (height, width))
        device = configure_device(network, "auto" if gpus else "cpu", "auto", threads)
        with models.own_errors():
            found = measure(network, (channels, height, width), device)
        conditions = device.describe()
        with record_checksums("latency", output):
            write_json(output, {"schema_version": SCHEMA_VERSION, "spec": spec, **found, "measured_on": conditions})
    latency, throughput = found["latency"], found["throughput"]
    LOG.info(
        "%s: an image in %.2f ms (95%% of calls: %.2f ms), %.0f images/s at a batch of %d",
        name,
        1000 * latency["median_seconds"],
        1000 * latency["p95_seconds"],
        throughput["images_per_second"],
        throughput["batch"],
    )


def measure(network: nn.Module, input_shape: tuple[int, int, int], device: Device) -> dict:
    """Time predictions of normalised images that are on the device.

    Args:
        network: it is switched to evaluation and moved to the device.
        input_shape: (C, H, W).
        device: device, precision and threads.

    Returns:
        latency: median and 95th percentile in seconds of single calls with one image.
        throughput: images per second with BATCH images at once, by the median call.
    """
    network.eval().to(device.device).to(memory_format=torch.channels_last)

    def timer(batch: int) -> Timer:
        images = channels_last(torch.randn(batch, *input_shape, device=device.device))
        return Timer("network(images)", globals={"network": network, "images": images}, num_threads=device.threads)

    with torch.inference_mode(), device.autocast():
        single = timer(1)
        # It warms up before each call; a mean of several would hide slow calls.
        latency = timed_calls.time_calls(lambda: single.timeit(1).median)
        together = timer(BATCH).blocked_autorange(min_run_time=timed_calls.LEAST_SECONDS)
    return {
        "latency": latency,
        "throughput": {"batch": BATCH, "images_per_second": BATCH / together.median, "calls": len(together.times)},
    }
