"""What is said of a wrong agent.toml: everything at once, each with its line, and nothing that was kept private."""

import pytest

from hyperhive.config import agent_toml
from hyperhive.protocol.faults import FaultError, FaultKind


def refusal(text: str) -> str:
    with pytest.raises(FaultError) as refused:
        agent_toml.parse(text)
    assert refused.value.kind is FaultKind.BAD_CONFIG
    return refused.value.message


def test_every_fault_is_listed_with_its_line_in_the_order_of_the_text() -> None:
    text = """\
modle = "opus"
sleep-after = "soon"
system_prompt = '''
[limits]
pids = 5
'''
network = { mode = "open", allow = [
  "http://x", # ]
  "example.org",
] }

[limits]
pids = 99999999

[mcp_servers.a__b]
args = [1]
"""
    assert refusal(text).splitlines() == [
        "cannot use agent.toml:",
        "  line 1: unknown key `modle`; did you mean `model`?",
        '  line 2: sleep-after: expected a whole number from 0 to 31536000, it is "soon"',
        '  line 7: network.mode: expected one of none, allowlist, host, it is "open"',
        '  line 7: network.allow: expected a host or host:port, it is "http://x"',
        "  line 13: limits.pids: expected a whole number from 16 to 65536, it is 99999999",
        "  line 15: mcp_servers.a__b: expected as its name letters, digits, and single - or _ between them",
        "  line 15: mcp_servers.a__b.command: it must be given",
        "  line 16: mcp_servers.a__b.args: expected text, it is 1",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\n\nmodel = "', "line 3: Unterminated string"),
        ("a\nb = 1", "line 1: Expected '=' after a key in a key/value pair, at column 2"),
        ("model = 1\nmodel = 2", "line 2: Cannot overwrite a value"),
        ("sleep-after = 5\nsleep_after = 5", "line 2: sleep_after: given twice, with - and with _"),
        ("[limits]\nmodel = 'x'", "line 2: unknown key `limits.model`; `model` of the agent itself goes above"),
        ("[[tools]]", "line 1: tools: expected a table, it is a list of 1"),
        ("model = 1979-05-27", "line 1: model: expected text of 1 to 200 characters, it is a date or time"),
        ("sleep_after = 1.0", "line 1: sleep_after: expected a whole number from 0 to 31536000, it is a number"),
        ("sleep_after = true", "it is true"),
        ("sleep_after = " + "9" * 5000, "a number has too many digits"),
        ("sleep_after = 0x" + "f" * 5000, "it is a number"),
        ("\nmodel = 'a\0'", "line 2: Found invalid character '\\x00', at column 11"),
        ('\nmodel = "a\\u0000"', "line 2: model: it has a NUL character in it"),
        ("model = 'x'\n# \ud800", "line 2: half a character"),
        ('"\\n\\u001b" = 3', 'line 1: unknown key `"\\n\\u001b"`'),
        (".".join("a" * 100_000) + " = 1", "line 1: keys nested too deeply"),
        ("a = " + "[" * 50_000, "it is nested too deeply"),
        ("#" * (agent_toml.MAX_BYTES + 1), "larger than 262144 bytes"),
        ("#" + "é" * (agent_toml.MAX_BYTES // 2), "larger than 262144 bytes"),
        ("tools.built_in = ['Bash,WebFetch']", "the name of a tool"),
        (
            "".join(f"[mcp_servers.a{n}]\ncommand = 'x'\n" for n in range(65)),
            "expected a table of at most 64, it has 65",
        ),
        ("network.allow = [" + "'a.example'," * 501 + "]", "expected a list of at most 500, it has 501"),
    ],
)
def test_a_fault_names_its_line_and_what_would_be_right(text: str, said: str) -> None:
    assert said in refusal(text)


def test_more_than_fifty_faults_are_cut_short() -> None:
    lines = refusal("".join(f"a{n} = 1\n" for n in range(20_000))).splitlines()
    assert (len(lines), lines[-1]) == (52, "  and more than these 50")


def test_a_value_of_the_environment_is_never_repeated() -> None:
    said = refusal("[env]\nPIN = 48151623\n[mcp_servers.x]\ncommand = 'x'\nenv.PIN = 48151623")
    assert said.count("PIN: expected text, it is a number") == 2
    assert "48151623" not in said


def test_dashes_in_keys_mean_underscores_in_every_table_of_ours_but_not_in_names() -> None:
    settings = agent_toml.parse(
        "tools.built-in = []\n[mcp-servers.my-db]\ncommand = 'db'\nallowed-tools = ['x']\n[network]\nmode = 'none'"
    )
    assert settings.tools.built_in == ()
    assert settings.mcp_servers["my-db"].allowed_tools == ("x",)
    assert "env.MY-VAR: expected as its name" in refusal("env.MY-VAR = 'x'")


def test_every_setting_is_listed_with_where_it_is_from() -> None:
    text = """\
sleep-after = 300
env = { A = "x", B = "y" }
[mcp-servers.my-db]
command = "db"
[limits]
pids = 16
"""
    listed = {one.key: one for one in agent_toml.sources(text)}
    given = {key: (one.value, one.line) for key, one in listed.items() if one.source == "agent.toml"}
    assert given == {
        "sleep_after": ("300", 1),
        "env.A": ('"x"', 2),
        "env.B": ('"y"', 2),
        "mcp_servers.my-db.command": ('"db"', 4),
        "limits.pids": ("16", 6),
    }
    assert (listed["limits.memory"].value, listed["limits.memory"].source) == ('"4G"', "default")
    assert listed["mcp_servers.my-db.allowed_tools"].value == '["*"]'
    assert "env" not in listed


def test_the_templates_are_right_as_they_are_and_with_their_suggestions_taken() -> None:
    text = agent_toml.template(model="opus", description="reviews")
    taken = "\n".join(
        line.removeprefix("# ") if " = " in line or line.endswith("]") else line for line in text.split("\n")
    )
    settings = agent_toml.parse(taken)
    assert (settings.model, settings.description, settings.role) == ("opus", "reviews", "agent")
    assert (settings.allowed_recipients, settings.network.allow) == (["operator"], ["example.org"])
    assert agent_toml.parse(agent_toml.template(model=None, description="", role="manager")).role == "manager"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[network]\nallow = ["example.org\\n"]', "network.allow"),
        ('[packages]\napt = ["curl\\n"]', "packages.apt"),
        ('[tools]\nbuilt_in = ["Bash\\n"]', "tools.built_in"),
        ('[env]\n"HOME\\n" = "x"', "env.HOME"),
        ('[mcp_servers."hyperhive\\n"]\ncommand = "x"', "mcp_servers.hyperhive"),
    ],
)
def test_a_name_does_not_end_in_a_line_break(text: str, key: str) -> None:
    assert key in refusal(text)
