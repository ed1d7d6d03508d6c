"""predictions.csv: what a network says of each test image, for people and their spreadsheets."""

import csv
from collections.abc import Sequence
from pathlib import Path

from deepnets.evaluation.confidence import probabilities_of
from deepnets.evaluation.metrics import NO_PREDICTION, Labels, Logits, predicted_classes
from deepnets.utils.files import atomic_path

COLUMNS = ("index", "file", "label", "predicted", "probability")


def write_prediction_table(
    path: Path, logits: Logits, labels: Labels, classes: Sequence[str], files: Sequence[str] | None
) -> None:
    r"""Write a row for each test image, in the order of the dataset; the same logits give the same bytes.

    `probability` is that of the predicted class, with 6 digits. It and `predicted` are empty where softmax is not
    defined. Bytes of a file's name that are not UTF-8 are written as `\udcff`, so that the table always is.

    Args:
        path: of the table.
        logits: (N, C).
        labels: (N,).
        classes: names, by label.
        files: names of the images' files; None if they were not files.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    predicted, probabilities = predicted_classes(logits), probabilities_of(logits).max(1)
    rows = zip(files or [""] * len(labels), labels.tolist(), predicted.tolist(), probabilities.tolist(), strict=True)
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for index, (name, label, found, probability) in enumerate(rows):
            answer = ["", ""] if found == NO_PREDICTION else [classes[found], f"{probability:.6f}"]
            writer.writerow([index, name, classes[label], *answer])
