"""Who trains an experiment, as its folder says."""

from pathlib import Path

from deepnets.utils import paths
from deepnets.utils.text import one_line


def owner(folder: Path, otherwise: str) -> str:
    """Return process and host that train in an experiment's folder, or `otherwise` where the folder does not say."""
    try:
        return one_line((folder / paths.OWNER_FILE).read_text(encoding="utf-8")) or otherwise
    except (OSError, UnicodeDecodeError):
        return otherwise
