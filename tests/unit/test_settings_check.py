"""Settings that no hive or not this one can carry out are refused when they are proposed, all at once."""

import pytest

from hyperhive.hub import settings_check
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import (
    AgentSettings,
    LimitSettings,
    McpServer,
    NetworkSettings,
    Packages,
)

AGENTS = ("manager", "a", "b")


def refusal(settings: AgentSettings, *, name: str = "a", backend: BackendKind = BackendKind.BUBBLEWRAP) -> str:
    with pytest.raises(FaultError) as refused:
        settings_check.check(name, settings, backend=backend, agents=AGENTS)
    assert refused.value.kind is FaultKind.BAD_CONFIG
    return refused.value.message


def accept(settings: AgentSettings, *, name: str = "a", backend: BackendKind = BackendKind.BUBBLEWRAP) -> None:
    settings_check.check(name, settings, backend=backend, agents=AGENTS)


def test_every_fault_is_listed_on_a_line_of_its_own() -> None:
    said = refusal(
        AgentSettings(
            limits=LimitSettings(memory="lots", cpu="all", tmp="1", disk_max="some"),
            network=NetworkSettings(allow=["127.0.0.1", "ok.example", "-"]),
            parent="a",
        )
    )
    assert [line.split("'")[0].split(":")[0].strip() for line in said.splitlines()] == [
        "cannot use agent.toml for",
        "cannot read limits.memory =",
        "cannot read limits.cpu =",
        "cannot use limits.tmp =",
        "cannot read limits.disk_max =",
        "network.allow",
        "network.allow",
        "parent",
    ]


@pytest.mark.parametrize("name", ["a", "manager"])
def test_the_defaults_fit_every_backend(name: str) -> None:
    settings = AgentSettings(role="manager" if name == "manager" else "agent")
    for backend in BackendKind:
        accept(settings, name=name, backend=backend)


def test_packages_are_refused_where_the_backend_cannot_install_them() -> None:
    settings = AgentSettings(packages=Packages(apt=["jq", "ripgrep"]))
    said = "the bubblewrap backend cannot install packages: jq, ripgrep; use nspawn or nixos"
    assert said in refusal(settings, backend=BackendKind.BUBBLEWRAP)
    assert "agent.nix" in refusal(settings, backend=BackendKind.NIXOS)
    accept(settings, backend=BackendKind.NSPAWN)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (AgentSettings(parent="nobody"), "parent: there is no agent 'nobody'"),
        (AgentSettings(parent="a"), "parent: an agent cannot be its own parent"),
        (
            AgentSettings(mcp_servers={"hyperhive": McpServer(command="x")}),
            "mcp_servers.hyperhive: that is the hive's own",
        ),
        (AgentSettings(allowed_recipients=["B!"]), "allowed_recipients: cannot use 'B!' as an agent's name"),
        (AgentSettings(allowed_recipients=["system"]), "allowed_recipients: the hive reads no mail to 'system'"),
    ],
)
def test_what_makes_no_sense_here_is_refused_with_the_reason(settings: AgentSettings, said: str) -> None:
    assert said in refusal(settings)


@pytest.mark.parametrize(
    "variable",
    ["HOME", "PATH", "CLAUDE_CONFIG_DIR", "HYPERHIVE_SOCKET", "ANTHROPIC_BASE_URL", "HTTPS_PROXY", "no_proxy"],
)
def test_a_variable_that_the_hive_sets_is_refused(variable: str) -> None:
    assert f"env.{variable}: the hive sets that variable itself" in refusal(AgentSettings(env={variable: "x"}))


def test_other_variables_recipients_and_parents_are_accepted() -> None:
    accept(
        AgentSettings(
            env={
                "HOMEPAGE": "x",
                "HYPERHIVE_LOGIN_CMD": "claude auth login --console",
                "MCP_TOOL_TIMEOUT": "5",
                "LANG": "C",
            },
            allowed_recipients=["b", "operator", "not-there-yet"],
            parent="b",
            role="manager",
        )
    )


def test_the_manager_stays_a_manager_without_a_parent() -> None:
    said = refusal(AgentSettings(parent="b"), name="manager")
    assert "role: the agent 'manager' is always a manager" in said
    assert "parent: the agent 'manager' has none" in said


def test_a_service_manager_is_had_where_the_backend_has_one() -> None:
    settings = AgentSettings(init="systemd")
    accept(settings, backend=BackendKind.NSPAWN)
    assert "init: the bubblewrap backend has no service manager" in refusal(settings)
    assert "it is always systemd" in refusal(settings, backend=BackendKind.NIXOS)


def test_an_account_must_be_one_of_the_hives() -> None:
    settings = AgentSettings(credentials="hive", account="red")
    settings_check.check("a", settings, backend=BackendKind.BUBBLEWRAP, agents=AGENTS, accounts=["red"])
    assert "there is no account 'red'; the daemon's settings have none" in refusal(settings)
    assert 'write credentials = "hive", too' in refusal(AgentSettings(account="red"))
