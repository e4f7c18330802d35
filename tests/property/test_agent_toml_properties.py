"""agent.toml under any text: settings or a clear refusal, never anything else."""

import re
import tomllib

from hypothesis import example, given
from hypothesis import strategies as st

from hyperhive.config import agent_toml, schema, toml_lines
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.settings import AgentSettings

STRINGS = [
    '""',
    "''",
    '"""',
    "'''",
    '"\\""',
    "'#'",
    '"""\n["\n"""',
    "'''\na = 1\n''''",
    '"\\u0000"',
    '"x"',
    '"""a""""',
    '"""\r\n"""',
]
SCRAPS = [
    "model", "env", "A", "limits", "pids", "tools", "bash-allow", "bash_allow", "mcp_servers", "schedule",
    "=", " = ", ".", ",", "\n", "\n", "[", "]", "[[", "]]", "{", "}", "#", "\\", "\0", "\r\n", "\ud800", "-", "0x",
    "1979-05-27", "07:32:00", "1", "9" * 4400, "true", "sleep_after", "nan", *STRINGS,
]  # fmt: skip
OPEN = ('"""', "'''")
VALUES = st.recursive(
    st.one_of(st.integers(-5, 70_000), st.booleans(), st.text(max_size=8), st.sampled_from(["none", "1G", "manager"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.from_regex(r"[A-Za-z_]{1,6}", fullmatch=True), inner, max_size=3),
    ),
    max_leaves=6,
)
TABLES = st.dictionaries(
    st.sampled_from([*AgentSettings.__struct_fields__, "sleep-after", "other"]), VALUES, min_size=1, max_size=5
)


def read(text: str) -> tuple[AgentSettings | None, str]:
    """The settings, or what was said instead."""
    try:
        return agent_toml.parse(text), ""
    except FaultError as fault:
        return None, f"{fault.kind}|{fault.message}"


def written(table: dict[str, object]) -> str:
    return "\n".join(f"{key} = {schema.toml(value)}" for key, value in table.items())


@given(st.one_of(st.text(), st.lists(st.sampled_from(SCRAPS), max_size=30).map("".join)))
def test_any_text_becomes_settings_or_a_refusal(text: str) -> None:
    settings, said = read(text)
    assert settings is not None or said.startswith("bad_config|cannot use agent.toml:")
    assert len(said) < 30_000


@given(TABLES)
def test_each_fault_of_a_table_has_its_line(table: dict[str, object]) -> None:
    _, said = read(written(table))
    assert all(re.match(r"  line \d+: ", line) for line in said.splitlines()[1:])


@given(TABLES)
def test_the_settings_and_where_they_are_from_agree(table: dict[str, object]) -> None:
    text = written(table)
    settings, _ = read(text)
    if settings is not None:
        listed = agent_toml.sources(text)
        again = "\n".join(f"{one.key} = {one.value}" for one in listed if one.source == "agent.toml")
        assert agent_toml.parse(again) == settings


@given(st.lists(st.sampled_from(STRINGS), max_size=12))
def test_the_line_of_each_key_is_where_it_is_whatever_the_strings_before_it(values: list[str]) -> None:
    text, expected = "", {}
    for number, value in enumerate(values):
        expected[f"k{number}",] = text.count("\n") + 1
        text += f"k{number} = [{value * 2 if value in OPEN else value}] # \" ' [\n"
    tomllib.loads(text)
    assert toml_lines.lines(text) == expected


@given(st.one_of(st.none(), st.just("opus[1m]")), st.text(max_size=500), st.sampled_from(["agent", "manager"]))
@example(model=None, description='a\0\x7f"\\😀\n', role="agent")
def test_a_template_says_what_it_was_made_from(model: str | None, description: str, role: str) -> None:
    settings = agent_toml.parse(agent_toml.template(model=model, description=description, role=role))
    assert (settings.model, settings.role) == (model or "haiku", role)
    assert settings.description == description.replace("\0", "")
