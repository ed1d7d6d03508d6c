"""From the arrays of a dataset to the audit of its images and its sample sheet."""

from pathlib import Path

from deepnets.data.image_audit import write_audit
from deepnets.figures.sample_sheet import write_sample_sheet
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums


def write_image_audit(dataset: str, job: dict, root: Path) -> None:
    """Write audit.json and the sample sheet of a dataset.

    Args:
        dataset: its name.
        job: its "spec" is that of the arrays.
        root: the folder that holds data/ and results/.

    Raises:
        UserError: the arrays are missing, damaged or of another spec.
    """
    raw, info, audit, sheet = (
        root / path.format(dataset=dataset)
        for path in (paths.RAW_MANIFEST, paths.DATASET_INFO, paths.AUDIT, paths.SAMPLE_SHEET)
    )
    with record_checksums("audit", audit), record_checksums("audit", sheet):
        write_audit(dataset, job["spec"], raw, info, audit)
        write_sample_sheet(info, job, sheet)
