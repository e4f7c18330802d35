"""What the operator is warned of before a change of settings is decided on."""

import pytest

from hyperhive.hub import risks
from hyperhive.protocol.settings import (
    AgentSettings,
    Budget,
    LimitSettings,
    McpServer,
    NetworkSettings,
    Packages,
    Schedule,
    StuckSettings,
    Tools,
)

S = AgentSettings
SERVER = McpServer(command="db", args=["--read"], allowed_tools=("get_*",))


def network(mode: str, *allow: str) -> AgentSettings:
    return S(network=NetworkSettings(mode=mode, allow=[*allow]))  # type: ignore[arg-type]  # names of the modes, short


@pytest.mark.parametrize(
    ("before", "after", "warning"),
    [
        (network("allowlist", "a.io"), network("allowlist", "a.io", "b.io"), "may reach new hosts: b.io"),
        (network("allowlist", "a.io"), network("allowlist", "a.io:8443"), "may reach new hosts: a.io:8443"),
        (network("allowlist", "a.io"), network("allowlist", "*.a.io"), "may reach new hosts: *.a.io"),
        (network("none"), network("allowlist"), "network.mode: none becomes allowlist, which reaches named hosts"),
        (
            network("allowlist"),
            network("host"),
            "network.mode: allowlist becomes host, which reaches all that the host reaches, its own services included",
        ),
        (S(allowed_recipients=["a"]), S(allowed_recipients=["a", "b"]), "may write to more: b"),
        (S(allowed_recipients=["a"]), S(), "may write to everyone, before only to a"),
        (S(), S(limits=LimitSettings(memory="5000M")), "limits.memory: 4G becomes 5000M"),
        (S(), S(limits=LimitSettings(cpu="201%")), "limits.cpu: 200% becomes 201%"),
        (S(), S(limits=LimitSettings(pids=1025)), "limits.pids: 1024 becomes 1025"),
        (S(), S(limits=LimitSettings(tmp="1G")), "limits.tmp: 64M becomes 1G"),
        (S(), S(mcp_servers={"db": SERVER}), 'new MCP server db runs "db --read", tools get_*'),
        (
            S(mcp_servers={"db": SERVER}),
            S(mcp_servers={"db": McpServer(command="db", args=["--write"], allowed_tools=("get_*",))}),
            'MCP server db runs "db --write", before "db --read"',
        ),
        (
            S(mcp_servers={"db": SERVER}),
            S(mcp_servers={"db": McpServer(command="db", args=["--read"])}),
            "MCP server db offers more tools: *",
        ),
        (
            S(mcp_servers={"db": SERVER}),
            S(mcp_servers={"db": McpServer(command="db", args=["--read"], allowed_tools=("get_*",), env={"X": "1"})}),
            "MCP server db has another environment: X",
        ),
        (S(), S(packages=Packages(apt=["nmap"])), "installs packages: nmap"),
        (
            S(credentials="hive"),
            S(credentials="hive", account="red"),
            "spends from account red, before from another one",
        ),
        (S(), S(claude_plugins=["/state/p"]), "loads plugins, whose hooks run in its container: /state/p"),
        (S(), S(tool_groups=["lifecycle"]), "gains tool groups: lifecycle"),
        (
            S(),
            S(role="manager"),
            "becomes a manager: it has all of the manager's tools, for the agents whose parent it is",
        ),
        (S(), S(parent="a"), "is steered by a, before by manager"),
        (S(), S(tools=Tools(built_in=("Bash", "WebFetch"))), "gains claude's own tools: WebFetch"),
        (S(tools=Tools(bash_allow=["ls"])), S(), "may run every command, before only ls"),
        (
            S(tools=Tools(bash_allow=["ls"])),
            S(tools=Tools(bash_allow=["ls", "rm *"])),
            'may run more commands: "rm *"',
        ),
        (S(tools=Tools(bash_deny=["rm *"])), S(), 'commands no longer denied: "rm *"'),
        (S(system_prompt="a\nb"), S(system_prompt="a\nc\nd"), "system prompt changed: 2 lines new, 1 gone"),
    ],
)
def test_what_becomes_possible_is_said_and_nothing_is_said_of_the_way_back(
    before: AgentSettings, after: AgentSettings, warning: str
) -> None:
    assert risks.warnings(before, after) == [warning]
    assert warning not in risks.warnings(after, before)


def test_hosts_that_were_listed_without_effect_are_new_when_the_network_is_opened() -> None:
    told = risks.warnings(network("none", "a.io"), network("allowlist", "a.io"))
    assert told[1:] == ["may reach new hosts: a.io"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (S(), S()),
        (network("allowlist", "*.a.io"), network("allowlist", "b.a.io", "A.b.a.io".lower())),
        (network("host"), network("allowlist", "a.io")),
        (network("allowlist"), network("none", "a.io")),
        (S(limits=LimitSettings(memory="4G")), S(limits=LimitSettings(memory="4096M"))),
        (S(), S(allowed_recipients=["a"])),
        (S(), S(tools=Tools(bash_allow=["ls"], bash_deny=["rm"]))),
        (S(role="manager"), S(tool_groups=["lifecycle"])),
        (S(), S(env={"EDITOR": "vi", "AUTHOR": "me", "ANTHROPIC_MODEL": "claude-sonnet-4-5-20250929"})),
        (S(), S(description="x", model="opus", sleep_after=1)),
    ],
)
def test_what_is_as_wide_or_narrower_is_no_risk(before: AgentSettings, after: AgentSettings) -> None:
    assert risks.warnings(before, after) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_TOKEN", "tuesday"),
        ("apikey", "tuesday"),
        ("DB_PASSWORD", "tuesday"),
        ("X", "sk-" + "tuesday-" * 3),
        ("X", "https://user:tuesday@db.example/"),
        ("X", "Bearer tuesday-and-more"),
        ("X", "tuesday1" * 4),
    ],
)
def test_a_secret_is_named_and_never_shown(name: str, value: str) -> None:
    told = risks.warnings(None, S(env={name: value}))
    assert told == [f"looks like a secret, which stays in the config's history: {name}"]
    server = McpServer(command="x", args=["--token", value, f"--{name}={value}"], env={name: value})
    told = risks.warnings(None, S(mcp_servers={"m": server}))
    assert f"m.{name}, m.args" in told[-1]
    assert "tuesday" not in "".join(told)


def test_other_files_are_named_and_code_is_called_so() -> None:
    assert risks.warnings(None, S(), other_files=["agent.nix", "notes/a b.md"]) == [
        "changes what is code: agent.nix",
        'changes files beside agent.toml: "notes/a b.md"',
    ]


def test_messages_at_set_times_are_named_when_they_are_new_or_others() -> None:
    hourly, daily = Schedule(message="look", every=3600), Schedule(message="rest", cron="0 9 * * *")
    what = "new messages as from the hive itself, each of which begins a turn"
    assert risks.warnings(None, S(schedule={"hourly": hourly, "daily": daily})) == [
        f'{what}: "hourly (every 3600 s)", "daily (0 9 * * * UTC)"'
    ]
    reworded = Schedule(message="look away", every=3600)
    told = risks.warnings(S(schedule={"hourly": hourly, "daily": daily}), S(schedule={"hourly": reworded}))
    assert told == [f'{what}: "hourly (every 3600 s)"']
    assert risks.warnings(S(schedule={"hourly": hourly}), S(schedule={"hourly": hourly})) == []


def test_a_budget_that_is_raised_or_taken_away_is_named_and_a_lower_one_is_not() -> None:
    before = S(budget=Budget(day_usd=5, month_tokens=1000))
    assert risks.warnings(before, S(budget=Budget(day_usd=50))) == [
        "budget.day_usd: 5 becomes 50",
        "budget.month_tokens: 1000 becomes no bound",
    ]
    assert risks.warnings(before, S(budget=Budget(day_usd=1, month_usd=9, month_tokens=10))) == []


def test_not_to_be_found_stuck_any_more_is_named_and_other_bounds_are_not() -> None:
    before, after = S(), S(stuck=StuckSettings(silent_after=0, tool_after=7200))
    assert risks.warnings(before, after) == ["stuck.silent_after: 0, the hive does not look for that any more"]
    assert risks.warnings(after, before) == []


def test_nothing_from_the_config_breaks_out_of_its_line_or_makes_it_long() -> None:
    hostile = S(mcp_servers={"m": McpServer(command="x\n\x1b[2Jnothing to see\u202e", args=["y" * 9000])})
    many = S(allowed_recipients=[f"a{n}" for n in range(500)])
    told = risks.warnings(S(allowed_recipients=["b"]), many) + risks.warnings(None, hostile)
    assert all(line.isprintable() and len(line) < 400 for line in told)
    assert told[0].endswith(" and 488 more")
