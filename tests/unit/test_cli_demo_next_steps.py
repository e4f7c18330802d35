"""What the demonstration says to try next works in the shell that it is pasted into."""

from pathlib import Path

from hyperhive.cli.cmd_demo import _path_line


def test_the_commands_are_put_on_the_path_where_they_are_not() -> None:
    assert _path_line(Path("/a b/bin"), None) == "  export PATH='/a b/bin':$PATH\n"
    assert _path_line(Path("/a b/bin"), "/usr/bin/hive") == ""
