"""The benchmark of predictions: its variants compute the same logits, and its table says how fast and what changes."""

import pytest
import torch
from tiny_experiment import NAMES, SPEC, arguments

from deepnets.config.experiment import Experiment
from inference_speed import TITLES, row, variants

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def test_each_variant_predicts_the_test_images(data, finished, tmp_path, monkeypatch):
    arguments(data, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Experiment, "directory", str(finished))
    compared = variants(Experiment(**NAMES, spec=SPEC), images=20)
    logits = {name: of_variant() for name, of_variant in compared.items()}
    assert list(logits) == TITLES[1:6]
    for name, found in logits.items():
        assert found.shape == (20, 3), name
        assert torch.allclose(found, logits["plain"], atol=0.2), name
    assert torch.equal(logits["forward"], logits["ours"])
    cells = row("tiny", compared, rounds=1)
    assert len(cells) == len(TITLES)
    assert cells[-2].endswith(" of 20")
