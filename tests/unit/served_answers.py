"""Answers of the server: got as curl gets them, and compared with the schema."""

import argparse
import json
import shlex
from pathlib import Path

import requests


def run_curl(command):
    """Do what curl does with the arguments of the page; return the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-binary", required=True)
    parser.add_argument("--header", action="append", required=True)
    parser.add_argument("url")
    given = parser.parse_args(shlex.split(command))
    assert given.data_binary.startswith("@")
    headers = dict(header.split(": ", 1) for header in given.header)
    content = Path(given.data_binary[1:]).read_bytes()
    response = requests.post(given.url, data=content, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def keys(answer):
    """Return the keys of a JSON value, with what is below each; of a list, those of its entries."""
    if isinstance(answer, dict):
        return {key: keys(value) for key, value in answer.items()}
    if isinstance(answer, list):
        [of_entries] = {json.dumps(keys(each), sort_keys=True) for each in answer}
        return [json.loads(of_entries)]
    return "number" if isinstance(answer, float) else "string"


def keys_of_schema(schema, part):
    """Return the same of a part of the schema, all of whose keys must be there."""
    if "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    if part["type"] == "object":
        assert set(part["required"]) == set(part["properties"])
        return {key: keys_of_schema(schema, value) for key, value in part["properties"].items()}
    return [keys_of_schema(schema, part["items"])] if part["type"] == "array" else part["type"]
