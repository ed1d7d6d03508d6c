"""Serve a trained network on this machine: a page on which a picture is dropped, and POST /predict for programs.

    python scripts/serve.py results/digits/mobilenet_v2/quick/seed0
    curl --data-binary @photo.png --header 'Content-Type: image/png' http://127.0.0.1:8000/predict

Only this machine reaches it. Nothing is kept of the pictures.
"""

from deepnets.evaluation.predict_options import IF_OUT_OF_MEMORY, add_experiment, add_network_options, load_model
from deepnets.utils.command_line import argument_parser, number, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    add_experiment(parser)
    parser.add_argument("--port", type=number(int, 0, 65535), default=8000, help="0: a free one (default: 8000)")
    add_network_options(parser)
    args = parser.parse_args(argv)
    log_to(None)
    model = load_model(args)
    from deepnets.reporting.server import serve  # here: it loads torch

    serve(model, args.experiment, args.port)


if __name__ == "__main__":
    run(main, continues=False, if_out_of_memory=IF_OUT_OF_MEMORY)
