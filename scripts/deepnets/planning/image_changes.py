"""Which of the user's images changed since they were listed in raw.json, by name and size."""

from functools import cache

from deepnets.data.class_folders import list_images
from deepnets.data.folder_tree import ANY_NUMBER, list_folder
from deepnets.data.search_paths import find_local
from deepnets.planning.jobs import Jobs
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json
from deepnets.utils.specs import read_head
from deepnets.utils.text import first_few

QUICKLY_SEEN = 20_000  # images; a shared disk may take a millisecond for the size of each


def image_changes(jobs: Jobs, dataset: str) -> str:
    """Say how many images are new, gone or of another size, and name some; "" if that cannot be seen.

    An archive's images are not compared: its size and its ends are all that was recorded of it.
    """
    options = jobs.config.datasets[dataset]
    try:
        listed = read_json(jobs.root / paths.RAW_MANIFEST.format(dataset=dataset))
        before = {file["name"]: file["bytes"] for file in listed["files"]}
        folder = find_local(options.own_files or "", dataset, options.mirror)
        if folder is None or not folder.is_dir():
            return ""
        names = list_images(str(folder), list_folder(folder, classes=ANY_NUMBER), ANY_NUMBER)
        after = {name: (folder / name).stat().st_size for name in names}
    except (UserError, OSError, KeyError, TypeError):
        return ""
    changes = {
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in before.keys() & after.keys() if before[name] != after[name]),
    }
    words = [f"{len(names)} {state} ({first_few(names)})" for state, names in changes.items() if names]
    return f"images: {', '.join(words)}" if words else ""


def have_images_changed(jobs: Jobs, dataset: str) -> bool:
    """Return whether images are new, gone or of another size; False if that cannot be seen within seconds."""
    manifest, info = (jobs.root / path.format(dataset=dataset) for path in (paths.RAW_MANIFEST, paths.DATASET_INFO))
    recorded, splits = (read_head(file, key).get(key) for file, key in ((manifest, "state"), (info, "splits")))
    if recorded is None or (isinstance(splits, dict) and sum(splits.values()) > QUICKLY_SEEN):
        return False
    return _state_now(jobs, dataset, recorded) not in (None, recorded)


@cache  # `make watch` asks every few seconds, and needs another answer only when raw.json was written again
def _state_now(jobs: Jobs, dataset: str, _recorded: str) -> str | None:
    return jobs.config.datasets[dataset].local_state(dataset)
