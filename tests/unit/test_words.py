"""The names of the tests are plain English: the word list that codespell checks pages with applies to them, too."""

import ast
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


# Names of earlier versions; the field's own words replaced them.
RETIRED = {
    *("Part", "PARTS", "pieces", "smaller_parts", "min_side", "facts", "way_out", "growing", "findings", "WAYS"),
    *("ResumeFolder", "Processes", "ALONE", "Hardware", "set_up", "keep_freed_memory", "ink", "QUIET"),
}


def test_retired_names_are_not_used_again(root):
    used = {}
    for file in sorted((root / "scripts").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.arg for node in nodes if isinstance(node, ast.arg | ast.keyword) and node.arg}
        names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        if found := names & RETIRED:
            used[file.relative_to(root).as_posix()] = found
    assert used == {}
