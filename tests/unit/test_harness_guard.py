import pytest

from hyperhive.harness.guard import bash_refusal, refusal
from hyperhive.protocol.settings import AgentSettings, McpServer, Tools


@pytest.mark.parametrize(
    "command",
    [
        "git status",
        "git",
        "GIT_PAGER=cat git log",
        "/usr/bin/git log",
        "git log && git status",
        "git log | git status",
    ],
)
def test_what_the_patterns_allow_runs(command: str) -> None:
    assert bash_refusal(command, Tools(bash_allow=["git *"])) is None


@pytest.mark.parametrize(
    "command",
    ["gitk", "git log; ls", "git log $(ls)", "git log `ls`", "git log <(ls)", "ls", "git log\nls", "(git log; ls)"],
)
def test_what_the_patterns_do_not_allow_is_refused(command: str) -> None:
    assert bash_refusal(command, Tools(bash_allow=["git *"])) is not None


@pytest.mark.parametrize(
    "command",
    [
        "git log $'\\'; ls #'",
        'git log $"a"',
        "git log # '\nls #'",
        "#'\nls '",
        "git log <<'E'\n'\nE\nls '",
        "git log 'a",
        'git log "a',
        "git log \\",
    ],
)
def test_a_line_that_the_shell_may_cut_in_another_way_is_refused(command: str) -> None:
    assert "commands it can see" in (bash_refusal(command, Tools(bash_allow=["git *"])) or "")


@pytest.mark.parametrize("command", ["git commit -m 'fix #3: a << b'", "git grep 'x$'", 'git log a#b "it\'s"'])
def test_marks_within_quotes_and_words_hide_nothing(command: str) -> None:
    assert bash_refusal(command, Tools(bash_allow=["git *"])) is None


@pytest.mark.parametrize("command", ["rm -rf /", "ls && rm x", "/bin/rm x", "X=1 rm x", "ls; 'rm' x", "(rm x)"])
def test_a_denied_command_is_refused_wherever_it_stands(command: str) -> None:
    assert "denies 'rm *'" in (bash_refusal(command, Tools(bash_deny=["rm *"])) or "")


def test_an_operator_in_quotes_is_no_operator() -> None:
    assert bash_refusal("git commit -m 'a; b && c'", Tools(bash_allow=["git *"])) is None


def test_without_rules_everything_runs() -> None:
    assert bash_refusal("anything $(at all)", Tools()) is None


def test_tools_of_a_server_follow_its_list_and_the_hives_own_are_always_there() -> None:
    settings = AgentSettings(mcp_servers={"db": McpServer(command="db", allowed_tools=("read_*",))})
    assert refusal("mcp__db__read_row", "", settings) is None
    assert "does not allow" in (refusal("mcp__db__drop", "", settings) or "")
    assert "does not allow" in (refusal("mcp__other__read_row", "", settings) or "")
    assert refusal("mcp__hyperhive__send", "", settings) is None
