"""Pack one trained experiment for other machines: bundle.zip into its folder.

python scripts/bundle.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.reporting.bundle import write_bundle
from deepnets.utils.command_line import run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "bundle").parse_args(argv)
    log_to(args.log)
    job, _ = load_job("bundle", args)
    write_bundle(job, args.root)


if __name__ == "__main__":
    run(main)
