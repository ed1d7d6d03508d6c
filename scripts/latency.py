"""Measure how fast a network predicts on this machine: latency.json. Nothing else should run meanwhile.

python scripts/latency.py digits/resnet50
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import add_gpus, add_threads, importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "latency")
    add_threads(parser)
    add_gpus(parser)
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.evaluation.latency import write_latency  # loads torch: here, an error is one line

    job, names = load_job("latency", args)
    name, output = "{dataset}/{model}".format(**names), args.root / paths.LATENCY.format(**names)
    write_latency(job["spec"], name, output, threads=args.threads, gpus=args.gpus)


if __name__ == "__main__":
    run(main)
