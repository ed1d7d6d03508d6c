"""The names of the tests are plain English: the word list that codespell checks pages with applies to them, too."""

import re
import tomllib

import pytest


@pytest.fixture(scope="module")
def find_words(root):
    """Return a function that finds the words and phrases of .codespell/words.txt in the name of a test."""
    lines = (root / ".codespell/words.txt").read_text(encoding="utf-8").splitlines()
    avoided = {line.partition("->")[0] for line in lines}
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    pattern = re.compile(project["tool"]["codespell"]["regex"])
    return lambda name: [found for found in pattern.findall(name.replace("_", " ")) if found.lower() in avoided]


def test_names_of_tests_have_no_word_of_the_list(root, find_words):
    names, found = 0, {}
    for file in sorted((root / "tests").rglob("test_*.py")):
        for name in re.findall(r"^ *def test_(\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            names += 1
            if words := find_words(name):
                found[f"{file.relative_to(root)}::test_{name}"] = words
    assert names > 900
    assert not found


@pytest.mark.parametrize("name", ["full_disk_is_noticed_and_says_so", "a_module_of_ones_own", "training_goes_on"])
def test_a_word_of_the_list_is_found_in_a_name(find_words, name):
    assert find_words(name)


def test_every_phrase_of_the_list_is_one_that_codespell_can_see(root, find_words):
    lines = (root / ".codespell/words.txt").read_text(encoding="utf-8").splitlines()
    phrases = [line.partition("->")[0] for line in lines]
    assert [phrase for phrase in phrases if find_words(phrase) != [phrase]] == []
