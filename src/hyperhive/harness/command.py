"""How claude is started: its arguments and its environment, made from nothing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from hyperhive.harness.guard import HIVE_SERVER
from hyperhive.harness.surroundings import Surroundings
from hyperhive.protocol.settings import AgentSettings

LOGIN_CMD: Final = "HYPERHIVE_LOGIN_CMD"
"""In the agent's own environment: the command that logs in, in place of claude's."""


class ClaudeCommand(Struct, frozen=True, kw_only=True):
    argv: list[str]
    env: dict[str, str]


def mcp_servers(settings: AgentSettings) -> dict[str, dict[str, Any]]:
    """The servers claude is told of; the hive's own lives in the turn worker and is loaded from the start."""
    servers: dict[str, dict[str, Any]] = {
        name: {"type": "stdio", "command": s.command, "args": s.args, "env": s.env}
        for name, s in settings.mcp_servers.items()
        if name != HIVE_SERVER
    }
    servers[HIVE_SERVER] = {"type": "sdk", "name": HIVE_SERVER, "alwaysLoad": True}
    return servers


def allowed_tools(settings: AgentSettings, hive_tools: Sequence[str]) -> list[str]:
    """Claude's own tools, each of the hive's that the agent has, and the config's servers, which the guard judges."""
    others = sorted(name for name in settings.mcp_servers if name != HIVE_SERVER)
    return [
        *settings.tools.built_in,
        *(f"mcp__{name}" for name in others),
        *(f"mcp__{HIVE_SERVER}__{name}" for name in hive_tools),
    ]


def denied_tools(settings: AgentSettings) -> list[str]:
    """Claude's own matching of Bash rules sees more spellings of a command than ours; both apply."""
    return [f"Bash({pattern})" for pattern in settings.tools.bash_deny]


def plugin_argv(settings: AgentSettings) -> list[str]:
    """Plugins where they lie: none is fetched or installed."""
    return [word for path in settings.claude_plugins for word in ("--plugin-dir", path)]


def missing_plugins(settings: AgentSettings) -> list[str]:
    """Those of the config that are no directories here: claude passes over them without a word."""
    return [path for path in settings.claude_plugins if not Path(path).is_dir()]


def put_private(path: Path, text: str) -> Path:
    """A file for claude alone, in the place of the one before it: arguments can be read by every process of the host
    and are bounded in size. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    return path


def mcp_config(settings: AgentSettings, *, own: bool = True) -> str:
    """With the hive's own server, which only a turn worker has, or without."""
    servers = {name: server for name, server in mcp_servers(settings).items() if own or name != HIVE_SERVER}
    return msgspec.json.encode({"mcpServers": servers}).decode()


def claude_argv(
    claude: str,
    settings: AgentSettings,
    *,
    system_prompt_file: Path,
    mcp_config_file: Path,
    model: str,
    session_id: str | None,
    hive_tools: Sequence[str],
) -> list[str]:
    """The command that the SDK would build for the same options."""
    denied = denied_tools(settings)
    return [
        claude, "--output-format", "stream-json", "--verbose",
        "--system-prompt-file", str(system_prompt_file),
        "--tools", ",".join(settings.tools.built_in),
        "--allowedTools", ",".join(allowed_tools(settings, hive_tools)),
        *(["--disallowedTools", ",".join(denied)] if denied else []),
        "--model", model,
        "--permission-mode", "bypassPermissions",
        *([f"--resume={session_id}"] if session_id else []),
        "--mcp-config", str(mcp_config_file),
        "--include-partial-messages", "--strict-mcp-config", "--setting-sources=",
        *(["--effort", settings.effort] if settings.effort else []),
        *plugin_argv(settings),
        "--input-format", "stream-json",
    ]  # fmt: skip


def interactive_argv(
    claude: str,
    settings: AgentSettings,
    *,
    system_prompt_file: Path,
    mcp_config_file: Path,
    model: str,
    session_id: str,
    is_new: bool,
) -> list[str]:
    """The same agent with the operator in front of it, who is asked for what the config does not allow."""
    denied = denied_tools(settings)
    return [
        claude, f"--session-id={session_id}" if is_new else f"--resume={session_id}",
        "--system-prompt-file", str(system_prompt_file),
        "--tools", ",".join(settings.tools.built_in),
        "--allowedTools", ",".join(allowed_tools(settings, [])),
        *(["--disallowedTools", ",".join(denied)] if denied else []),
        "--model", model,
        "--permission-mode", "default",
        "--mcp-config", str(mcp_config_file), "--strict-mcp-config", "--setting-sources=",
        *plugin_argv(settings),
    ]  # fmt: skip


def login_argv(claude: str, settings: AgentSettings) -> list[str]:
    """The command that logs claude in. Raises ValueError when the agent's own can't be split into words."""
    own = settings.env.get(LOGIN_CMD)
    if own is None:
        return [claude, "auth", "login"]
    import shlex  # only here: few agents have one

    words = shlex.split(own)
    return words if own.startswith("/") else ["/usr/bin/env", *words]  # which looks along PATH


def claude_env(
    place: Surroundings,
    settings: AgentSettings,
    *,
    agent: str,
    proxy_port: int,
    rehearsal_port: int | None,
    of_the_hive: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The agent's own variables may change ours, except where a rehearsal keeps real credentials out.

    `of_the_hive` is the hive's credential. Without a rehearsal's port it is the environment of a login, which has no
    use for the rehearsal's key.
    """
    return {
        "HOME": str(place.home),
        "CLAUDE_CONFIG_DIR": str(place.claude_config),
        "CLAUDE_CODE_TMPDIR": str(place.claude_tmp),
        "TMPDIR": str(place.tmp),
        "PATH": place.path,
        "LANG": place.lang,
        "PWD": str(place.state),
        "IS_SANDBOX": "1",  # the container is one; as its root claude refuses to start otherwise
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "3",
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "60000",
        "DISABLE_AUTO_COMPACT": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "MCP_TOOL_TIMEOUT": "600000",  # ms; without it a server that hangs holds the turn for good
        **_author(agent),
        **place.credentials,
        **of_the_hive,
        **(_proxy(proxy_port) if place.proxy_socket else {}),
        **settings.env,
        **(_rehearsal(rehearsal_port) if place.rehearsal_socket and rehearsal_port is not None else {}),
    }


def _author(agent: str) -> Mapping[str, str]:
    """Whose the agent's commits are; git makes none without."""
    return {
        f"GIT_{part}_{kind}": value
        for part in ("AUTHOR", "COMMITTER")
        for kind, value in (("NAME", agent), ("EMAIL", f"{agent}@hyperhive"))
    }


def _proxy(port: int) -> Mapping[str, str]:
    url, local = f"http://127.0.0.1:{port}", "localhost,127.0.0.1"
    return {"HTTPS_PROXY": url, "https_proxy": url, "NO_PROXY": local, "no_proxy": local}


def _rehearsal(port: int) -> Mapping[str, str]:
    nothing = {"ANTHROPIC_AUTH_TOKEN": "", "CLAUDE_CODE_OAUTH_TOKEN": ""}
    return {**nothing, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": "rehearsal"}
