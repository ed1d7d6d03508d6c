"""Show where in pictures a trained network found its class: Grad-CAM, an overlay for each picture.

    python scripts/explain.py results/digits/mobilenet_v2/quick/seed0 a.png folder/ --output explained/

The maps are those of the network's last convolution. a.grad-cam.png in the output folder shows a.png as the network
gets it, and next to it the same with bright colours where it found what speaks for its class.

Exit codes: 0; 1 if a picture is broken, which is reported at the end, after the others are done; 2 for a mistake.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from deepnets.evaluation.predict_options import (
    IF_OUT_OF_MEMORY,
    add_experiment,
    add_network_options,
    add_picture_options,
    load_model,
)
from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.files import atomic_path
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.text import one_line

if TYPE_CHECKING:
    from torch import nn

    from deepnets.data.pictures import Content
    from deepnets.evaluation.predictor import Model

_BLOCK_PICTURES = 32  # at once: gradients take memory


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
    from deepnets.data.pictures import list_pictures, read_blocks
    from deepnets.evaluation.saliency import find_last_maps  # here: it loads torch

    name, layer = find_last_maps(model, args.experiment)
    LOG.info("%s: Grad-CAM of %s", args.experiment, name)
    files, problems = list_pictures(args.pictures, args.encoding)
    blocks = read_blocks(files, _BLOCK_PICTURES, args.encoding)
    problems += explain(model, layer, blocks, args.output, args.invert)
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        sys.exit(1)


def explain(
    model: "Model",
    layer: "nn.Module",
    blocks: Iterable[Sequence[tuple[str, "Content"]]],
    output: Path,
    invert: bool = False,
) -> list[str]:
    """Write the overlays of pictures; return a line for each that is broken."""
    from deepnets.data.pictures import decode_block, dim_line
    from deepnets.evaluation.saliency import saliency_maps
    from deepnets.figures.overlay import overlay

    problems, dim, file_of = list[str](), list[str](), new_names(output)
    for block in blocks:
        decoded = decode_block(block, [model.form], invert)
        problems += decoded.problems
        dim += decoded.dim
        images = list(decoded.images[0])
        predictions = model.of_pixels(images, decoded.names)
        maps = saliency_maps(model, layer, images, [int(each.probabilities.argmax()) for each in predictions])
        for name, pixels, saliency, prediction in zip(decoded.names, images, maps, predictions, strict=True):
            file = file_of(name)
            with atomic_path(file) as temporary:
                overlay(pixels, saliency).save(temporary)
            LOG.info("%s", one_line(f"{name}: {prediction}, see {file}"))
    if dim:
        LOG.warning("%s", dim_line(dim))
    return problems


def new_names(folder: Path) -> Callable[[str], Path]:
    """Return what names the overlay of a picture; two pictures of one name get two."""
    used = set[str]()

    def name(picture: str) -> Path:
        stem = PurePath(picture).stem
        numbered = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        used.add(free := next(each for each in numbered if each not in used))
        return folder / f"{free}.grad-cam.png"

    return name


if __name__ == "__main__":
    run(main, continues=False, if_out_of_memory=IF_OUT_OF_MEMORY)
