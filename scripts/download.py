"""Download the raw files of one dataset.

    python scripts/download.py mnist

Raw files go to data/mnist/raw/; data/mnist/raw.json, which lists them with their hashes, is written last. On machines
without internet, the environment variable DEEPNETS_MIRROR names a folder that has the files as <dataset>/<file>.
"""

from deepnets.data.download import download
from deepnets.data.sources import MAX_DOWNLOAD_GB
from deepnets.planning.job_files import job_parser, load_job, load_working_config
from deepnets.utils import paths
from deepnets.utils.command_line import number, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "download")
    parser.add_argument("--mirror", help="folder or https:// address that has the files")
    parser.add_argument(
        "--max-download",
        type=number(int, 1, 1_000_000),
        metavar="GB",
        help=f"the most that one file may have if it is downloaded (default: {MAX_DOWNLOAD_GB})",
    )
    parser.add_argument("--path", help="the dataset's own folder or archive, wherever it is now")
    args = parser.parse_args(argv)
    log_to(args.log)
    job, names = load_job("download", args)
    output = args.root / paths.RAW_MANIFEST.format(**names)
    mirror, path, max_gb = args.mirror, args.path, args.max_download or MAX_DOWNLOAD_GB
    if args.job is None:  # by hand
        options = load_working_config().datasets[names["dataset"]]
        mirror, path = mirror or options.mirror, path or options.own_path
        max_gb = args.max_download or options.max_download
    download(names["dataset"], job["spec"], mirror, output, job["state"], max_gb, path)


if __name__ == "__main__":
    run(main)
