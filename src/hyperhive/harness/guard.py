"""Which tool calls the agent's config allows: a guard rail for claude; the container is the wall."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from hyperhive.protocol.settings import AgentSettings, McpServer, Tools

HIVE_SERVER: Final = "hyperhive"

_WORDS = re.compile(
    r"""(?P<word>(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s;&|<>()'"\\])+)|(?P<break>[;&|()\n]+)|(?P<other>\s+|.)""",
    re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_HIDDEN = re.compile(r"`|\$\(|[<>]\(")
_OPAQUE = re.compile(
    r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|(?P<opaque>\$['"]|<<|['"\\]|(?<![^\s;&|()<>])\#)|.""",
    re.DOTALL,
)


def refusal(tool: str, command: str, settings: AgentSettings) -> str | None:
    """Why the call may not run, as a sentence for claude; None when it may. `command` is Bash's, else empty."""
    if tool == "Bash":
        return bash_refusal(command, settings.tools)
    if tool.startswith("mcp__"):
        return _mcp_refusal(tool, settings.mcp_servers)
    return None


def bash_refusal(command: str, tools: Tools) -> str | None:
    """Judges each simple command of a line by itself, so that `allowed && other` is not allowed as a whole.

    A pattern is a glob over the whole simple command; "git *" also stands for a bare "git".
    """
    commands = [*simple_commands(command)]
    for one in [command.strip(), *commands]:
        if pattern := _first_match(one, tools.bash_deny):
            return f"cannot run {one[:200]!r}: this agent's config denies {pattern!r}"
    if not tools.bash_allow:
        return None
    if _HIDDEN.search(command) or _is_opaque(command):
        return (
            "cannot run a command inside another one, a here-document, a comment, $'...' or an open quote: "
            "this agent's config allows only commands it can see"
        )
    for one in commands:
        if not _first_match(one, tools.bash_allow):
            return f"cannot run {one[:200]!r}: this agent's config allows only {', '.join(tools.bash_allow)}"
    return None


def _is_opaque(line: str) -> bool:
    """Whether the shell cuts it into words in another way than `_WORDS`."""
    return any(part["opaque"] for part in _OPAQUE.finditer(line))


def simple_commands(line: str) -> Iterator[str]:
    """The commands between a line's operators, without the variables set before them and any directory of theirs."""
    words: list[str] = []
    for match in _WORDS.finditer(line):
        if match["break"]:
            yield from _joined(words)
            words = []
        elif match["word"]:
            words.append(match["word"])
        elif not match["other"].isspace():
            words.append(match["other"])
    yield from _joined(words)


def _joined(words: list[str]) -> Iterator[str]:
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    if words:
        program = words[0].strip("'\"").rpartition("/")[2] or words[0]
        yield " ".join([program, *words[1:]])


def _first_match(command: str, patterns: Sequence[str]) -> str | None:
    return next((p for p in patterns if fnmatchcase(command, p) or (p.endswith(" *") and command == p[:-2])), None)


def _mcp_refusal(tool: str, servers: dict[str, McpServer]) -> str | None:
    _, server, name = (*tool.split("__", 2), "", "")[:3]
    if server == HIVE_SERVER:
        return None
    allowed = servers[server].allowed_tools if server in servers else ()
    if any(fnmatchcase(name, pattern) for pattern in allowed):
        return None
    return f"cannot call {tool!r}: this agent's config does not allow that tool of the server {server!r}"
