"""What the operator may have set as an editor."""

from pathlib import Path

import pytest

from hyperhive.cli import editor
from hyperhive.cli.output import CliError


def test_an_editor_that_cannot_be_read_as_a_command_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "vi 'unfinished")
    with pytest.raises(CliError, match="set EDITOR to a command"):
        editor.edit(Path("/dev/null"))


def test_an_editor_of_mere_blanks_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "  ")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CliError, match="cannot start the editor 'vi'"):
        editor.edit(Path("/dev/null"))
