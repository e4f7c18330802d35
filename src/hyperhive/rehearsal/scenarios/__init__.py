"""The scenarios that come with the hive, one TOML file each. Imports nothing of hyperhive beside `rehearsal`."""

from importlib import resources
from pathlib import Path

from hyperhive.rehearsal import script_file
from hyperhive.rehearsal.script import Script


def names() -> list[str]:
    files = (Path(entry.name) for entry in resources.files(__name__).iterdir())
    return sorted(file.stem for file in files if file.suffix == ".toml")


def load(name_or_path: str) -> Script:
    """A scenario that comes with the hive by its name, or any script by its file; raises ScriptError."""
    if name_or_path in names():
        data = resources.files(__name__).joinpath(f"{name_or_path}.toml").read_bytes()
        return script_file.parse(data, source=name_or_path)
    return script_file.read(Path(name_or_path))
