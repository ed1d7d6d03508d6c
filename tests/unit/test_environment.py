"""environment.json: the machine, the versions and the commit that a report was made with."""

import json
import subprocess

from deepnets.reporting.environment import describe, git_state


def test_the_environment_names_machine_and_versions(experiment, write_report, tmp_path, root):
    write_report(experiment())
    environment = json.loads((tmp_path / "results/environment.json").read_text())
    assert environment.pop("spec")["study"] == "demo"
    assert environment["packages"]["matplotlib"]
    assert environment["cores"] >= 1
    assert describe(root) | {"generated": ""} == environment | {"generated": ""}


def test_a_checkout_is_known_by_its_commit_and_whether_its_code_was_changed(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True)

    assert git_state(tmp_path) == (None, None)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/x.py").touch()
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "m")
    (tmp_path / "my_notes.txt").touch()
    commit, modified = git_state(tmp_path)
    assert (len(commit), modified) == (40, False)
    assert git_state(tmp_path / "scripts") == (None, None)  # unpacked inside somebody else's checkout
    (tmp_path / "scripts/x.py").write_text("1")
    assert git_state(tmp_path) == (commit, True)
