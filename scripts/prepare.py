"""Turn the raw files of one dataset into arrays that training maps into memory.

    python scripts/prepare.py mnist

The arrays go to data/mnist/; dataset.json, which describes them, is written last. After a kill, the same command
resumes.
"""

import sys

from deepnets.data.prepare import prepare
from deepnets.planning.job_files import job_parser, load_job, load_working_config
from deepnets.utils import paths
from deepnets.utils.command_line import number, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "prepare")
    parser.add_argument("--processes", type=number(int, 1), default=1, help="that decode images (default: 1)")
    parser.add_argument(
        "--max-megapixels", type=number(float, 0, sys.float_info.max), help="of an image of the user's (default: 100)"
    )
    args = parser.parse_args(argv)
    log_to(args.log)
    job, names = load_job("prepare", args)
    raw, output = (args.root / path.format(**names) for path in (paths.RAW_MANIFEST, paths.DATASET_INFO))
    max_megapixels = args.max_megapixels
    if args.job is None and max_megapixels is None:  # by hand
        max_megapixels = getattr(load_working_config().datasets[names["dataset"]], "max_megapixels", None)
    prepare(names["dataset"], job["spec"], raw, output, args.processes, job["code"], max_megapixels)


if __name__ == "__main__":
    run(main)
