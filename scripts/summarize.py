"""Check that a network can be trained, and count its parameters, work and memory.

python scripts/summarize.py digits/resnet50

It needs no data, unless config.yaml leaves out the size of the images or the number of classes.
"""

from pathlib import Path

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "summarize")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="the user's file of weights, which must fit")
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.evaluation.network_summary import write_summary  # loads torch: here, an error is one line

    job, names = load_job("summarize", args)
    json_file, text_file = (args.root / path.format(**names) for path in (paths.SUMMARY_JSON, paths.SUMMARY_TEXT))
    write_summary(job["spec"], json_file, text_file, args.weights, f"models.{names['model']}.weights")


if __name__ == "__main__":
    run(main)
