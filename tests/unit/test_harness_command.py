from pathlib import Path
from typing import Any

import claude_agent_sdk as sdk
import msgspec
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

from hyperhive.harness.command import allowed_tools, claude_argv, claude_env, denied_tools, login_argv
from hyperhive.harness.surroundings import Surroundings
from hyperhive.protocol.agent import MAX_WAIT_S
from hyperhive.protocol.settings import AgentSettings, McpServer, Tools

SETTINGS = AgentSettings(
    effort="high",
    tools=Tools(bash_deny=["curl *"]),
    mcp_servers={"db": McpServer(command="db", args=["-x"])},
    env={"COLOUR": "green"},
)
PLACE = Surroundings.from_env(
    {
        "HYPERHIVE_SOCKET": "/run/hive/mcp.sock", "HYPERHIVE_AGENT_CONFIG": "/run/hive/agent.json",
        "HYPERHIVE_STATE": "/state", "HYPERHIVE_CLAUDE": "/claude", "HOME": "/home/agent",
        "ANTHROPIC_API_KEY": "given", "UNRELATED": "x",
    }
)  # fmt: skip


def test_claude_is_started_as_the_sdk_would_start_it() -> None:
    options = sdk.ClaudeAgentOptions(
        system_prompt={"type": "file", "path": "/tmp/prompt"},
        tools=list(SETTINGS.tools.built_in),
        allowed_tools=allowed_tools(SETTINGS, ["send", "ask"]),
        disallowed_tools=denied_tools(SETTINGS),
        model="haiku",
        permission_mode="bypassPermissions",
        resume="11111111-2222",
        mcp_servers=Path("/tmp/mcp.json"),
        include_partial_messages=True,
        strict_mcp_config=True,
        setting_sources=[],
        effort=SETTINGS.effort,
        cli_path="/claude",
    )
    ours = claude_argv(
        "/claude", SETTINGS, system_prompt_file=Path("/tmp/prompt"), mcp_config_file=Path("/tmp/mcp.json"),
        model="haiku", session_id="11111111-2222", hive_tools=["send", "ask"],
    )  # fmt: skip
    assert ours == SubprocessCLITransport(prompt=_nothing(), options=options)._build_command()


async def _nothing() -> Any:
    return
    yield


def test_claudes_environment_is_made_from_nothing() -> None:
    env = claude_env(PLACE, SETTINGS, agent="scout", proxy_port=1, rehearsal_port=2)
    assert env["COLOUR"] == "green"
    assert env["ANTHROPIC_API_KEY"] == "given"
    assert env["CLAUDE_CONFIG_DIR"] == "/home/agent/.claude"
    assert not {"UNRELATED", "HTTPS_PROXY", "ANTHROPIC_BASE_URL", "HYPERHIVE_SOCKET"} & set(env)


def test_a_rehearsal_keeps_real_credentials_out() -> None:
    place = msgspec.structs.replace(PLACE, rehearsal_socket=Path("/run/rehearsal/model.sock"))
    settings = AgentSettings(env={"ANTHROPIC_BASE_URL": "https://elsewhere", "CLAUDE_CODE_OAUTH_TOKEN": "real"})
    env = claude_env(place, settings, agent="scout", proxy_port=1, rehearsal_port=2)
    assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:2"
    assert env["ANTHROPIC_API_KEY"] == "rehearsal"
    assert env["CLAUDE_CODE_OAUTH_TOKEN"] == ""


def test_with_a_proxy_claude_and_its_tools_go_through_it() -> None:
    env = claude_env(
        msgspec.structs.replace(PLACE, proxy_socket=Path("/run/hive/proxy.sock")),
        SETTINGS,
        agent="scout",
        proxy_port=1,
        rehearsal_port=2,
    )
    assert env["HTTPS_PROXY"] == env["https_proxy"] == "http://127.0.0.1:1"


def test_a_call_of_a_server_that_hangs_comes_to_an_end_and_the_agents_config_may_say_when() -> None:
    assert (
        int(claude_env(PLACE, SETTINGS, agent="scout", proxy_port=1, rehearsal_port=2)["MCP_TOOL_TIMEOUT"])
        > 1000 * MAX_WAIT_S
    )
    settings = AgentSettings(env={"MCP_TOOL_TIMEOUT": "5"})
    assert claude_env(PLACE, settings, agent="scout", proxy_port=1, rehearsal_port=2)["MCP_TOOL_TIMEOUT"] == "5"


def test_claude_may_use_the_hives_tools_that_the_agent_has_one_by_one() -> None:
    allowed = allowed_tools(SETTINGS, ["send", "kill"])
    assert [tool for tool in allowed if tool.startswith("mcp__")] == [
        "mcp__db", "mcp__hyperhive__send", "mcp__hyperhive__kill",
    ]  # fmt: skip


def test_commits_are_the_agents_unless_its_config_says_otherwise() -> None:
    env = claude_env(PLACE, SETTINGS, agent="scout", proxy_port=1, rehearsal_port=2)
    assert (env["GIT_AUTHOR_NAME"], env["GIT_COMMITTER_EMAIL"]) == ("scout", "scout@hyperhive")
    settings = AgentSettings(env={"GIT_AUTHOR_NAME": "Somebody"})
    env = claude_env(PLACE, settings, agent="scout", proxy_port=1, rehearsal_port=2)
    assert (env["GIT_AUTHOR_NAME"], env["GIT_COMMITTER_NAME"]) == ("Somebody", "scout")


def test_a_login_has_claudes_environment_without_the_rehearsals_key() -> None:
    rehearsing = msgspec.structs.replace(PLACE, rehearsal_socket=Path("/m"), proxy_socket=Path("/p"), credentials={})
    env = claude_env(rehearsing, SETTINGS, agent="scout", proxy_port=1, rehearsal_port=None)
    assert env["HTTPS_PROXY"] == "http://127.0.0.1:1"
    assert env["CLAUDE_CONFIG_DIR"] == "/home/agent/.claude"
    assert not {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"} & set(env)


def test_an_agent_may_log_in_with_a_command_of_its_own() -> None:
    def command(own: str) -> list[str]:
        return login_argv("/claude", AgentSettings(env={"HYPERHIVE_LOGIN_CMD": own}))

    assert login_argv("/claude", SETTINGS) == ["/claude", "auth", "login"]
    assert command("/opt/login --for 'two words'") == ["/opt/login", "--for", "two words"]
    assert command("claude auth login --console") == ["/usr/bin/env", "claude", "auth", "login", "--console"]
