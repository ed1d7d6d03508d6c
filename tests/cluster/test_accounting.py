"""The documented command works where SLURM keeps accounts, so that sacct is available."""

import json


def test_with_accounting_a_cancelled_run_is_noticed_and_continues(slurm_with_accounting, run_study, slow_study):
    run = run_study(slurm_with_accounting, slow_study(), "results/shapes/slow/long/seed0/metrics.json")
    run.wait_for_epoch(2)
    run.slurm("scancel", run.job("train", "running"))
    run.finish()
    assert json.loads((run.result / "timing.json").read_text())["resumed_from_epochs"]
    kept = run.slurm("sacct", "--noheader", "--allocations", "--starttime=now-1hour", "--format=State%20")
    assert "CANCELLED" in kept
    assert "COMPLETED" in kept
