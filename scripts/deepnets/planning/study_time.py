"""The time that the rest of a study's training runs will take, estimated by each run while it trains."""

import json
from collections.abc import Mapping
from pathlib import Path

from deepnets.utils import paths
from deepnets.utils.files import write_json


def write_study_plan(core_seconds: Mapping[str, float], side_by_side: int) -> None:
    """Write which training runs this run of Snakemake will do, for `StudyTime`.

    Args:
        core_seconds: the estimate of each, by its experiment's folder.
        side_by_side: how many of them run at a time.
    """
    write_json(paths.STUDY_PLAN, {"core_seconds": dict(core_seconds), "side_by_side": side_by_side})


class StudyTime:
    """The time that a study's training runs still need, seen from one of them.

    The estimates of all runs are scaled by the time that this one really takes. Runs that have started count in full,
    so the estimate tends to be too long.

    Args:
        root: the folder that holds results/.
        folder: of this run's experiment, from `root`.
    """

    def __init__(self, root: Path, folder: str):
        self.root, self.folder = root, folder
        try:
            plan = json.loads(Path(paths.STUDY_PLAN).read_text(encoding="utf-8"))
            self.core_seconds: dict[str, float] = plan["core_seconds"]
            self.side_by_side: int = plan["side_by_side"]
        except (OSError, ValueError, KeyError, TypeError):  # trained by hand
            self.core_seconds, self.side_by_side = {}, 1

    def text(self, own_left: float, own_total: float) -> str:
        """`seconds_left` for a log line: "study: about 25 min left"; "" if this is the only run."""
        left = self.seconds_left(own_left, own_total)
        return "" if left is None else f"study: about {max(1, round(left / 60))} min left"

    def seconds_left(self, own_left: float, own_total: float) -> float | None:
        """Seconds until the last of the study's training runs ends; None if this is the only one.

        Args:
            own_left: seconds that this run still needs.
            own_total: seconds that it takes from start to end.
        """
        others = sum(
            seconds
            for folder, seconds in self.core_seconds.items()
            if folder != self.folder and not (self.root / folder / paths.MODEL_FILE).exists()
        )
        if self.folder not in self.core_seconds or not others:
            return None
        pace = own_total / self.core_seconds[self.folder]
        return max(own_left, (own_left + pace * others) / self.side_by_side)
