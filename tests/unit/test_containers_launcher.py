"""What the launcher does without the library that others do it with."""

import json

import pytest

from hyperhive.containers.launcher import _json


@pytest.mark.parametrize(
    "value",
    [
        "",
        'a "quoted" one',
        r"/sys/fs/cgroup/a\x2db.slice",
        "\\",
        r"\"",
        "ends in \\",
        "zwölf €, \U0001f41d",
        "tab\t, line\n, return\r, nothing\0, escape\x1b",
        ["", [], {}, [None, [1]]],
        {'a "b"': {"\\": ["c", None]}, "\n": {}},
        [0, -1, 2**63, 0.0, 1732.123456789, 1e300],
    ],
)
def test_a_record_says_what_it_was_made_of(value: object) -> None:
    assert json.loads(_json(value)) == value
