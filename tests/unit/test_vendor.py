"""What of npm's gets into the package: the reviewed bytes or nothing."""

import runpy
import tarfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def build() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "hatch_build.py"))


def npm_that_packs(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program called npm, alone on PATH but for the system's own."""
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_installed_package_has_the_files_of_the_pinned_version(build: dict[str, Any]) -> None:
    assert build["is_complete"](build["FOLDER"])
    assert build["INTEGRITY"] in (build["FOLDER"] / build["STAMP"]).read_text()


def test_files_of_another_version_or_a_part_of_them_are_fetched_anew(tmp_path: Path, build: dict[str, Any]) -> None:
    assert not build["is_complete"](tmp_path)
    (tmp_path / build["STAMP"]).write_text("sha512-of-another-version\n")
    for name in build["FILES"].values():
        (tmp_path / name).write_text("x")
    assert not build["is_complete"](tmp_path)


def test_without_npm_the_build_says_what_to_install(
    tmp_path: Path, build: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt install npm"):
        build["fetch"](tmp_path / "vendor")


def test_what_is_not_what_was_reviewed_is_not_unpacked(
    tmp_path: Path, build: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "htmx.min.js").write_text("evil()")
    with tarfile.open(tmp_path / "changed.tgz", "w:gz") as archive:
        archive.add(tmp_path / "htmx.min.js", "package/dist/htmx.min.js")
    npm_that_packs(tmp_path, monkeypatch, f"cp {tmp_path}/changed.tgz .")
    with pytest.raises(SystemExit, match="not what was reviewed"):
        build["fetch"](tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_a_registry_that_does_not_answer_is_told_of(
    tmp_path: Path, build: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    npm_that_packs(tmp_path, monkeypatch, "echo 'no such host' >&2; exit 1")
    with pytest.raises(SystemExit, match="no such host"):
        build["fetch"](tmp_path / "vendor")
    assert [path.name for path in tmp_path.iterdir()] == ["npm"]
