"""Export one trained experiment with torch.export: model.pt2 into its folder, compared with the network on test images.

python scripts/export_program.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import add_threads, importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "export_program")
    add_threads(parser)
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.evaluation.torch_program import export_program  # loads torch: here, an error is one line

    job, names = load_job("export_program", args)
    data, folder = (args.root / path.format(**names) for path in (paths.DATASET_INFO, paths.EXPERIMENT))
    export_program(job, data, folder, threads=args.threads)


if __name__ == "__main__":
    run(main)
