"""YAML files that are not a configuration, duplicate keys and merge keys."""

import os
import re

import pytest
import yaml
from config_files import VALID, write

from deepnets.config.loader import load_config
from deepnets.config.yaml_reader import read
from deepnets.utils.errors import UserError

# A few lines that stand for 10^10 values, and for 2^40 merged keys.
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 11))
MERGES = "b0: &b0 {x: 1}\n" + "".join(f"b{i}: &b{i} {{<<: [*b{i - 1}, *b{i - 1}]}}\n" for i in range(1, 41))


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
        ("\n".join(" " * depth + "a:" for depth in range(600)), ["nested too deeply"]),
        (LAUGHS, ["more than 100,000 keys and values", "an alias (*name) counts as all that it stands for"]),
        (MERGES, ["more than 100,000 keys and values"]),
        ("study: &a [*a]\n", ["an anchor (&name) that contains itself"]),
        ("study: demo\nmodels: &a {b: {c: *a}}\n", ["an anchor (&name) that contains itself"]),
        ("study: " + "1" * 5000 + "\n", ["line 1, column 8", "a number of 5,000 characters"]),
        ("study: 0x" + "f" * 9000 + "\n", ["line 1, column 8", "a number of 9,002 characters"]),
        ("study: 1" + ":59" * 300 + ".5\n", ["cannot be read (int too large to convert to float)"]),
        ('study: "a\\0b"\n', ["line 1, column 8", "the character U+0000, which is not text"]),
        ('study: "\\ud83d"\n', ["line 1, column 8", "the character U+D83D, which is not text"]),
        ("#" * 10_000_000, ["too large for a configuration (10.0 MB; at most 256 KB are read)"]),
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


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_not_a_file_is_refused_and_never_waited_for(tmp_path, kind):
    path = tmp_path / "config.yaml"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(UserError, match=r"config\.yaml: not a file"):
        load_config(path)


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "config.yaml").write_text("study: demo\n", encoding="utf-8-sig")
    assert read(tmp_path / "config.yaml").content == {"study": "demo"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_that_is_not_utf8_is_refused(tmp_path, encoding):
    (tmp_path / "config.yaml").write_bytes("study: sch\xf6n".encode(encoding))
    with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
        load_config(tmp_path / "config.yaml")


def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False) + "study: paper\n"
    with pytest.raises(UserError) as refusal:
        load_config(write(tmp_path, text))
    message = r"[^\n]*: line \d+: the key 'study' is there twice, first in line 1; delete one of them"
    assert re.fullmatch(message, str(refusal.value))


def test_entries_of_a_section_that_is_there_twice_belong_below_the_first(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False) + "datasets:\n  birds: {path: birds}\n"
    with pytest.raises(UserError, match="first in line 2; put all its entries below the first"):
        load_config(write(tmp_path, text))


def test_what_follows_from_a_section_that_is_there_twice_is_not_reported(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False) + "study: birds\ndatasets:\n  birds: {path: birds}\n"
    with pytest.raises(UserError) as refusal:  # no other dataset is left
        load_config(write(tmp_path, text))
    assert [re.findall("the key '(.*?)' is there twice", line) for line in str(refusal.value).splitlines()] == [
        ["study"],
        ["datasets"],
    ]


def test_merge_keys_may_be_overridden_without_being_duplicates(tmp_path):
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\n"
    file = read(write(tmp_path, text))
    assert file.content["c"] == {"x": 3, "y": 2}
    assert file.duplicate_keys == []


def test_keys_are_text_even_where_yaml_1_1_reads_something_else(tmp_path):
    assert read(write(tmp_path, "on: yes\n1: 2\n")).content == {"on": True, "1": 2}
