"""Look at the images of one dataset: classes, sizes, formats, odd, equal and similar images; draw some of each class.

python scripts/audit.py digits

Nothing is trained on what it writes: data/digits/audit.json and results/digits/images/samples.png.
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils.command_line import importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "audit").parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.figures.audit_files import write_image_audit  # loads matplotlib

    job, names = load_job("audit", args)
    write_image_audit(names["dataset"], job, args.root)


if __name__ == "__main__":
    run(main)
