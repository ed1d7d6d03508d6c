"""Quantise one experiment's model.onnx to int8: model_int8.onnx into its folder, with the accuracy that it costs.

python scripts/export_int8.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import add_threads, importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "export_int8")
    add_threads(parser)
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.evaluation.onnx_int8 import export_int8  # loads torch: here, an error is one line

    job, names = load_job("export_int8", args)
    data, folder = (args.root / path.format(**names) for path in (paths.DATASET_INFO, paths.EXPERIMENT))
    export_int8(job, data, folder, threads=args.threads)


if __name__ == "__main__":
    run(main)
