"""Write the model card of one trained experiment: MODEL_CARD.md into its folder.

python scripts/card.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.reporting.model_card import write_card
from deepnets.utils.command_line import run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "card").parse_args(argv)
    log_to(args.log)
    job, _ = load_job("card", args)
    write_card(job, args.root)


if __name__ == "__main__":
    run(main)
