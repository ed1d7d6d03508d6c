"""Show where in pictures a trained network found its class: Grad-CAM, an overlay for each picture.

    python scripts/explain.py results/digits/mobilenet_v2/quick/seed0 a.png folder/ --output explained/

The maps are those of the network's last convolution. a.grad-cam.png in the output folder shows a.png as the network
gets it, and next to it the same with bright colours where it found what speaks for its class.

Exit codes: 0; 1 if a picture is broken, which is reported at the end, after the others are done; 2 for a mistake.
"""

import sys
from pathlib import Path

from deepnets.evaluation.predict_options import (
    IF_OUT_OF_MEMORY,
    add_experiment,
    add_network_options,
    add_picture_options,
    load_model,
)
from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.logging import LOG, log_to


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    add_experiment(parser)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="file, folder, archive or pattern in quotes")
    parser.add_argument("--output", type=Path, metavar="FOLDER", required=True, help="write the overlays there")
    add_picture_options(parser)
    add_network_options(parser)
    args = parser.parse_args(argv)
    log_to(None)
    model = load_model(args)
    from deepnets.data.pictures import list_pictures
    from deepnets.evaluation.saliency import find_last_maps  # here: it loads torch
    from deepnets.figures.overlay_files import write_overlays

    name, layer = find_last_maps(model, args.experiment)
    LOG.info("%s: Grad-CAM of %s", args.experiment, name)
    files, problems = list_pictures(args.pictures, args.encoding)
    problems += write_overlays(model, layer, files, args.output, invert=args.invert, encoding=args.encoding)
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    run(main, continues=False, if_out_of_memory=IF_OUT_OF_MEMORY)
