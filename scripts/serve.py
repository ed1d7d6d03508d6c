"""Serve a trained network on this machine: a page on which a picture is dropped, and POST /predict for programs.

    python scripts/serve.py results/digits/mobilenet_v2/quick/seed0
    curl --data-binary @photo.png --header 'Content-Type: image/png' http://127.0.0.1:8000/predict

Only this machine reaches it. Nothing is kept of the pictures.
"""

from deepnets.evaluation.predict_options import add_network_options
from deepnets.utils.command_line import argument_parser, number, run
from deepnets.utils.logging import log_to
from deepnets.utils.machine import usable_cores


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="folder of a trained experiment, or a weights file")
    parser.add_argument("--port", type=number(int, 0, 65535), default=8000, help="0: a free one (default: 8000)")
    add_network_options(parser)
    args = parser.parse_args(argv)
    log_to(None)
    import torch  # here, so that a mistake in the command is reported at once, and an error of torch in one line

    from deepnets.evaluation.predictor import load
    from deepnets.reporting.server import serve
    from deepnets.training.device import disable_malloc_trim

    disable_malloc_trim()
    torch.set_num_threads(min(args.threads or usable_cores(), usable_cores()))
    model = load(args.experiment, device="auto" if args.gpus else "cpu", max_megapixels=args.max_megapixels)
    serve(model, args.experiment, args.port)


if __name__ == "__main__":
    run(main, continues=False)
