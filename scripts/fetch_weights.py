"""Fetch the weights that torchvision or timm publishes of one network, for models with `weights: default`.

    python scripts/fetch_weights.py torchvision/resnet18

They go to data/_weights/torchvision/resnet18/. On machines without internet, the environment variable DEEPNETS_MIRROR
names a folder that has the files as <library>/<file>.
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "fetch_weights").parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.training.fetch_weights import fetch_weights  # loads torch: here, an error is one line

    job, names = load_job("fetch_weights", args)
    info, weights = (args.root / path.format(**names) for path in (paths.WEIGHTS_INFO, paths.PUBLISHED_WEIGHTS))
    fetch_weights(job["spec"], info, weights)


if __name__ == "__main__":
    run(main)
