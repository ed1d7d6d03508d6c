"""YAML files that are not a configuration, duplicate keys and merge keys."""

import pytest
import yaml
from config_files import VALID, write

from deepnets.config.loader import load_config
from deepnets.config.yaml_reader import read
from deepnets.utils.errors import UserError


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("study: demo\nmodels: [a\nrecipes: b\n", ["line 3", "broken YAML"]),
        ("study: demo\n\tmodels: a\n", ["line 2", "broken YAML"]),
        ("study: *nowhere\n", ["line 1", "undefined alias 'nowhere'"]),
        ("study: !!python/name:os.system x\n", ["line 1", "broken YAML"]),
        ("study: a\n---\nstudy: b\n", ["line 2", "single document"]),
        ("study: a\x07\n", ["line 1", "control character U+0007"]),
        ("study: 2024-13-45\n", ["cannot be read (month must be in 1..12"]),
        ("study: " + "[" * 3000, ["nested too deeply"]),
        ("", ["the file is empty"]),
        ("# only a comment\n", ["the file is empty"]),
        ("- study\n- demo\n", ["the top level must be keys with values", "['study', 'demo']"]),
        ("demo\n", ["the top level must be keys with values", "'demo'"]),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_refused_in_one_line(tmp_path, text, fragments):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as refusal:
        load_config(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(fragment in message for fragment in fragments), message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such file; run the command in the folder"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_bytes("study: sch\xf6n".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
        load_config(tmp_path / "config.yaml")


def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False) + "study: paper\n"
    with pytest.raises(UserError, match=r"^[^\n]*: line \d+: the key 'study' is there twice, first in line 1;[^\n]*$"):
        load_config(write(tmp_path, text))


def test_merge_keys_may_be_overridden_without_being_duplicates(tmp_path):
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\n"
    file = read(write(tmp_path, text))
    assert file.content["c"] == {"x": 3, "y": 2}
    assert file.duplicate_keys == []


def test_keys_are_text_even_where_yaml_1_1_reads_something_else(tmp_path):
    assert read(write(tmp_path, "on: yes\n1: 2\n")).content == {"on": True, "1": 2}
