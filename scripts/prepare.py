"""Turn the raw files of one dataset into arrays that training maps into memory.

    python scripts/prepare.py mnist

The arrays go to data/mnist/; dataset.json, which describes them, is written last. After a kill, the same command
resumes.
"""

from deepnets.data.decode_options import LARGEST_MEGAPIXELS
from deepnets.data.prepare import prepare
from deepnets.planning.job_files import job_parser, load_job, load_working_config
from deepnets.utils import paths
from deepnets.utils.command_line import number, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "prepare")
    parser.add_argument("--processes", type=number(int, 1), default=1, help="that decode images (default: 1)")
    megapixels = number(float, 0.01, LARGEST_MEGAPIXELS)
    parser.add_argument("--max-megapixels", type=megapixels, help="of an image of the user's (default: 100)")
    bits = number(int, 8, 16)
    parser.add_argument("--bit-depth", type=bits, help="of a value in the user's gray images of 16 bits (default: 16)")
    flip = number(int, 0, 1)
    parser.add_argument("--horizontal-flip", type=flip, help="1 or 0 where config.yaml has it; for the log")
    args = parser.parse_args(argv)
    log_to(args.log)
    job, names = load_job("prepare", args)
    raw, output = (args.root / path.format(**names) for path in (paths.RAW_MANIFEST, paths.DATASET_INFO))
    flips = None if args.horizontal_flip is None else bool(args.horizontal_flip)
    unspecified = {"max_megapixels": args.max_megapixels, "bit_depth": args.bit_depth, "horizontal_flip": flips}
    if args.job is None:  # by hand
        options = load_working_config().datasets[names["dataset"]]
        unspecified = {
            key: getattr(options, key, None) if value is None else value for key, value in unspecified.items()
        }
    given = {key: value for key, value in unspecified.items() if value is not None}
    prepare(names["dataset"], job["spec"], raw, output, args.processes, job["code"], **given)


if __name__ == "__main__":
    run(main)
