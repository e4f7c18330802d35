"""The pages say what is there and nothing else: each verb, method, fault, key, variable and command, both ways."""

import json
import re
import runpy
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import typer

from hyperhive.cli import c0re, main
from hyperhive.config import agent_toml, schema, settings_file
from hyperhive.config.settings_file import DaemonSettings
from hyperhive.protocol import agent, events, faults, host, rpc
from hyperhive.protocol.settings import AgentSettings
from hyperhive.rehearsal import script, script_file, template

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOT_OURS = {".git", ".venv", "node_modules", "dist", "build", "out"}
PAGES = sorted(path for path in ROOT.rglob("*.md") if not NOT_OURS & {*path.relative_to(ROOT).parts})
METHODS = {method.name: method for method in (*agent.HIVE_METHODS, *agent.RUNNER_METHODS)}
VERBS = {request.__struct_config__.tag for request in host.REQUESTS}


def page(name: str) -> str:
    return (DOCS / name).read_text()


def named_headings(text: str) -> list[str]:
    """The `name`s of headings of the third level."""
    return re.findall(r"^### `([^`]+)`", text, re.MULTILINE)


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> dict[str, str]:
    """The second column of every table whose first column is a `name`."""
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", text, re.MULTILINE))


# each thing has its place, and each place its thing


def test_every_verb_of_host_sock_has_a_section_and_every_section_a_verb() -> None:
    assert sorted(named_headings(page("host-sock.md"))) == sorted(VERBS)


def test_every_method_of_the_agent_socket_has_a_section_and_every_section_a_method() -> None:
    assert sorted(named_headings(page("agent-socket.md"))) == sorted(METHODS)


def test_every_kind_of_fault_has_a_section_and_every_section_a_kind() -> None:
    assert named_headings(page("faults.md")) == [str(kind) for kind in faults.FaultKind]


@pytest.mark.parametrize("request_type", host.REQUESTS, ids=lambda request: str(request.__struct_config__.tag))
def test_the_section_of_a_verb_names_each_of_its_fields(request_type: type[Any]) -> None:
    section = _section(page("host-sock.md"), request_type.__struct_config__.tag)
    fields = {field.encode_name for field in msgspec.structs.fields(request_type)}
    assert fields <= set(re.findall(r"`(\w+)`", section))


@pytest.mark.parametrize("name", METHODS)
def test_the_section_of_a_method_names_each_field_of_its_parameters_and_result(name: str) -> None:
    section = _section(page("agent-socket.md"), name)
    method = METHODS[name]
    fields = {field.encode_name for kind in (method.params, method.result) for field in msgspec.structs.fields(kind)}
    assert fields <= set(re.findall(r"`(\w+)`", section))


def test_every_field_of_an_answer_of_host_sock_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", page("host-sock.md")))
    assert {field.encode_name for field in msgspec.structs.fields(host.Response)} <= described


def test_every_kind_of_event_is_described_and_no_other() -> None:
    kinds = {kind.__struct_config__.tag for kind in get_args(events.AnyLiveEvent)}
    assert set(rows(_part(page("agent-socket.md"), "Events"))) == kinds


def test_the_table_of_agent_toml_is_what_the_types_say() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "docs"))["agent_toml_page"]()
    assert page("agent-toml.md") == written, "run `.venv/bin/python scripts/docs`"


def test_the_table_of_the_daemons_settings_is_what_the_types_say() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "docs"))["operating_page"]()
    assert page("operating.md") == written, "run `.venv/bin/python scripts/docs`"
    assert [key.name for key in schema.keys(DaemonSettings) if not key.description] == []


@pytest.mark.parametrize("text", fenced(page("operating.md"), "json"))
def test_an_example_of_a_settings_file_is_accepted(text: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(text)
    assert settings_file.read(tmp_path / "settings.json") != DaemonSettings()


def test_every_key_of_agent_toml_is_described() -> None:
    assert [key.name for key in schema.keys(AgentSettings) if not key.description] == []
    assert list(rows(page("agent-toml.md"))) == [key.name for key in schema.keys(AgentSettings)]


def test_every_step_of_a_rehearsal_is_described_and_no_other() -> None:
    steps = {step.__struct_config__.tag for step in (*get_args(script.AnyStep),)}
    assert set(rows(_part(page("rehearsal.md"), "Steps"))) == steps


def test_every_field_of_a_rehearsals_texts_is_described() -> None:
    assert set(rows(_part(page("rehearsal.md"), "Fields"))) == set(template.BUILT_IN)


def test_every_variable_of_the_environment_is_described_and_no_other() -> None:
    sources = chain((ROOT / "src").rglob("*.py"), (ROOT / "scripts").iterdir(), [ROOT / "Makefile"])
    used = set(re.findall(r"\bHYPERHIVE_[A-Z_]*[A-Z]\b", "".join(path.read_text() for path in sources)))
    assert set(rows(_part(page("operating.md"), "Environment variables"))) == used


def test_the_page_of_commands_is_what_the_commands_say_of_themselves() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "docs"))["cli_page"]()
    assert page("cli.md") == written, "run `.venv/bin/python scripts/docs`"


def test_the_page_of_the_api_and_its_description_are_what_the_table_says() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "docs"))
    assert page("api.md") == written["api_page"](), "run `.venv/bin/python scripts/docs`"
    assert page("openapi.json") == written["openapi_text"](), "run `.venv/bin/python scripts/docs`"


def test_the_options_of_an_agent_on_nixos_are_made_from_the_types_as_they_are() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "docs"))["nix_keys"]()
    assert (ROOT / "nix" / "agent-keys.json").read_text() == written, "run `.venv/bin/python scripts/docs`"


def test_every_page_can_be_found_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text()))
    assert linked == {path.name for path in DOCS.glob("*.md")}


# examples work


@pytest.mark.parametrize("line", "".join(fenced(page("host-sock.md"), "json")).splitlines())
def test_an_example_of_host_sock_is_what_the_daemon_and_its_clients_read(line: str) -> None:
    example = json.loads(line)
    decoded = msgspec.json.decode(line, type=host.AnyRequest if "cmd" in example else host.Response)
    assert _is_within(example, json.loads(msgspec.json.encode(decoded)))


@pytest.mark.parametrize("name", METHODS)
def test_the_examples_of_a_method_are_what_both_sides_read(name: str) -> None:
    method = METHODS[name]
    for line in "".join(fenced(_section(page("agent-socket.md"), name), "json")).splitlines():
        example = json.loads(line)
        msgspec.json.decode(line, type=rpc.Frame)
        part, kind = ("params", method.params) if "method" in example else ("result", method.result)
        decoded = msgspec.json.decode(json.dumps(example[part]), type=kind)
        assert _is_within(example[part], json.loads(msgspec.json.encode(decoded)))
        assert example.get("method", name) == name


@pytest.mark.parametrize("text", fenced(page("agent-toml.md"), "toml"))
def test_an_example_of_agent_toml_is_accepted(text: str) -> None:
    assert agent_toml.parse(text) != AgentSettings()


@pytest.mark.parametrize("text", fenced(page("rehearsal.md"), "toml"))
def test_an_example_of_a_script_can_be_played(text: str) -> None:
    assert script_file.parse(text.encode(), source="the page").agents


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_only_commands_options_and_targets_that_exist(path: Path) -> None:
    unknown = [line for line in _shell_lines(path.read_text()) if not _is_known(line)]
    assert unknown == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(path: Path) -> None:
    links = re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    )
    broken = [link for link in links if not re.match(r"[a-z]+:", link) and not _leads_somewhere(path, link)]
    assert broken == []


def test_no_file_names_somebodys_home() -> None:
    homes = re.compile(rb"/(home|Users)/(?!agent\b|u\b)\w+/")
    files = (path for path in ROOT.rglob("*") if path.is_file() and not _is_generated(path))
    assert [str(path.relative_to(ROOT)) for path in files if homes.search(path.read_bytes())] == []


# how the pages are read


def _section(text: str, name: str) -> str:
    """From the name's heading to the next one; empty when there is none."""
    found = re.search(rf"^### `{re.escape(name)}`.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def _part(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def _is_within(example: Any, known: Any) -> bool:
    """Whether all that the example says was understood: what a decoder does not know it leaves out."""
    if isinstance(example, dict):
        return all(key in known and _is_within(value, known[key]) for key, value in example.items())
    if isinstance(example, list):
        return len(example) == len(known) and all(map(_is_within, example, known))
    return bool(example == known)


def _shell_lines(text: str) -> list[str]:
    lines = "".join(fenced(text, "sh")).splitlines()
    inline = re.findall(r"`((?:hive|hive-c0re|make) [^`]+)`", text)
    return [line.strip() for line in [*lines, *inline] if re.match(r"\s*(hive|hive-c0re|make) ", line)]


def _is_known(line: str) -> bool:
    program, *words = line.partition("#")[0].split()
    if program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return {word for word in words if re.fullmatch(r"[a-z]+", word)} <= targets
    command: Any = typer.main.get_command({"hive": main, "hive-c0re": c0re}[program].make_app())
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        command = command.commands.get(words.pop(0))
    known = {
        "--help",
        "--install-completion",
        *chain.from_iterable((*param.opts, *param.secondary_opts) for param in getattr(command, "params", [])),
    }
    return command is not None and {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def _leads_somewhere(path: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = path.parent / name if name else path
    return target.exists() and (not anchor or anchor in _anchors(target.read_text()))


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _is_generated(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return bool(NOT_OURS & {*parts}) or any("cache" in part or part == ".hypothesis" for part in parts)
